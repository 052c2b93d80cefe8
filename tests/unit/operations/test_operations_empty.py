"""`make destroy DATA=delete` empties the buckets so that they can be deleted, also when it is repeated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from operations import bucket
from operations.__main__ import main
from tests.doubles.lambda_fakes import Service, refusal

DATA, LOGS = "captune-storage-data-1", "captune-storage-accesslogs-2"
# As CloudFormation lists them; by the alphabet the logs come first.
LISTED = {"AccessLogs8B620ECA": LOGS, "Data4D9A6A2E": DATA}


class S3(Service):
    """The objects in each bucket. Every request to the data bucket is logged, and S3 delivers that when it likes."""

    name = "s3"

    def __init__(self) -> None:
        super().__init__()
        self.objects = {DATA: ["corpora/a", "runs/b"], LOGS: ["data/1"]}
        self.logging, self.may_be_written = True, True
        self.held: list[str] = []  # what a legal hold keeps

    def on_put_bucket_logging(self, Bucket: str, BucketLoggingStatus: dict[str, Any]) -> dict[str, Any]:
        self.of(Bucket)
        if Bucket == DATA:
            self.logging = bool(BucketLoggingStatus)
        return {}

    def on_delete_bucket_policy(self, Bucket: str) -> dict[str, Any]:
        self.of(Bucket)
        if Bucket == LOGS:
            self.may_be_written = False
        return {}

    def of(self, name: str) -> list[str]:
        if name not in self.objects:
            raise refusal("NoSuchBucket")
        return self.objects[name]

    def deliver(self, *, although_ended: bool = False) -> None:
        """Writes one more log. S3 goes on for some time after logging was ended, but not without the right to write."""
        if self.may_be_written and (self.logging or although_ended) and LOGS in self.objects:
            self.objects[LOGS].append("data/late")


class Bucket:
    """The resource that boto3 makes of a bucket, as far as it is used."""

    def __init__(self, s3: S3, name: str) -> None:
        self._s3, self.name = s3, name
        self.object_versions = self

    def delete(self) -> list[dict[str, Any]]:
        found = self._s3.of(self.name)
        kept = [key for key in found if key in self._s3.held]
        deleted = [{"Key": key} for key in found if key not in kept]
        found[:] = kept
        if self.name == DATA:
            self._s3.deliver(although_ended=True)
        errors = [{"Key": key, "Code": "AccessDenied", "Message": "object is locked"} for key in kept]
        return [{"Deleted": deleted, "Errors": errors}] if errors else [{"Deleted": deleted}]


class CloudFormation(Service):
    """The Storage stack with its buckets and their states."""

    name = "cloudformation"

    def __init__(self, protected: bool) -> None:
        super().__init__()
        self.protected = protected
        self.statuses = dict.fromkeys(LISTED, "CREATE_COMPLETE")

    def on_describe_stacks(self, StackName: str) -> dict[str, Any]:
        return {"Stacks": [{"StackName": StackName, "EnableTerminationProtection": self.protected}]}

    def on_describe_stack_resources(self, StackName: str) -> dict[str, Any]:
        assert StackName == "Captune-Storage"
        buckets = [
            {
                "LogicalResourceId": logical_id,
                "PhysicalResourceId": LISTED[logical_id],
                "ResourceType": "AWS::S3::Bucket",
                "ResourceStatus": status,
            }
            for logical_id, status in self.statuses.items()
        ]
        ledger = {"LogicalResourceId": "Ledger", "PhysicalResourceId": "ledger", "ResourceType": "AWS::DynamoDB::Table"}
        return {"StackResources": [ledger | {"ResourceStatus": "DELETE_COMPLETE"}, *buckets]}


class Account:
    """A boto3 session of an account with the Storage stack in it."""

    def __init__(self, protected: bool = False) -> None:
        self.s3, self.cloudformation = S3(), CloudFormation(protected)

    def client(self, service: str) -> CloudFormation:
        assert service == "cloudformation"
        return self.cloudformation

    def resource(self, service: str) -> Resource:
        assert service == "s3"
        return Resource(self.s3)


class Resource:
    """boto3's resource of S3, with its client behind `meta`."""

    def __init__(self, s3: S3) -> None:
        self.meta, self.client = self, s3

    def Bucket(self, name: str) -> Bucket:
        return Bucket(self.client, name)


