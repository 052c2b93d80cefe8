"""What is said of the bootstrap and of the stacks that are deployed, beside what this checkout would deploy."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from operations.check import deployment
from operations.check.findings import Finding, Level
from tests.doubles.lambda_fakes import refusal
from tests.doubles.operations.check_fakes import S3, CloudFormation, Iam, Ssm, levels, one

OK, LATER, WARNING, PROBLEM = Level.OK, Level.LATER, Level.WARNING, Level.PROBLEM


@pytest.mark.parametrize(
    ("version", "level", "part"),
    [("33", OK, "version 33"), ("6", OK, ""), ("5", PROBLEM, "6 is needed"), (None, PROBLEM, "was not run")],
)
def test_the_bootstrap_is_there_and_new_enough(version: str | None, level: Level, part: str) -> None:
    ssm = Ssm()
    ssm.parameters = {"/version": version} if version else {}
    found = one(deployment.bootstrap(ssm, "/version", 6))
    assert (found.level, part in found.text) == (level, True)
    assert ("bootstrap" in found.fix) == (level == PROBLEM)


@pytest.mark.parametrize(
    ("key", "made_by_bootstrap", "level"),
    [("", False, OK), ("arn:aws:kms:x:alias/aws/s3", False, OK), ("arn:k", True, OK), ("arn:k", False, WARNING)],
)
def test_only_a_key_that_was_given_to_the_bootstrap_may_keep_assets_back(
    key: str, made_by_bootstrap: bool, level: Level
) -> None:
    stacks = CloudFormation()
    stacks.own_key = made_by_bootstrap
    found = one(deployment.assets_key(S3(key=key), stacks, "assets"))
    assert found.level == level
    assert ("AssetUnreadable" in found.fix) == (level == WARNING)


MARKER = "arn:aws:iam::123456789012:policy/captune-one-deployment-per-account"


@pytest.mark.parametrize(
    ("exists", "here", "level"), [(False, False, OK), (True, False, PROBLEM), (True, True, None), (False, True, None)]
)
def test_a_deployment_in_another_region_is_found_before_cloudformation_refuses_this_one(
    exists: bool, here: bool, level: Level | None
) -> None:
    iam = Iam()
    iam.policies = {MARKER} if exists else set()
    deployed = deployment.Deployed(stacks={"Captune-Storage"} if here else set())
    found = list(deployment.only_region(iam, "123456789012", deployed))
    assert [one.level for one in found] == ([level] if level else [])
    assert all(("DATA=delete" in one.fix) == (level == PROBLEM) for one in found)


def test_where_the_stacks_are_not_known_no_other_region_is_suspected() -> None:
    iam = Iam()
    iam.policies = {MARKER}
    assert list(deployment.only_region(iam, "123456789012", deployment.Deployed())) == []


def test_a_bucket_that_no_bootstrap_made_needs_no_second_line() -> None:
    s3 = S3()
    s3.troubles["get_bucket_encryption"] = [refusal("NoSuchBucket")]
    assert list(deployment.assets_key(s3, CloudFormation(), "assets")) == []


@pytest.mark.parametrize(
    ("status", "level", "part"),
    [
        ("CREATE_COMPLETE", OK, ""),
        ("UPDATE_COMPLETE", OK, ""),
        ("UPDATE_IN_PROGRESS", WARNING, "wait"),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", WARNING, "wait"),
        ("UPDATE_ROLLBACK_COMPLETE", WARNING, "see its events"),
        ("ROLLBACK_COMPLETE", PROBLEM, "aws cloudformation delete-stack --stack-name Captune-Storage"),
        ("ROLLBACK_FAILED", PROBLEM, "aws cloudformation delete-stack --stack-name Captune-Storage"),
        ("REVIEW_IN_PROGRESS", LATER, ""),
        ("DELETE_FAILED", PROBLEM, "see its events"),
    ],
)
def test_a_stack_is_as_healthy_as_its_status(status: str, level: Level, part: str) -> None:
    stacks = CloudFormation({"Captune-Storage": {"Resources": {}}})
    stacks.statuses["Captune-Storage"] = status
    found = one(deployment.read(stacks, {"Captune-Storage": {"Resources": {}}}, deployment.Deployed()))
    assert (found.level, part in found.fix) == (level, True)


def test_what_a_failed_first_deployment_left_is_no_deployment_and_its_removal_begins_with_its_protection() -> None:
    stacks = CloudFormation({"Captune-Storage": {"Resources": {}}})
    stacks.statuses["Captune-Storage"], stacks.protected, stacks.resource_status = (
        "ROLLBACK_COMPLETE",
        True,
        "DELETE_COMPLETE",
    )
    stacks.ids["Captune-Storage"] = {"Role": "gone"}
    deployed = deployment.Deployed()
    found = one(deployment.read(stacks, {"Captune-Storage": {"Resources": {}}}, deployed))
    protection, removal = found.fix.split(", then ")[:2]
    assert protection.endswith("--no-enable-termination-protection --stack-name Captune-Storage")
    assert removal.startswith("aws cloudformation delete-stack")
    assert (deployed.stacks, deployed.ids) == (set(), {})
    iam = Iam()
    iam.policies = {MARKER}
    assert levels(deployment.only_region(iam, "123456789012", deployed)) == [PROBLEM]


def found_of(deployed: dict[str, Any], here: dict[str, Any]) -> Finding:
    """What is said of a stack that was deployed from one template, in a checkout that would deploy another."""
    return one(
        deployment.read(CloudFormation({"Captune-Storage": deployed}), {"Captune-Storage": here}, deployment.Deployed())
    )


def alarm(text: str, **more: Any) -> dict[str, Any]:
    return {"Resources": {"Alarm": {"Type": "A", "Properties": {"Text": text}, **more}}}


@pytest.mark.parametrize(
    ("deployed", "here"),
    [
        ({"Resources": {"Old": {}}}, {"Resources": {}}),
        (alarm("on"), alarm("off")),
        (alarm("on"), alarm("on", DependsOn="Topic")),
        ({"Parameters": {"Version": {}}, **alarm("on")}, alarm("on")),
    ],
    ids=["a resource", "a property", "an attribute", "a parameter"],
)
def test_a_stack_of_another_checkout_is_said_to_be_one(deployed: dict[str, Any], here: dict[str, Any]) -> None:
    found = found_of(deployed, here)
    assert (found.level, found.fix) == (WARNING, "make deploy")


@pytest.mark.parametrize("text", ["on", "für müller@example.org", "→ 警報"])
def test_what_the_cdk_adds_and_what_cloudformation_cannot_give_back_make_no_other_checkout(text: str) -> None:
    found = found_of(alarm(text), alarm(text))
    assert (found.level, found.text) == (OK, "CREATE_COMPLETE, as in this checkout")


def test_outputs_and_names_of_all_stacks_are_kept() -> None:
    stacks = CloudFormation({"Captune-A": {}, "Other": {}, "Captune-B": {}})
    stacks.outputs = {"Captune-B": {"Topic": "arn"}, "Other": {"Topic": "not ours"}}
    stacks.ids = {"Captune-B": {"One": "1", "Two": "2"}}
    deployed = deployment.Deployed()
    assert levels(deployment.read(stacks, {"Captune-A": {}, "Captune-B": {}, "Captune-C": {}}, deployed)) == [OK, OK, LATER]  # fmt: skip
    assert deployed.stacks == {"Captune-A", "Captune-B"}
    assert deployed.outputs == {"Topic": "arn"}
    assert deployed.ids == {("Captune-B", "One"): "1", ("Captune-B", "Two"): "2"}


@pytest.mark.parametrize(("refused", "names_too"), [("get_template", True), ("list_stack_resources", False)])
def test_a_question_that_aws_refuses_keeps_no_output_back(refused: str, names_too: bool) -> None:
    stacks = CloudFormation({"Captune-A": {}, "Captune-B": {}})
    stacks.outputs = {"Captune-B": {"Topic": "arn"}}
    stacks.ids = {"Captune-B": {"One": "1"}}
    stacks.troubles[refused] = [refusal("AccessDenied")]
    deployed = deployment.Deployed()
    with pytest.raises(ClientError):
        list(deployment.read(stacks, {"Captune-A": {}, "Captune-B": {}}, deployed))
    assert (deployed.stacks, deployed.outputs) == ({"Captune-A", "Captune-B"}, {"Topic": "arn"})
    assert deployed.ids == ({("Captune-B", "One"): "1"} if names_too else {})
