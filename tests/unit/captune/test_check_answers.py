"""What becomes of each answer of AWS in `captune check`: in order, a warning or a problem, and what the person is told to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from captune.check import deployment, guards, rights, supplies
from captune.check.deployment import Deployed
from captune.check.findings import Finding, Level, asking, ok
from captune.check.rights import Need, Place, Role
from preflight.account import quotas
from stacks.configuration.catalog import Weights
from stacks.names import ONE_PER_ACCOUNT
from tests.doubles.aws_account import (
    ACCOUNT,
    POLICY,
    Answers,
    Budgets,
    CloudFormation,
    Iam,
    cloudwatch,
    ecr,
    price_list,
    s3,
    sns,
    ssm,
    step_functions,
)
from tests.doubles.lambda_fakes import refusal
from tests.doubles.service_quotas import ServiceQuotas

OK, LATER, WARNING, PROBLEM = Level.OK, Level.LATER, Level.WARNING, Level.PROBLEM
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:topic"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:server-2.4"
GATED = Weights(uri="s3://gated/llama/v1/", region="us-east-1", gated=True, own=False)
OWN = Weights(uri="s3://mine/models/one/", region="us-east-1", gated=False, own=True)
MODEL = {"config.json": 600, "model.safetensors": 13 * 10**9}
CROWDED = {**MODEL, "checkpoint-9/optimizer.pt": 27 * 10**9, "checkpoint-9/model.safetensors": 13 * 10**9}
ELSEWHERE: dict[str, Any] = {"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"}}}
MINE = "me@example.org"
ALARMS = ["captune-endpoint-too-old", "captune-sweeper-silent"]
BROKEN = {"severity": "ERROR", "code": "SCHEMA", "message": "no", "location": "/States/A"}


def troubled(service: Any, operation: str, error: Exception) -> Any:
    """The service, whose next answer to an operation is an error."""
    service.troubles[operation] = [error]
    return service


def weights(objects: dict[str, int], place: Weights = GATED, **more: Any) -> Iterator[Finding]:
    return supplies.weights(s3(objects, **more), place)


def definition(*answer: Any) -> Iterator[Finding]:
    return deployment.definition(step_functions(*answer), "captune-tear-down", '{"States": {"A": {}}}')


def price(hourly: str | None, region: str) -> Iterator[Finding]:
    return supplies.price(price_list(hourly), region, ["ml.g5.2xlarge"], "Training")


def quota(instances: int = 1, **values: float) -> Iterator[Finding]:
    both = [quotas.Need(["ml.g5.2xlarge", "ml.g6.xlarge"], "endpoint usage", instances)]
    return supplies.quota(
        ServiceQuotas({code.replace("_", "-"): value for code, value in values.items()}), both, "us-east-1"
    )


def image(registry: Any) -> Iterator[Finding]:
    return supplies.image(lambda region: registry, IMAGE)


def budget(limit: int = 25, costs: str = "", action: bool = True, **more: Any) -> Iterator[Finding]:
    budgets = Budgets(**more)
    budgets.has_action = action
    budgets.costs |= {costs: True} if costs else {}
    return guards.budget(budgets, POLICY, limit)


def email(
    *subscriptions: tuple[str, str, bool | None], address: str = MINE, level: Level = PROBLEM
) -> Iterator[Finding]:
    return guards.email(sns(topic=subscriptions), TOPIC, address, "e-mail", level)


def alarms(*names: str, **changed: Any) -> Iterator[Finding]:
    return guards.alarms(cloudwatch(*names, "somebody-elses", **changed), ALARMS)


def stack(status: str, protected: bool = False) -> Iterator[Finding]:
    stacks = CloudFormation({"Captune-Storage": {"Resources": {}}})
    stacks.statuses["Captune-Storage"], stacks.protected = status, protected
    return deployment.read(stacks, {"Captune-Storage": {"Resources": {}}}, Deployed())


def key(given: str, made_by_bootstrap: bool = False) -> Iterator[Finding]:
    stacks = CloudFormation()
    stacks.bootstrap_key = made_by_bootstrap
    return deployment.assets_key(s3(key=given), stacks, "assets")


def region(exists: bool, *here: str, known: bool = True) -> Iterator[Finding]:
    iam = Iam()
    iam.policies = {f"arn:aws:iam::{ACCOUNT}:policy/{ONE_PER_ACCOUNT}"} if exists else set()
    return deployment.only_region(iam, ACCOUNT, Deployed(set(here) if known else None))


ANSWERS: list[tuple[Iterator[Finding], list[Level], str]] = [
    (deployment.bootstrap(ssm("33"), "/v", 6), [OK], "version 33"),
    (deployment.bootstrap(ssm("5"), "/v", 6), [PROBLEM], "6 is needed"),
    (deployment.bootstrap(ssm(None), "/v", 6), [PROBLEM], "make bootstrap"),
    (key(""), [OK], ""),
    (key("arn:aws:kms:x:alias/aws/s3"), [OK], ""),
    (key("arn:k", made_by_bootstrap=True), [OK], ""),
    (key("arn:k"), [WARNING], "AssetUnreadable"),
    (deployment.assets_key(troubled(s3(), "get_bucket_encryption", refusal("NoSuchBucket")), CloudFormation(), "x"), [], ""),
    (region(False), [OK], ""),
    (region(True), [PROBLEM], "another region"),
    (region(True, "Captune-Storage"), [], ""),
    (region(True, known=False), [], ""),
    (stack("UPDATE_COMPLETE"), [OK], "as in this checkout"),
    (stack("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"), [WARNING], "wait"),
    (stack("UPDATE_ROLLBACK_COMPLETE"), [WARNING], "see its events"),
    (stack("ROLLBACK_COMPLETE"), [PROBLEM], "aws cloudformation delete-stack --stack-name Captune-Storage"),
    (stack("ROLLBACK_FAILED", protected=True), [PROBLEM], "--no-enable-termination-protection --stack-name Captune-Storage"),
    (stack("REVIEW_IN_PROGRESS"), [LATER], ""),
    (stack("DELETE_FAILED"), [PROBLEM], "see its events"),
    (definition("OK"), [OK], "1 states"),
    (definition("FAIL", BROKEN), [PROBLEM], "/States/A: no (SCHEMA)"),
    (definition("FAIL", BROKEN), [PROBLEM], "stacks/tear_down.asl.yaml"),
    (definition("OK", {**BROKEN, "severity": "WARNING"}), [WARNING], ""),
    (definition("FAIL"), [PROBLEM], "no reason"),
    (image(ecr()), [OK], ""),
    (image(ecr("server-2.4")), [PROBLEM], "hosting_image"),
    (image(troubled(ecr(), "batch_get_image", refusal("AccessDeniedException"))), [WARNING], "ecr:BatchGetImage"),
    (weights({"config.json": 1, "model-1.safetensors": 5 * 10**9, "model-2.safetensors": 8 * 10**9}), [OK], "2 safetensors of 13.0 GB"),
    (weights({}), [PROBLEM], "nothing at s3://gated/llama/v1/"),
    (weights({"config.json": 1, "pytorch_model.bin": 1}), [PROBLEM], "pytorch_model.bin"),
    (weights({"model-1.safetensors": 1}), [PROBLEM], ""),
    (weights({"config.json": 1, "nested/model-1.safetensors": 1}), [PROBLEM], ""),
    (supplies.weights(troubled(s3(), "list_objects_v2", refusal("NoSuchBucket")), GATED), [PROBLEM], "gated"),
    (weights(CROWDED, OWN), [PROBLEM], "40.0 GB that nobody reads"),
    (weights({**MODEL, "one.gguf": 7 * 10**9}, OWN), [OK], ""),
    (weights({**MODEL, "original/one.pth": 40 * 10**9}), [OK], ""),
    (weights(MODEL, OWN, **ELSEWHERE), [PROBLEM], "lies in eu-west-1, and SageMaker in us-east-1"),
    (quota(L_9614C779=2.0, L_1=1.0), [OK, OK], ""),
    (quota(L_9614C779=0.0, L_1=1.0), [WARNING, OK], "is left out"),
    (quota(L_9614C779=0.0, L_1=0.0), [PROBLEM, PROBLEM], "(code L-1) is 0"),
    (quota(L_9614C779=0.0), [WARNING, WARNING], "could not be read"),
    (quota(3, L_9614C779=2.0, L_1=3.0), [WARNING, OK], "(code L-9614C779) is 2 and 3 are needed"),
    (price("1.515", "us-east-1"), [OK], ""),
    (price("1.6", "us-east-1"), [WARNING], "--price-region us-east-1"),
    (price(None, "us-east-1"), [WARNING], "--price-region us-east-1"),
    (price("1.6", "eu-west-3"), [WARNING], "--price-region eu-west-3"),
    (price(None, "eu-west-3"), [PROBLEM], "--price-region eu-west-3"),
    (budget(status="STANDBY"), [OK, OK], "watches"),
    (budget(status="EXECUTION_SUCCESS"), [OK, PROBLEM], "captune release"),
    (budget(status="REVERSE_SUCCESS"), [OK, WARNING], "captune release"),
    (budget(status="EXECUTION_FAILURE"), [OK, PROBLEM], "captune release"),
    (budget(status="RESET_IN_PROGRESS"), [OK, WARNING], "again in some minutes"),
    (budget(40), [WARNING, OK], "its limit is $25.00"),
    (budget(costs="IncludeCredit"), [WARNING, OK], "hide spending"),
    (budget(costs="IncludeRefund"), [WARNING, OK], "hide spending"),
    (budget(spent="24.99"), [OK, OK], "$24.99 of $25.00"),
    (budget(spent="25.00"), [WARNING, OK], "raise budget_usd"),
    (budget(spent=""), [OK, OK], "$0.00 of $25.00"),
    (budget(action=False), [PROBLEM], "no budget action"),
    (guards.budget(troubled(Budgets(), "describe_budget", refusal("NotFoundException")), POLICY, 25), [PROBLEM], "no budget"),
    (guards.kill_switch(sns(topic=[("lambda", "arn", True)]), TOPIC), [OK], ""),
    (guards.kill_switch(sns(topic=[("email", MINE, True)]), TOPIC), [PROBLEM], "nothing receives"),
    (email(("lambda", "x", True), ("email", MINE, True)), [OK], MINE),
    (email(("email", MINE, False)), [PROBLEM], "follow the link"),
    (email(("email", MINE, None), level=WARNING), [WARNING], "follow the link"),
    (email(("email", MINE, True), ("email", MINE, None)), [OK], ""),
    (email(("email", MINE, False), ("sms", "+100", True)), [PROBLEM], ""),
    (email(("email", "you@example.org", True)), [PROBLEM], "is not subscribed"),
    (email(address=""), [WARNING], "alert_email"),
    (email(("email", MINE, False), address=""), [WARNING], "alert_email"),
    (email(("https", "https://hook.example.org", True), address=""), [OK], ""),
    (alarms(*ALARMS), [OK], "none of 2 is on"),
    (alarms(*ALARMS, StateValue="ALARM"), [PROBLEM, PROBLEM], "is on. It is Do this."),
    (alarms(ALARMS[0]), [PROBLEM], "captune-sweeper-silent"),
    (alarms(*ALARMS, ActionsEnabled=False), [WARNING], "captune-endpoint-too-old"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "levels", "words"), ANSWERS, ids=range(len(ANSWERS)))
def test_an_answer_becomes_findings(found: Iterator[Finding], levels: list[Level], words: str) -> None:
    findings = list(found)
    assert [finding.level for finding in findings] == levels
    assert words in "\n".join(f"{finding.text} {finding.fix}" for finding in findings)


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (refusal("AccessDenied"), "allow ssm:GetParameter"),
        (refusal("UnauthorizedOperation"), "allow ssm:GetParameter"),
        (refusal("AccessDenied", "User: x is not authorized to perform: kms:Decrypt on y"), "allow kms:Decrypt"),
        (refusal("ThrottlingException"), "in a minute"),
        (refusal("TooManyRequestsException"), "in a minute"),
        (refusal("500", "<html>\n" * 100), "see what ssm:GetParameter says"),
        (ReadTimeoutError(endpoint_url="https://ssm"), "look at the network"),
        (ConnectTimeoutError(endpoint_url="https://ssm"), "look at the network"),
        (ResponseParserError("Unable to parse response: <html>\n<h1>Proxy</h1>"), "the proxy"),
    ],
)
def test_an_unanswered_question_is_a_warning_of_one_line(error: Exception, part: str) -> None:
    def question(error: Exception) -> Iterator[Finding]:
        yield ok("first", "was answered")
        raise error

    first, last = asking("subject", "ssm:GetParameter", lambda: question(error))
    assert (first.level, last.level, last.subject) == (OK, WARNING, "subject")
    assert part in last.fix and "\n" not in last.text and len(last.text) < 400
    with pytest.raises(KeyError):  # a mistake of ours is no warning
        list(asking("subject", "ssm:GetParameter", lambda: question(KeyError("Parameter"))))


def template(text: str, **more: Any) -> dict[str, Any]:
    return {"Resources": {"Alarm": {"Type": "A", "Properties": {"Text": text}, **more}}}


@pytest.mark.parametrize(
    ("there", "here", "level"),
    [
        ({"Resources": {"Old": {}}}, {"Resources": {}}, WARNING),
        (template("on"), template("off"), WARNING),
        (template("on"), template("on", DependsOn="Topic"), WARNING),
        ({"Parameters": {"Version": {}}, **template("on")}, template("on"), WARNING),
        # What the CDK adds, and what CloudFormation cannot give back, are no difference.
        (template("für müller@example.org → 警報"), template("für müller@example.org → 警報"), OK),
    ],
)
def test_a_stack_of_another_checkout_is_recognised(there: Any, here: Any, level: Level) -> None:
    (found,) = deployment.read(CloudFormation({"Captune-Storage": there}), {"Captune-Storage": here}, Deployed())
    assert found.level == level


@pytest.mark.parametrize(("refused", "has_ids"), [("get_template", True), ("list_stack_resources", False), ("", True)])
def test_reading_the_stacks_keeps_what_was_answered_before_a_refusal(refused: str, has_ids: bool) -> None:
    stacks = CloudFormation({"Captune-A": {}, "Other": {}, "Captune-B": {}})
    stacks.outputs = {"Captune-B": {"Topic": "arn"}, "Other": {"Topic": "not ours"}}
    stacks.ids = {"Captune-B": {"One": "1"}}
    stacks.troubles[refused] = [refusal("AccessDenied")]
    deployed = Deployed()
    reading = deployment.read(stacks, {"Captune-A": {}, "Captune-B": {}, "Captune-C": {}}, deployed)
    if refused:
        with pytest.raises(ClientError):
            list(reading)
    else:
        assert [finding.level for finding in reading] == [OK, OK, LATER]
    assert (deployed.stacks, deployed.outputs) == ({"Captune-A", "Captune-B"}, {"Topic": "arn"})
    assert deployed.ids == ({("Captune-B", "One"): "1"} if has_ids else {})


def test_the_remains_of_a_failed_first_deployment_are_no_deployment() -> None:
    stacks = CloudFormation({"Captune-Storage": {"Resources": {}}})
    stacks.statuses["Captune-Storage"], stacks.resource_status = "ROLLBACK_COMPLETE", "DELETE_COMPLETE"
    stacks.ids["Captune-Storage"] = {"Role": "gone"}
    deployed = Deployed()
    list(deployment.read(stacks, {"Captune-Storage": {"Resources": {}}}, deployed))
    assert (deployed.stacks, deployed.ids) == (set(), {})


# The rights of the roles. The whole check holds them against the roles of this checkout.

PLACE, ROLE = Place(ACCOUNT, "us-east-1", "data"), "arn:aws:iam::123456789012:role/training"


def machine(call: str, **arguments: Any) -> str:
    state = {"Type": "Task", "Resource": f"arn:aws:states:::aws-sdk:{call}", "Arguments": arguments}
    return json.dumps({"States": {"Inside": {"Type": "Parallel", "Branches": [{"States": {"State": state}}]}}})


@pytest.mark.parametrize("call", ["glue:startJobRun", "sns:publish", "sagemaker:listModels"])
def test_a_call_of_unknown_resource_is_reported_as_not_simulated(call: str) -> None:
    needs, unread = rights.of_definition(machine(call), PLACE)
    assert (needs, unread) == ([], [f"{call} (State)"])
    assert list(rights.check(Iam(), Role("the role", []), needs, unread))[-1].level == WARNING


def test_weights_of_ones_own_may_be_encrypted_with_a_key() -> None:
    source = {"DataSource": {"S3DataSource": {"S3Uri": "s3://mine/one/"}}}
    model = machine("sagemaker:createModel", ModelName="{% $n %}", PrimaryContainer={"Image": IMAGE, **source})
    through_s3 = (
        ("kms:ViaService", "s3.us-east-1.amazonaws.com"),
        ("kms:EncryptionContext:aws:s3:arn", "arn:aws:s3:::mine/one/config.json"),
    )
    expected = Need("kms:Decrypt", f"arn:aws:kms:us-east-1:{ACCOUNT}:key/of-the-weights", through_s3)
    assert expected in rights.of_hosting(model, PLACE)
    jumpstart = model.replace("mine", "jumpstart-cache")
    assert "kms:Decrypt" not in {need.action for need in rights.of_hosting(jumpstart, PLACE)}


GET, PUT = Need("s3:GetObject", "arn:aws:s3:::b/runs/x"), Need("s3:PutObject", "arn:aws:s3:::b/runs/x")
PULL = Need("ecr:BatchGetImage", "arn:aws:ecr:us-east-1:763104351884:repository/images", is_of_others=True)


def passing(service: str) -> Need:
    return Need("iam:PassRole", ROLE, (("iam:PassedToService", f"{service}.amazonaws.com"),))


ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/runs/*"}
PASS = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}}  # fmt: skip
DENY = {"Effect": "Deny", "Action": "*", "Resource": "*"}
ORGANISATION = {"OrganizationsDecisionDetail": {"AllowedByOrganizations": False}}
BOUNDARY = {"PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False}}


@pytest.mark.parametrize(
    ("needs", "statement", "more", "levels", "words"),
    [
        ([GET], ALLOW, {}, [OK], "all 1 are allowed"),
        ([GET, PUT], ALLOW, {}, [PROBLEM], "s3:PutObject on arn:aws:s3:::b/runs/x"),
        ([passing("sagemaker")], PASS, {}, [OK], ""),
        ([passing("scheduler")], PASS, {}, [PROBLEM], ""),
        ([PUT], ALLOW, ORGANISATION, [PROBLEM], "a policy of your organisation"),
        ([PUT], ALLOW, BOUNDARY, [PROBLEM], "administrator"),
        ([PULL, GET], ALLOW, {}, [OK, WARNING], PULL.resource),
        ([PULL], DENY, {}, [PROBLEM], "an explicit deny"),
    ],
)
def test_a_simulated_right_is_allowed_or_told_with_its_reason(
    needs: list[Need], statement: Any, more: dict[str, Any], levels: list[Level], words: str
) -> None:
    iam = Iam()
    iam.more = more
    found = list(rights.check(iam, Role("the role", [{"Statement": [statement]}]), needs))
    assert [one.level for one in found] == levels
    assert words in "\n".join(f"{one.text} {one.fix}" for one in found)


def test_an_action_that_iam_leaves_out_of_its_answer_is_refused() -> None:
    iam = Answers("iam", simulate_custom_policy={"EvaluationResults": [], "IsTruncated": False})
    (found,) = rights.check(iam, Role("the role", [{"Statement": [ALLOW]}]), [GET])
    assert found.level == PROBLEM
