"""`captune release`: the budget action is reversed, then reset by its own API; where AWS refuses, its policy is at least detached."""

from __future__ import annotations

import pytest
from botocore.exceptions import EndpointConnectionError

from captune import release
from tests.doubles.aws_account import ACTION, RESET, REVERSE, Budgets, deployed
from tests.doubles.lambda_fakes import refusal

SILENT = EndpointConnectionError(endpoint_url="https://budgets.amazonaws.com")


def released(budgets: Budgets, attached: bool = True) -> tuple[str, bool]:
    """What `captune release` prints, and whether the policy is still attached."""
    account = deployed(budgets=budgets, attached=attached)
    return release.release(account), account.services["iam"].attached


@pytest.mark.parametrize(
    ("status", "steps", "words"),
    [
        ("EXECUTION_SUCCESS", [REVERSE], "run captune release again"),
        ("REVERSE_FAILURE", [REVERSE], "run captune release again"),
        ("REVERSE_SUCCESS", [RESET], "then watches the spending again"),
        ("RESET_FAILURE", [RESET], "then watches the spending again"),
        ("EXECUTION_FAILURE", [RESET], "then watches the spending again"),
        ("REVERSE_IN_PROGRESS", [], "run captune release again"),
        ("A_STATUS_OF_TOMORROW", [], "is A_STATUS_OF_TOMORROW"),
        ("STANDBY", [], "nothing to take back"),
        ("PENDING", [], "nothing to take back"),
    ],
)
def test_each_call_asks_for_the_next_step_and_says_what_comes_then(status: str, steps: list[str], words: str) -> None:
    budgets = Budgets(status)
    said, attached = released(budgets)
    assert (budgets.steps, words in said) == (steps, True), said
    # The reversal itself takes the policy off; nothing is taken off while AWS is at work.
    assert attached is ("run captune release again" in said)
    assert all(request["ActionId"] == ACTION for request in budgets.called("execute_budget_action"))


def test_a_policy_that_is_not_attached_is_no_error() -> None:
    assert "not attached to fine-tuning" in released(Budgets("STANDBY"), attached=False)[0]


@pytest.mark.parametrize(
    ("operation", "trouble", "words"),
    [
        ("describe_budget_actions_for_account", refusal("ThrottlingException"), "Throttling"),
        ("describe_budget_actions_for_account", SILENT, "Could not connect"),
        ("execute_budget_action", refusal("AccessDeniedException", "no budgets:Execute"), "no budgets:Execute"),
        ("", None, "No budget action attaches it"),
    ],
)
def test_where_the_action_cannot_be_moved_the_policy_is_detached(
    operation: str, trouble: Exception | None, words: str
) -> None:
    budgets = Budgets("EXECUTION_SUCCESS")
    budgets.has_action = trouble is not None
    budgets.troubles[operation] = [trouble] if trouble else []
    said, attached = released(budgets)
    assert words in said and "Detached the deny policy" in said and not attached
    assert ("has Undo and Reset" in said) is (trouble is not None)


def test_where_nothing_is_deployed_nothing_is_asked() -> None:
    account = deployed(stacks=())
    assert "Nothing to release" in release.release(account)
    assert account.services["budgets"].calls == []
