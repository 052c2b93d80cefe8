"""`make release`: the budget action is reversed and reset by its own API; where AWS refuses, its policy is at least detached."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from operations import alarm
from operations.budget_action import Patience
from tests.doubles.lambda_fakes import Service, refusal
from tests.doubles.operations.budget_fakes import OURS, POLICY, RESET, REVERSE, Budgets
from tests.doubles.operations.deny_policy import Iam


class CloudFormation(Service):
    """The outputs of the deployed stacks."""

    name = "cloudformation"

    def __init__(self, **outputs: str) -> None:
        super().__init__()
        self._outputs = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]

    def on_describe_stacks(self) -> dict[str, Any]:
        return {"Stacks": [{"StackName": "Captune-Guardrail", "Outputs": self._outputs}]}


class Waiting:
    """A clock that only the waiting moves, and what the person was told meanwhile."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[str] = []
        self.patience = Patience(limit=60, pause=5, sleep=self._sleep, clock=lambda: self.now, tell=self.told.append)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now <= 10 * self.patience.limit, "it is waited for without an end"


class Account:
    """A boto3 session of an account in which the alarm went off, or not. Reversing the action detaches the policy."""

    def __init__(self, budgets: Budgets, attached: bool = True, deployed: bool = True) -> None:
        outputs = {"FineTuningRoleName": "fine-tuning", "DenySpendingPolicyArn": POLICY} if deployed else {}
        self.budgets, self.iam = budgets, Iam(attached)
        self._services = {"budgets": budgets, "iam": self.iam, "cloudformation": CloudFormation(**outputs)}
        self.waiting = Waiting()

    def client(self, service: str) -> Any:
        return self._services[service]

    def release(self) -> str:
        return alarm.release(self, self.waiting.patience)