def test_logs_that_come_late_find_the_door_closed() -> None:
    account = Account()
    bucket.empty(account)
    account.s3.deliver()
    account.s3.deliver(although_ended=True)
    assert account.s3.objects == {DATA: [], LOGS: []}
    assert not account.s3.logging
    assert account.s3.called("delete_bucket_policy") == [{"Bucket": LOGS}], (
        "the data stays closed to requests without TLS"
    )


def test_a_log_that_came_while_the_data_was_deleted_is_deleted_too() -> None:
    """Taking the right to write away needs some seconds to be heard of everywhere."""
    account = Account()
    account.s3.on_delete_bucket_policy = lambda Bucket: {}  # type: ignore[method-assign]
    said = bucket.empty(account).splitlines()
    assert account.s3.objects == {DATA: [], LOGS: []}
    assert said == [f"Deleted 2 object versions from {DATA}.", f"Deleted 2 object versions from {LOGS}."]


def test_what_a_failed_deletion_has_deleted_is_not_asked_for_again() -> None:
    account = Account()
    account.cloudformation.statuses["Data4D9A6A2E"] = "DELETE_COMPLETE"
    del account.s3.objects[DATA]
    assert bucket.empty(account) == f"Deleted 1 object versions from {LOGS}."
    assert not account.s3.may_be_written
    assert all(request["Bucket"] == LOGS for _, request in account.s3.calls)


def test_a_bucket_that_a_person_deleted_counts_as_empty() -> None:
    account = Account()
    account.s3.objects.clear()
    assert bucket.empty(account).splitlines() == [f"{DATA} is gone already.", f"{LOGS} is gone already."]


def test_what_s3_refuses_is_not_taken_for_a_bucket_that_is_gone() -> None:
    account = Account()
    account.s3.troubles["put_bucket_logging"] = [refusal("AccessDenied")]
    with pytest.raises(ClientError, match="AccessDenied"):
        bucket.empty(account)
    assert account.s3.objects[DATA]


def test_what_s3_kept_in_an_answer_of_success_is_told_with_its_reason() -> None:
    account = Account()
    account.s3.held = ["runs/b"]
    with pytest.raises(
        LookupError, match=r"kept 1 object versions of .*data-1.* runs/b \(AccessDenied: object is locked\)"
    ):
        bucket.empty(account)
    assert account.s3.objects[DATA] == ["runs/b"]


def test_protected_data_is_left_as_it_is() -> None:
    account = Account(protected=True)
    with pytest.raises(LookupError, match="retain_data=false"):
        bucket.empty(account)
    assert not account.s3.calls and account.s3.objects[DATA]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield boto3.Session(region_name="us-east-1")


def test_boto3_empties_both_buckets_of_every_version_and_a_repetition_finds_nothing(
    session: boto3.Session, capsys: pytest.CaptureFixture[str]
) -> None:
    buckets = {
        "AccessLogs": {"Type": "AWS::S3::Bucket"},
        "Data": {"Type": "AWS::S3::Bucket", "Properties": {"VersioningConfiguration": {"Status": "Enabled"}}},
    }
    session.client("cloudformation").create_stack(
        StackName="Captune-Storage", TemplateBody=json.dumps({"Resources": buckets})
    )
    s3 = session.client("s3")
    names = [one["Name"] for one in s3.list_buckets()["Buckets"]]
    for name in names:
        for text in (b"one", b"two"):
            s3.put_object(Bucket=name, Key="k", Body=text)

    assert main(["--region", "us-east-1", "empty", "--yes"]) == 0

    assert all("Versions" not in s3.list_object_versions(Bucket=name) for name in names)
    s3.delete_bucket(Bucket=names[0])
    assert main(["--region", "us-east-1", "empty", "--yes"]) == 0
    assert f"{names[0]} is gone already." in capsys.readouterr().out
