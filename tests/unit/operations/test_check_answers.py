"""What becomes of each answer of AWS: in order, a warning or a problem, and what the person is told to do."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, NoCredentialsError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from operations.check import account, alarm, definitions, rights, supplies
from operations.check.findings import Level, asking
from operations.check.needs import Need, Unread
from operations.check.rights import Role
from preflight.account import quotas
from tests.doubles.lambda_fakes import refusal
from tests.doubles.operations.budget_fakes import POLICY, Budgets
from tests.doubles.operations.check_fakes import (
    ACCOUNT,
    CALLER,
    CloudWatch,
    Ecr,
    Iam,
    Pricing,
    Sns,
    StepFunctions,
    Sts,
    levels,
    one,
    raising,
)
from tests.doubles.service_quotas import ServiceQuotas

OK, WARNING, PROBLEM = Level.OK, Level.WARNING, Level.PROBLEM
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:topic"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:server-2.4"


# What AWS keeps back


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (refusal("AccessDenied"), "allow ssm:GetParameter"),
        (refusal("UnauthorizedOperation"), "allow ssm:GetParameter"),
        (refusal("AccessDenied", "User: x is not authorized to perform: kms:Decrypt on y"), "allow kms:Decrypt"),
        (refusal("ThrottlingException"), "in a minute"),
        (refusal("TooManyRequestsException"), "in a minute"),
        (refusal("InternalError"), "see what ssm:GetParameter says"),
        (ReadTimeoutError(endpoint_url="https://ssm"), "look at the network"),
        (ConnectTimeoutError(endpoint_url="https://ssm"), "look at the network"),
        (ResponseParserError("Unable to parse response: <html>\n<h1>Proxy</h1>"), "the proxy"),
    ],
)
def test_a_question_that_is_not_answered_is_a_warning_after_what_was_answered(error: Exception, part: str) -> None:
    first, last = asking("subject", "ssm:GetParameter", raising(error))
    assert (first.level, last.level, last.subject) == (OK, WARNING, "subject")
    assert part in last.fix


def test_a_message_of_somebody_else_stays_on_its_line() -> None:
    _, last = asking("subject", "ssm:GetParameter", raising(refusal("500", "<html>\n" * 100)))
    assert "\n" not in last.text and len(last.text) < 400


def test_a_mistake_of_ours_is_no_warning() -> None:
    with pytest.raises(KeyError):
        list(asking("subject", "ssm:GetParameter", raising(KeyError("Parameter"))))


# Who asks


def test_who_asks_is_the_account_and_the_caller() -> None:
    assert account.identify(Sts()) == (ACCOUNT, CALLER)


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (NoCredentialsError(), "No usable AWS credentials"),
        (refusal("ExpiredToken"), "does not accept these credentials (ExpiredToken"),
        (refusal("InvalidClientTokenId"), "does not accept these credentials"),
        (ConnectTimeoutError(endpoint_url="https://sts"), "AWS could not be reached"),
        (ResponseParserError("<html>\n</html>"), "AWS could not be reached"),
    ],
)
def test_nobody_can_ask_without_credentials(error: Exception, part: str) -> None:
    sts = Sts()
    sts.troubles["get_caller_identity"] = [error]
    with pytest.raises(account.NoCredentials) as said:
        account.identify(sts)
    assert part in str(said.value) and "\n" not in str(said.value)


# The definitions


def test_a_definition_that_step_functions_refuses_is_shown_with_its_place() -> None:
    states = StepFunctions("FAIL", {"severity": "ERROR", "code": "SCHEMA", "message": "no", "location": "/States/A"})
    found = one(definitions.check(states, "captune-tear-down", '{"States": {"A": {}}}'))
    assert found.level == PROBLEM
    assert "/States/A: no (SCHEMA)" in found.text and "stacks/tear_down.asl.yaml" in found.fix


def test_a_doubt_of_step_functions_is_a_warning() -> None:
    states = StepFunctions("OK", {"severity": "WARNING", "code": "X", "message": "hm"})
    assert one(definitions.check(states, "captune-tear-down", '{"States": {"A": {}}}')).level == WARNING


def test_the_result_alone_decides_because_aws_promises_nothing_of_the_diagnostics() -> None:
    assert one(definitions.check(StepFunctions("FAIL"), "m", '{"States": {"A": {}}}')).level == PROBLEM


# What a run takes from AWS


def test_an_image_that_is_gone_is_a_problem_and_a_silent_registry_a_warning() -> None:
    assert one(supplies.image(lambda region: Ecr(), IMAGE)).level == OK
    gone = one(supplies.image(lambda region: Ecr("server-2.4"), IMAGE))
    assert gone.level == PROBLEM and "hosting_image" in gone.fix
    silent = Ecr()
    silent.troubles["batch_get_image"] = [refusal("AccessDeniedException")]
    refused = one(supplies.image(lambda region: silent, IMAGE))
    assert refused.level == WARNING and "ecr:BatchGetImage" in refused.fix


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"L-9614C779": 2.0, "L-1": 1.0}, [OK, OK]),
        ({"L-9614C779": 0.0, "L-1": 1.0}, [OK, WARNING]),
        ({"L-9614C779": 0.0, "L-1": 0.0}, [PROBLEM, PROBLEM]),
        ({"L-9614C779": 0.0}, [WARNING, WARNING]),
    ],
    ids=["both", "only the second", "neither", "one unknown"],
)
def test_one_type_of_the_list_is_enough(values: dict[str, float], expected: list[Level]) -> None:
    needs = [quotas.Need(["ml.g5.2xlarge", "ml.g6.xlarge"], "endpoint usage", 1)]
    assert levels(supplies.quota(ServiceQuotas(values), needs, "us-east-1")) == expected


@pytest.mark.parametrize(
    ("hourly", "region", "level"),
    [("1.515", "us-east-1", OK), ("1.6", "us-east-1", WARNING), (None, "us-east-1", WARNING),
     ("1.6", "eu-west-3", WARNING), (None, "eu-west-3", PROBLEM)],
    ids=["agreed", "dearer", "not listed", "not pinned", "unknown"],
)  # fmt: skip
def test_a_price_is_known_and_the_pinned_table_is_up_to_date(hourly: str | None, region: str, level: Level) -> None:
    found = one(supplies.price(Pricing(hourly), region, ["ml.g5.2xlarge"], "Training"))
    assert found.level == level
    assert (f"--price-region {region}" in found.fix) == (level != OK)


# The rights of the roles

ALLOW = {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/runs/*"}]}
PASS = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}}  # fmt: skip


def simulated(needs: list[Need], documents: list[dict[str, Any]] | None = None, **more: Any) -> list[Any]:
    iam = Iam()
    iam.more = more
    return list(rights.check(iam, Role("the role", documents or [ALLOW]), needs))


def test_what_the_policies_allow_is_in_order() -> None:
    (found,) = simulated([Need("s3:GetObject", "arn:aws:s3:::b/runs/x")])
    assert (found.level, "all 1 are allowed" in found.text) == (OK, True)


def test_what_they_do_not_allow_is_named_with_its_resource() -> None:
    needs = [Need("s3:GetObject", "arn:aws:s3:::b/runs/x"), Need("s3:PutObject", "arn:aws:s3:::b/runs/x")]
    (found,) = simulated(needs)
    assert found.level == PROBLEM
    assert "s3:PutObject on arn:aws:s3:::b/runs/x" in found.text


@pytest.mark.parametrize(("service", "level"), [("sagemaker.amazonaws.com", OK), ("lambda.amazonaws.com", PROBLEM)])
def test_conditions_are_asked_with_their_context(service: str, level: Level) -> None:
    need = Need("iam:PassRole", "arn:aws:iam::1:role/r", (("iam:PassedToService", service),))
    (found,) = simulated([need], [{"Statement": [PASS]}])
    assert found.level == level


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"OrganizationsDecisionDetail": {"AllowedByOrganizations": False}}, "a policy of your organisation"),
        ({"PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False}}, "the permissions boundary"),
    ],
)
def test_who_refuses_is_said_where_iam_says_it(more: dict[str, Any], reason: str) -> None:
    (found,) = simulated([Need("s3:PutObject", "arn:aws:s3:::b/x")], **more)
    assert reason in found.text and "administrator" in found.fix


def test_an_action_that_iam_does_not_know_is_refused() -> None:
    class Forgetful(Iam):
        def on_simulate_custom_policy(self, PolicyInputList: list[str], **request: Any) -> dict[str, Any]:
            return {"EvaluationResults": [], "IsTruncated": False}

    need = Need("s3:GetObjekt", "arn:aws:s3:::b/runs/x")
    assert levels(rights.check(Forgetful(), Role("the role", [ALLOW]), [need])) == [PROBLEM]


def test_what_another_account_has_to_allow_too_is_no_refusal_unless_something_of_ours_denies_it() -> None:
    need = Need("ecr:BatchGetImage", "arn:aws:ecr:us-east-1:763104351884:repository/images", is_of_others=True)
    allowed, untold = simulated([need, Need("s3:GetObject", "arn:aws:s3:::b/runs/x")])
    assert (allowed.level, "all 1 are allowed" in allowed.text) == (OK, True)
    assert (untold.level, need.resource in untold.text) == (WARNING, True)
    deny = {"Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    assert [found.level for found in simulated([need], [deny])] == [PROBLEM]


def test_a_call_that_could_not_be_read_is_not_passed_over() -> None:
    found = list(rights.check(Iam(), Role("the role", [ALLOW]), [], [Unread("State", "glue:startJobRun")]))
    assert found[-1].level == WARNING and "glue:startJobRun (State)" in found[-1].text


# The alarm


@pytest.mark.parametrize(
    ("status", "level", "fix"),
    [
        ("STANDBY", OK, ""),
        ("EXECUTION_SUCCESS", PROBLEM, "make release"),
        ("REVERSE_SUCCESS", WARNING, "make release"),
        ("EXECUTION_FAILURE", PROBLEM, "make release"),
        ("RESET_IN_PROGRESS", WARNING, "again in some minutes"),
    ],
)
def test_the_budget_action_watches_or_says_why_not(status: str, level: Level, fix: str) -> None:
    kept, action = alarm.budget(Budgets(status), POLICY, 25)
    assert (kept.level, action.level, fix in action.fix) == (OK, level, True)


def test_a_budget_of_another_size_or_one_that_credits_hide_spending_from_is_to_be_deployed_again() -> None:
    assert levels(alarm.budget(Budgets(), POLICY, 40))[0] == WARNING
    for hidden in ("IncludeCredit", "IncludeRefund"):
        budgets = Budgets()
        budgets.costs[hidden] = True
        found, _ = alarm.budget(budgets, POLICY, 25)
        assert (found.level, "hide spending" in found.text) == (WARNING, True)


@pytest.mark.parametrize(("spent", "level"), [("24.99", OK), ("25.00", WARNING), ("40.00", WARNING)])
def test_spending_that_has_reached_the_limit_is_told_before_the_action_goes_off(spent: str, level: Level) -> None:
    """It may be of anything in the account: the alarm counts all of it, half a day late."""
    budgets = Budgets()
    budgets.spent = spent
    found, action = alarm.budget(budgets, POLICY, 25)
    assert (found.level, action.level) == (level, OK)
    assert f"${spent} of $25.00" in found.text and ("raise budget_usd" in found.fix) == (level == WARNING)


def test_a_budget_of_which_nothing_was_counted_yet_is_one_of_nothing_spent() -> None:
    budgets = Budgets()
    budgets.spent = ""
    found, _ = alarm.budget(budgets, POLICY, 25)
    assert (found.level, "$0.00 of $25.00" in found.text) == (OK, True)


def test_no_action_and_no_budget_are_problems() -> None:
    without = Budgets()
    without.policy = None
    assert levels(alarm.budget(without, POLICY, 25)) == [PROBLEM]
    gone = Budgets()
    gone.troubles["describe_budget"] = [refusal("NotFoundException")]
    assert levels(alarm.budget(gone, POLICY, 25)) == [PROBLEM]


@pytest.mark.parametrize(
    ("subscriptions", "level"),
    [
        ([("lambda", "x", True), ("email", "me@example.org", True)], OK),
        ([("email", "me@example.org", False)], WARNING),
        ([("email", "me@example.org", None)], WARNING),
        ([("email", "me@example.org", True), ("email", "me@example.org", None)], OK),
        ([("email", "you@example.org", True)], PROBLEM),
        ([], PROBLEM),
    ],
    ids=["confirmed", "not confirmed", "ended", "ended and begun again", "another address", "nobody"],
)
def test_the_owner_hears_of_results_once_the_address_is_confirmed(
    subscriptions: list[tuple[str, str, bool | None]], level: Level
) -> None:
    assert one(alarm.email(Sns(topic=subscriptions), TOPIC, "me@example.org")).level == level


def test_a_kill_switch_that_nobody_hears_is_a_problem() -> None:
    assert one(alarm.kill_switch(Sns(topic=[("lambda", "arn", True)]), TOPIC)).level == OK
    assert one(alarm.kill_switch(Sns(topic=[("email", "me@example.org", True)]), TOPIC)).level == PROBLEM


@pytest.mark.parametrize(
    ("subscriptions", "address", "level"),
    [
        ([("email", "me@example.org", True)], "me@example.org", OK),
        ([("email", "me@example.org", False)], "me@example.org", PROBLEM),
        ([("email", "me@example.org", False), ("sms", "+100", True)], "me@example.org", PROBLEM),
        ([], "me@example.org", PROBLEM),
        ([], "", WARNING),
        ([("email", "you@example.org", False)], "", WARNING),
        ([("https", "https://hook.example.org", True)], "", OK),
        ([("email", "me@example.org", True), ("email", "me@example.org", None)], "me@example.org", OK),
    ],
    ids=[
        "confirmed",
        "pending",
        "only another",
        "absent",
        "no address",
        "no address, pending",
        "by hand",
        "begun again",
    ],
)
def test_alarms_that_reach_nobody_are_found(
    subscriptions: list[tuple[str, str, bool | None]], address: str, level: Level
) -> None:
    assert one(alarm.alarms(Sns(topic=subscriptions), TOPIC, address)).level == level


ALARMS = ["captune-endpoint-too-old", "captune-sweeper-silent"]


def test_alarms_that_are_all_there_and_off_are_in_order() -> None:
    found = one(alarm.states(CloudWatch(*ALARMS), ALARMS))
    assert (found.level, found.text) == (OK, "none of 2 is on")


def test_an_alarm_that_is_on_is_a_problem_with_its_own_words() -> None:
    account = CloudWatch(*ALARMS, "somebody-elses")
    account.alarms["captune-endpoint-too-old"]["StateValue"] = "ALARM"
    account.alarms["somebody-elses"]["StateValue"] = "ALARM"
    found = one(alarm.states(account, ALARMS))
    assert (found.level, found.subject) == (PROBLEM, "alarm captune-endpoint-too-old")
    assert (found.text, found.fix) == ("is on. It is", "Do this.")


def test_an_alarm_that_somebody_deleted_or_switched_off_is_found() -> None:
    account = CloudWatch("captune-endpoint-too-old")
    account.alarms["captune-endpoint-too-old"]["ActionsEnabled"] = False
    missing, muted = alarm.states(account, ALARMS)
    assert (missing.level, muted.level) == (PROBLEM, WARNING)
    assert "captune-sweeper-silent" in missing.text
    assert "captune-endpoint-too-old" in muted.text
