"""What becomes of each answer of AWS in `captune check`: in order, a warning or a problem, and what the person is told to do."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from captune import account
from captune.check import deployment, rights, supplies
from captune.check.deployment import Deployed
from captune.check.findings import Finding, Level, asking, ok
from captune.check.rights import Role
from stacks.configuration.images import training_successors
from stacks.names import ONE_PER_ACCOUNT
from tests.doubles import aws_account as aws
from tests.doubles.aws_account import ACCOUNT, Budgets, CloudFormation, Iam, sns, ssm
from tests.doubles.lambda_fakes import Ecr, refusal

OK, LATER, WARNING, PROBLEM = Level.OK, Level.LATER, Level.WARNING, Level.PROBLEM
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:topic"
MINE = "me@example.org"
ALARMS = ["captune-endpoint-too-old", "captune-sweeper-silent"]
EMPTY: dict[str, Any] = {"Resources": {}}
ALARM = {"Resources": {"Alarm": {"Type": "A", "Properties": {"Text": "für müller@example.org → 警報"}}}}
BROKEN = {"severity": "ERROR", "code": "SCHEMA", "message": "no", "location": "/States/A"}
# As AWS denies Budgets to an administrator: by the payer, by a service control policy, by root's switch (in few words).
BUDGETS_DENIED = (
    "Account 123456789012 is a linked account. To enable budgets for your account, ask the payer account to enable budgets first.",
    "User: x is not authorized to perform: budgets:ViewBudget with an explicit deny in a service control policy",
    "Access Denied",
)


def troubled(service: Any, operation: str, *error: str) -> Any:
    """The service, whose next answer to an operation is a refusal."""
    service.troubles[operation] = [refusal(*error)]
    return service


def plan(**more: Any) -> Iterator[Finding]:
    return supplies.plan(aws.freetier(**more))


def definition(*answer: Any) -> Iterator[Finding]:
    return deployment.definition(aws.step_functions(*answer), "captune-tear-down", '{"States": {"A": {}}}')


def price(hourly: str | None, region: str) -> Iterator[Finding]:
    return supplies.price(aws.price_list(hourly), region, ["ml.g5.2xlarge"], "Training")


def budget(limit: int = 25, left_out: str = "Credit Refund", action: bool = True, **more: Any) -> Iterator[Finding]:
    budgets = Budgets(**more)
    budgets.has_action = action
    budgets.left_out = left_out.split()
    return deployment.budget(budgets, aws.POLICY, limit)


def email(*subscribed: tuple[str, str, bool | None], address: str = MINE, level: Level = PROBLEM) -> Iterator[Finding]:
    return deployment.email(sns(topic=subscribed), TOPIC, address, "e-mail", level)


def alarms(*names: str, **changed: Any) -> Iterator[Finding]:
    return deployment.alarms(aws.cloudwatch(*names, "somebody-elses", **changed), ALARMS)


def stack(status: str, there: Any = EMPTY, here: Any = EMPTY, protected: bool = True) -> Iterator[Finding]:
    stacks = CloudFormation({"Captune-Storage": there})
    stacks.statuses["Captune-Storage"], stacks.protected = status, protected
    return deployment.read(stacks, {"Captune-Storage": here}, Deployed())


def another_region() -> Iterator[Finding]:
    iam = Iam()
    iam.policies = {f"arn:aws:iam::{ACCOUNT}:policy/{ONE_PER_ACCOUNT}"}
    return deployment.only_region(iam, ACCOUNT, Deployed(set()))


# What is in order, the check as a whole finds.
ANSWERS: list[tuple[Iterator[Finding], list[Level], str]] = [
    (deployment.bootstrap(ssm("5"), "/v", 6), [PROBLEM], "6 is needed"),
    (deployment.bootstrap(ssm(None), "/v", 6), [PROBLEM], "make bootstrap"),
    (another_region(), [PROBLEM], "another region"),
    (stack("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"), [WARNING], "wait"),
    (stack("UPDATE_ROLLBACK_COMPLETE"), [WARNING], "see its events"),
    (stack("ROLLBACK_FAILED"), [PROBLEM], "--no-enable-termination-protection --stack-name Captune-Storage"),
    (stack("ROLLBACK_COMPLETE", protected=False), [PROBLEM], "there make deploy, which first deletes them"),
    (stack("REVIEW_IN_PROGRESS"), [LATER], ""),
    (stack("DELETE_FAILED"), [PROBLEM], "see its events"),
    (stack("UPDATE_COMPLETE", ALARM, EMPTY), [WARNING], "not what this checkout would deploy"),
    (stack("UPDATE_COMPLETE", {**ALARM, "Parameters": {}}, ALARM), [WARNING], ""),
    # What the CDK adds, and the characters that CloudFormation cannot give back, are no difference.
    (stack("UPDATE_COMPLETE", ALARM, ALARM), [OK], "as in this checkout"),
    (definition("FAIL", BROKEN), [PROBLEM], "/States/A: no (SCHEMA) mend the state in stacks/tear_down.asl.yaml"),
    (definition("OK", {**BROKEN, "severity": "WARNING"}), [WARNING], ""),
    (plan(accountPlanType="FREE", accountPlanRemainingCredits={"amount": 87.5, "unit": "USD"}), [WARNING], "with $87.50 of credits left"),
    (plan(accountPlanType="FREE", accountPlanExpirationDate=datetime(2027, 1, 31)), [WARNING], "or on 31 January 2027"),
    (supplies.plan(troubled(aws.freetier(), "get_account_plan_state", "ResourceNotFoundException")), [OK], "not the free one"),
    (supplies.newer_images(lambda region: Ecr(), training_successors("us-east-1")), [WARNING, WARNING], "a successor of the training"),
    (price("1.6150000000", "us-east-1"), [OK], "$1.615/h"),
    (price(None, "eu-west-3"), [PROBLEM], "Run captune dev prices"),
    (budget(status="EXECUTION_SUCCESS"), [OK, PROBLEM], "choose Undo, then Reset"),
    (budget(status="REVERSE_SUCCESS"), [OK, WARNING], "choose Undo, then Reset"),
    (budget(40), [WARNING, OK], "its limit is $25.00"),
    (budget(left_out="Refund"), [WARNING, OK], "hide spending"),
    (budget(left_out="Credit"), [WARNING, OK], "hide spending"),
    (budget(spent="24.99"), [OK, OK], "$24.99 of $25.00"),
    (budget(spent="25.00"), [WARNING, OK], "raise budget_usd"),
    (budget(spent=""), [OK, OK], "$0.00 of $25.00"),
    (budget(action=False), [PROBLEM], "no budget action"),
    (deployment.budget(troubled(Budgets(), "describe_budget", "NotFoundException"), aws.POLICY, 25), [PROBLEM], "no budget"),
    (supplies.room([Path("/home")], lambda folder: 400_000_000), [OK], "more than 400 MB"),
    (supplies.room([Path("/home"), Path("/tmp")], lambda folder: 399_000_000), [PROBLEM] * 2, "399 MB are free in /home, and"),
    (email(("email", MINE, True), ("email", MINE, None)), [OK], MINE),
    (email(("email", MINE, False), ("sms", "+100", True)), [PROBLEM], "follow the link"),
    (email(("email", MINE, None), level=WARNING), [WARNING], "follow the link"),
    (email(("email", "you@example.org", True)), [PROBLEM], "is not subscribed"),
    (email(("email", MINE, False), address=""), [WARNING], "alert_email"),
    (email(("https", "https://hook.example.org", True), address=""), [OK], ""),
    (alarms(*ALARMS, StateValue="ALARM"), [PROBLEM, PROBLEM], "is on. It is Do this."),
    (alarms(ALARMS[0]), [PROBLEM], "captune-sweeper-silent"),
    (alarms(*ALARMS, ActionsEnabled=False), [WARNING], "captune-endpoint-too-old"),
]  # fmt: skip


def test_room_is_looked_for_where_the_cdk_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JSII_RUNTIME_PACKAGE_CACHE_ROOT", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert supplies.written_to() == [account.PROJECT, tmp_path]
    monkeypatch.setenv("JSII_RUNTIME_PACKAGE_CACHE_ROOT", str(tmp_path / "jsii"))
    assert supplies.written_to() == [tmp_path]


@pytest.mark.parametrize(("found", "levels", "words"), ANSWERS, ids=range(len(ANSWERS)))
def test_an_answer_becomes_findings(found: Iterator[Finding], levels: list[Level], words: str) -> None:
    findings = list(found)
    assert [finding.level for finding in findings] == levels
    assert words in "\n".join(f"{finding.text} {finding.fix}" for finding in findings)


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (refusal("UnauthorizedOperation"), "allow ssm:GetParameter"),
        (refusal("AccessDenied", "User: x is not authorized to perform: kms:Decrypt on y"), "allow kms:Decrypt"),
        (refusal("ThrottlingException"), "in a minute"),
        (refusal("500", "<html>\n" * 100), "see what ssm:GetParameter says"),
        (ReadTimeoutError(endpoint_url="https://ssm"), "look at the network"),
        (ResponseParserError("Unable to parse response: <html>\n<h1>Proxy</h1>"), "the proxy"),
    ],
)
def test_an_unanswered_question_is_a_warning_of_one_line(error: Exception, part: str) -> None:
    def question(error: Exception) -> Iterator[Finding]:
        yield ok("first", "was answered")
        raise error

    first, last = asking("subject", "ssm:GetParameter", question(error))
    assert (first.level, last.level, last.subject) == (OK, WARNING, "subject")
    assert part in last.fix and "\n" not in last.text and len(last.text) < 400
    with pytest.raises(KeyError):  # a mistake of ours is no warning
        list(asking("subject", "ssm:GetParameter", question(KeyError("Parameter"))))


@pytest.mark.parametrize("words", BUDGETS_DENIED)
@pytest.mark.parametrize(
    "right", ["budgets:ViewBudget", "budgets:ViewBudget and budgets:DescribeBudgetActionsForAccount"]
)
def test_a_denial_of_budgets_is_a_problem_with_its_three_causes(words: str, right: str) -> None:
    denied = troubled(Budgets(), "describe_budgets", "AccessDeniedException", words)
    (found,) = asking("AWS Budgets", right, supplies.budgets(denied, ACCOUNT))
    assert found.level == PROBLEM and words in found.text
    assert all(cause in found.fix for cause in ("as root", "payer account", "service control policy"))


def test_reading_the_stacks_keeps_what_was_answered_before_a_refusal() -> None:
    stacks = CloudFormation({"Captune-A": {}, "Other": {}, "Captune-B": {}, "Captune-Failed": {}})
    stacks.statuses["Captune-Failed"] = "ROLLBACK_COMPLETE"
    stacks.outputs = {"Captune-B": {"Topic": "arn"}, "Other": {"Topic": "not ours"}}
    stacks.ids = {"Captune-B": {"One": "1"}}
    deployed = Deployed()
    with pytest.raises(ClientError):
        ours: dict[str, Any] = {name: {} for name in ("Captune-A", "Captune-B", "Captune-Failed")}
        list(deployment.read(troubled(stacks, "get_template", "AccessDenied"), ours, deployed))
    assert (deployed.stacks, deployed.outputs) == ({"Captune-A", "Captune-B"}, {"Topic": "arn"})
    assert deployed.ids == {("Captune-B", "One"): "1"}


GET = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::b/runs/*", "arn:aws:s3:::b/corpora/*"]}
PUT = {**GET, "Action": "s3:PutObject"}
PULL = {"Effect": "Allow", "Action": "ecr:BatchGetImage", "Resource": "arn:aws:ecr:us-east-1:763104351884:repository/x"}
PASS = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}}  # fmt: skip
DENY = {"Effect": "Deny", "Action": "*", "Resource": "*"}
ORGANISATION = {"OrganizationsDecisionDetail": {"AllowedByOrganizations": False}}
BOUNDARY = {"PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False}}


@pytest.mark.parametrize(
    ("granted", "attached", "more", "levels", "words"),
    [
        ([GET, PASS], [GET, PASS], {}, [OK], "all 3 are allowed"),
        ([GET, PUT], [GET], {}, [PROBLEM, PROBLEM], "s3:PutObject on arn:aws:s3:::b/runs/captune-check-aws is refused"),
        ([PASS], [PASS, DENY], {}, [PROBLEM], "an explicit deny if the budget alarm went off, undo its action"),
        ([PASS], [], ORGANISATION, [PROBLEM], "a policy of your organisation"),
        ([PASS], [], BOUNDARY, [PROBLEM], "administrator"),
        ([PULL], [], {}, [WARNING], "763104351884:repository/x allows it"),
        ([PULL], [DENY], {}, [PROBLEM], "an explicit deny"),
        ([PASS], [PASS], {"EvalActionName": "another"}, [PROBLEM], "iam:PassRole"),
    ],
)
def test_a_right_of_the_template_is_allowed_or_told_with_who_refuses_it(
    granted: list[Any], attached: list[Any], more: dict[str, Any], levels: list[Level], words: str
) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/one"
    iam = Iam({arn: [{"Statement": attached}]})
    iam.more = more
    found = list(rights.check(iam, Role("the role", arn, granted), ACCOUNT))
    assert [one.level for one in found] == levels
    assert words in "\n".join(f"{one.text} {one.fix}" for one in found)