class Obedient(Account):
    """An account in which a reversal detaches the policy, as AWS says that it does."""

    def __init__(self, budgets: Budgets, attached: bool = True) -> None:
        super().__init__(budgets, attached)
        self._describe = budgets.on_describe_budget_action
        budgets.on_describe_budget_action = self._described  # type: ignore[method-assign,assignment]

    def _described(self, **request: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._describe(**request)
        if answer["Action"]["Status"] == "REVERSE_SUCCESS":
            self.iam.attached = False
        return answer


def test_an_action_that_was_carried_out_is_reversed_and_then_reset() -> None:
    account = Obedient(Budgets("EXECUTION_SUCCESS"))

    said = account.release()

    assert account.budgets.steps == [REVERSE, RESET]
    assert account.budgets.status == "STANDBY"
    assert not account.iam.attached
    assert said.startswith("Reversed and reset the budget action")


def test_the_action_is_found_by_its_policy_among_those_of_the_account() -> None:
    account = Obedient(Budgets("EXECUTION_SUCCESS"))
    account.release()
    assert {request["ActionId"] for request in account.budgets.called("execute_budget_action")} == {OURS}


def test_the_person_hears_of_each_step_while_it_is_waited_for() -> None:
    account = Obedient(Budgets("EXECUTION_SUCCESS"))
    account.release()
    told = " ".join(account.waiting.told)
    for word in (REVERSE, "REVERSE_IN_PROGRESS", "REVERSE_SUCCESS", RESET, "STANDBY"):
        assert word in told


def test_to_release_again_changes_nothing() -> None:
    account = Obedient(Budgets("EXECUTION_SUCCESS"))
    account.release()
    steps = list(account.budgets.steps)

    assert "Nothing to release" in account.release()
    assert account.budgets.steps == steps


@pytest.mark.parametrize(
    ("status", "coming", "steps"),
    [
        ("REVERSE_SUCCESS", [], [RESET]),
        ("REVERSE_IN_PROGRESS", ["REVERSE_SUCCESS"], [RESET]),
        ("RESET_IN_PROGRESS", ["STANDBY"], []),
        ("RESET_FAILURE", [], [RESET]),
        ("EXECUTION_FAILURE", [], [RESET]),
        ("EXECUTION_IN_PROGRESS", ["EXECUTION_SUCCESS"], [REVERSE, RESET]),
        ("REVERSE_FAILURE", [], [REVERSE, RESET]),
    ],
)
def test_a_release_that_was_interrupted_goes_on_where_the_action_is(
    status: str, coming: list[str], steps: list[str]
) -> None:
    account = Obedient(Budgets(status, coming=coming))
    assert "Reversed and reset" in account.release()
    assert account.budgets.steps == steps


@pytest.mark.parametrize("status", ["STANDBY", "PENDING"])
def test_an_alarm_that_never_went_off_leaves_nothing_to_release(status: str) -> None:
    account = Account(Budgets(status), attached=False)
    said = account.release()
    assert "Nothing to release" in said and status in said
    assert account.budgets.steps == []


def test_a_policy_that_was_attached_by_hand_is_detached() -> None:
    account = Account(Budgets("STANDBY"))
    assert "Detached the deny policy" in account.release()
    assert not account.iam.attached


@pytest.mark.parametrize(
    ("spent", "sentence"),
    [
        ("26.10", "It has counted $26.10 of $25.00 this month, so it attaches the policy again"),
        ("24.99", "it attaches the policy again when the spending passes the limit"),
    ],
)
def test_what_aws_does_next_follows_from_what_it_has_counted(spent: str, sentence: str) -> None:
    said = Obedient(Budgets("EXECUTION_SUCCESS", spent)).release()
    assert sentence in said
    assert ("raise budget_usd" in said) == (spent == "26.10")


def test_who_may_not_see_the_spending_is_told_what_happens_in_either_case() -> None:
    budgets = Budgets("EXECUTION_SUCCESS")
    budgets.troubles["describe_budget"] = [refusal("AccessDeniedException")]
    assert "Where this month's spending is over the budget" in Obedient(budgets).release()


def test_a_refused_reversal_falls_back_to_detaching_and_says_what_is_not_known_then() -> None:
    budgets = Budgets("EXECUTION_SUCCESS")
    budgets.troubles["execute_budget_action"] = [refusal("AccessDeniedException", "no budgets:ExecuteBudgetAction")]
    account = Account(budgets)

    said = account.release()

    assert "could not be reversed and reset" in said and "no budgets:ExecuteBudgetAction" in said
    assert "Detached the deny policy from fine-tuning instead" in said
    assert "does not attach the policy again this month" in said
    assert not account.iam.attached


def test_an_action_that_aws_is_still_busy_with_is_asked_again() -> None:
    budgets = Budgets("EXECUTION_SUCCESS")
    budgets.troubles["execute_budget_action"] = [refusal("ResourceLockedException")] * 2
    assert "Reversed and reset" in Obedient(budgets).release()
    assert budgets.steps == [REVERSE, REVERSE, REVERSE, RESET]


@pytest.mark.parametrize("stuck", ["REVERSE_IN_PROGRESS", "EXECUTION_SUCCESS", "A_STATUS_OF_TOMORROW"])
def test_an_action_that_goes_nowhere_is_given_up_after_the_limit(stuck: str) -> None:
    account = Account(Budgets("EXECUTION_SUCCESS", after={REVERSE: [stuck]}))

    said = account.release()

    assert f"it was still {stuck} after 60 seconds" in said
    assert account.waiting.now == 60
    assert account.budgets.steps == [REVERSE]
    assert not account.iam.attached


def test_a_reversal_that_fails_twice_is_given_up_at_once() -> None:
    account = Account(Budgets("EXECUTION_SUCCESS", after={REVERSE: ["REVERSE_IN_PROGRESS", "REVERSE_FAILURE"]}))
    said = account.release()
    assert account.budgets.steps == [REVERSE, REVERSE]
    assert "it came back to REVERSE_FAILURE" in said
    assert account.waiting.now < 60
    assert not account.iam.attached


def test_a_budget_that_was_deleted_by_hand_leaves_the_policy_to_detach() -> None:
    budgets = Budgets()
    budgets.policy = None
    account = Account(budgets)
    assert "no budget action attaches this policy" in account.release()
    assert not account.iam.attached


@pytest.mark.parametrize("operation", ["describe_budget_actions_for_account", "describe_budget_action"])
@pytest.mark.parametrize(
    "trouble", [refusal("ThrottlingException"), EndpointConnectionError(endpoint_url="https://budgets.amazonaws.com")]
)
def test_budgets_that_cannot_be_asked_do_not_keep_the_policy_on(operation: str, trouble: Exception) -> None:
    budgets = Budgets("EXECUTION_SUCCESS")
    budgets.troubles[operation] = [trouble]
    account = Account(budgets)
    assert "AWS Budgets could not be asked" in account.release()
    assert not account.iam.attached


def test_a_policy_that_may_not_be_detached_is_an_error() -> None:
    account = Account(Budgets("STANDBY"))
    account.iam.troubles["detach_role_policy"] = [refusal("AccessDenied")]
    with pytest.raises(Exception, match="AccessDenied"):
        account.release()


def test_nothing_deployed_is_nothing_to_release() -> None:
    account = Account(Budgets("EXECUTION_SUCCESS"), deployed=False)
    assert "Nothing to release" in account.release()
    assert account.budgets.calls == []
