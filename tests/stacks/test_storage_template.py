"""The Storage stack: data that is private, kept, and cleaned up where it may be."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from common.pricing import costs
from tests.doubles.machines.stacks_bench import ROOT, Stacks, synthesize


def buckets(stacks: Stacks) -> dict[str, dict[str, Any]]:
    answer: dict[str, dict[str, Any]] = stacks.resources("Storage", "AWS::S3::Bucket")
    return answer


def test_every_bucket_is_encrypted_and_closed_to_the_public(stacks: Stacks) -> None:
    for bucket in buckets(stacks).values():
        encryption = bucket["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert encryption[0]["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
        assert all(bucket["Properties"]["PublicAccessBlockConfiguration"].values())


def test_every_bucket_refuses_requests_without_tls(stacks: Stacks) -> None:
    policies = stacks.resources("Storage", "AWS::S3::BucketPolicy").values()
    assert len(policies) == len(buckets(stacks)) == 2
    for policy in policies:
        denied = [s for s in policy["Properties"]["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
        assert denied[0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert denied[0]["Action"] == "s3:*"


def test_the_data_bucket_is_versioned_and_logs_its_access(stacks: Stacks) -> None:
    data = stacks.one("Storage", "AWS::S3::Bucket", "Data")
    assert data["VersioningConfiguration"] == {"Status": "Enabled"}
    assert data["LoggingConfiguration"]["LogFilePrefix"] == "data/"


def test_checkpoints_go_after_a_week_old_versions_after_a_month_and_broken_uploads_after_a_day(stacks: Stacks) -> None:
    rules = {r["Id"]: r for r in stacks.one("Storage", "AWS::S3::Bucket", "Data")["LifecycleConfiguration"]["Rules"]}
    assert (rules["ForgetCheckpoints"]["Prefix"], rules["ForgetCheckpoints"]["ExpirationInDays"]) == ("checkpoints/", 7)
    assert rules["ForgetCheckpoints"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert rules["ForgetOldVersions"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert rules["AbortUploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert all(rule["Status"] == "Enabled" for rule in rules.values())


def test_checkpoints_are_reserved_for_as_long_as_the_bucket_keeps_them(stacks: Stacks) -> None:
    rules = {r["Id"]: r for r in stacks.one("Storage", "AWS::S3::Bucket", "Data")["LifecycleConfiguration"]["Rules"]}
    rule = rules["ForgetCheckpoints"]
    days = rule["ExpirationInDays"] + rule["NoncurrentVersionExpiration"]["NoncurrentDays"]
    # Both ends come at the midnight after, which S3 may reach a day late.
    assert days + 2 == costs.CHECKPOINT_DAYS


def test_the_ledger_bills_on_demand_and_can_be_restored_to_any_second(stacks: Stacks) -> None:
    ledger = stacks.one("Storage", "AWS::DynamoDB::Table")
    assert ledger["KeySchema"] == [{"AttributeName": "pk", "KeyType": "HASH"}]
    assert ledger["BillingMode"] == "PAY_PER_REQUEST"
    assert ledger["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert "TableName" not in ledger


def test_a_second_region_of_the_account_fails_before_it_has_made_anything_that_lasts(stacks: Stacks) -> None:
    """IAM's names are the account's: CloudFormation cannot make this policy twice, and everything kept waits for it."""
    resources = stacks.template("Storage")["Resources"]
    (marker,) = [key for key, entry in resources.items() if entry["Type"] == "AWS::IAM::ManagedPolicy"]
    assert resources[marker]["Properties"]["ManagedPolicyName"] == "captune-one-deployment-per-account"
    kept = [entry for entry in resources.values() if entry.get("DeletionPolicy") == "Retain"]
    assert len(kept) == 3
    assert all(marker in entry["DependsOn"] for entry in kept)


def test_the_name_is_the_same_in_every_region_and_gives_nobody_a_right() -> None:
    policies = [
        synthesize(f"region={region}").one("Storage", "AWS::IAM::ManagedPolicy")
        for region in ("us-east-1", "eu-west-1")
    ]
    assert policies[0]["ManagedPolicyName"] == policies[1]["ManagedPolicyName"]
    for policy in policies:
        assert not {"Roles", "Users", "Groups"} & policy.keys()
        assert {statement["Effect"] for statement in policy["PolicyDocument"]["Statement"]} == {"Deny"}


@pytest.mark.filterwarnings("ignore:.*not supported by moto's CloudFormation")
def test_what_a_second_region_is_told_is_what_the_documentation_quotes() -> None:
    name = "captune-one-deployment-per-account"
    with mock_aws():
        deploy("us-east-1")
        with pytest.raises(ClientError, match=f"{name} already exists"):
            deploy("eu-west-1")
    assert f"`{name}` already exists" in (ROOT / "docs" / "cap.md").read_text("utf-8")


def deploy(region: str) -> None:
    """Makes the Storage stack in a region of the account."""
    keys = {"region_name": region, "aws_access_key_id": "none", "aws_secret_access_key": "none"}
    boto3.client("ssm", **keys).put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String")
    template = json.dumps(synthesize(f"region={region}").template("Storage"))
    boto3.client("cloudformation", **keys).create_stack(
        StackName="Captune-Storage", TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"]
    )


@pytest.mark.parametrize(("setting", "policy", "protected"), [("true", "Retain", True), ("false", "Delete", False)])
def test_retain_data_decides_what_cdk_destroy_leaves(setting: str, policy: str, protected: bool) -> None:
    stacks = synthesize(f"retain_data={setting}")
    stateful = [*buckets(stacks).values(), *stacks.resources("Storage", "AWS::DynamoDB::Table").values()]
    assert {entry["DeletionPolicy"] for entry in stateful} == {policy}
    assert {entry["UpdateReplacePolicy"] for entry in stateful} == {policy}
    assert stacks.one("Storage", "AWS::DynamoDB::Table").get("DeletionProtectionEnabled", False) is protected
    manifest = json.loads((stacks.folder / "manifest.json").read_text())
    properties = manifest["artifacts"]["Captune-Storage"]["properties"]
    assert properties.get("terminationProtection", False) is protected
    for other in ("FineTuning", "Guardrail"):
        assert not manifest["artifacts"][f"Captune-{other}"]["properties"].get("terminationProtection", False)


@pytest.mark.parametrize("setting", ["true", "false"])
def test_no_custom_resource_stands_by_with_the_right_to_delete_data(setting: str) -> None:
    stacks = synthesize(f"retain_data={setting}")
    for name in ("Storage", "FineTuning", "Guardrail"):
        types = {entry["Type"] for entry in stacks.template(name)["Resources"].values()}
        assert not [t for t in types if t.startswith("Custom::") or t == "AWS::CloudFormation::CustomResource"]
