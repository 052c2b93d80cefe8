"""`captune release`: the budget action is reversed and reset by its own API; where AWS refuses, its policy is at least detached."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import EndpointConnectionError

from captune import release
from tests.doubles.aws_account import ACTION, RESET, REVERSE, Budgets, deployed
from tests.doubles.lambda_fakes import refusal

SILENT = EndpointConnectionError(endpoint_url="https://budgets.amazonaws.com")


@pytest.fixture(autouse=True)
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited for, on a clock that only the waiting moves."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(pauses))
    return pauses


def released(budgets: Budgets, attached: bool = True) -> tuple[str, bool]:
    """What `captune release` prints, and whether the policy is still attached."""
    account = deployed(budgets=budgets, attached=attached)
    return release.release(account), account.services["iam"].attached


def test_an_action_that_was_carried_out_is_reversed_and_reset(capsys: pytest.CaptureFixture[str]) -> None:
    budgets = Budgets("EXECUTION_SUCCESS")
    said, attached = released(budgets)
    assert said.startswith("Reversed and reset") and not attached
    assert (budgets.steps, budgets.status) == ([REVERSE, RESET], "STANDBY")
    assert {request["ActionId"] for request in budgets.called("execute_budget_action")} == {ACTION}
    told = capsys.readouterr().out
    assert all(word in told for word in (REVERSE, "REVERSE_IN_PROGRESS", "REVERSE_SUCCESS", RESET, "STANDBY"))


def busy(times: int) -> Budgets:
    """An action that AWS does something else with while it is asked this often."""
    budgets = Budgets("EXECUTION_SUCCESS")
    budgets.troubles["execute_budget_action"] = [refusal("ResourceLockedException")] * times
    return budgets


@pytest.mark.parametrize(
    ("budgets", "steps"),
    [
        (Budgets("REVERSE_IN_PROGRESS", coming=["REVERSE_SUCCESS"]), [RESET]),
        (Budgets("RESET_IN_PROGRESS", coming=["STANDBY"]), []),
        (Budgets("RESET_FAILURE"), [RESET]),
        (Budgets("EXECUTION_FAILURE"), [RESET]),
        (Budgets("EXECUTION_IN_PROGRESS", coming=["EXECUTION_SUCCESS"]), [REVERSE, RESET]),
        (Budgets("REVERSE_FAILURE"), [REVERSE, RESET]),
        (busy(2), [REVERSE, REVERSE, REVERSE, RESET]),
    ],
)
def test_a_release_goes_on_where_the_action_is(budgets: Budgets, steps: list[str]) -> None:
    said, attached = released(budgets)
    assert "Reversed and reset" in said and not attached
    assert budgets.steps == steps


@pytest.mark.parametrize("status", ["STANDBY", "PENDING"])
def test_an_action_at_rest_leaves_only_the_policy_to_detach(status: str) -> None:
    assert "Nothing to release" in released(Budgets(status), attached=False)[0]
    said, attached = released(Budgets(status))
    assert "Detached the deny policy" in said and not attached


@pytest.mark.parametrize(
    ("spent", "trouble", "sentence"),
    [
        ("26.10", [], "It has counted $26.10 of $25.00 this month, so it attaches the policy again"),
        ("25.00", [], "it attaches the policy again when the spending passes the limit"),
        ("26.10", [refusal("AccessDeniedException")], "Where this month's spending is over the budget"),
    ],
    ids=["over the limit", "at it", "not known"],
)
def test_what_aws_does_next_follows_from_what_it_counted(spent: str, trouble: list[Exception], sentence: str) -> None:
    budgets = Budgets("EXECUTION_SUCCESS", spent)
    budgets.troubles["describe_budget"] = list(trouble)
    said, _ = released(budgets)
    assert sentence in said and ("raise budget_usd" in said) == (spent == "26.10")


@pytest.mark.parametrize(
    ("leads_to", "reason", "seconds", "steps"),
    [
        *(
            ([stuck], f"it was still {stuck} after 300 seconds", release.LIMIT_SECONDS, [REVERSE])
            for stuck in ("REVERSE_IN_PROGRESS", "EXECUTION_SUCCESS", "A_STATUS_OF_TOMORROW")
        ),
        (["REVERSE_IN_PROGRESS", "REVERSE_FAILURE"], "it came back to REVERSE_FAILURE", 30, [REVERSE, REVERSE]),
    ],
)
def test_an_action_that_goes_nowhere_is_given_up(
    leads_to: list[str], reason: str, seconds: int, steps: list[str], waited: list[float]
) -> None:
    budgets = Budgets("EXECUTION_SUCCESS", reversed_=leads_to)
    said, attached = released(budgets)
    assert reason in said
    assert (sum(waited), budgets.steps, attached) == (seconds, steps, False)


@pytest.mark.parametrize(
    ("operation", "trouble", "words"),
    [
        ("describe_budget_actions_for_account", refusal("ThrottlingException"), "could not be asked"),
        ("describe_budget_action", SILENT, "could not be asked"),
        ("execute_budget_action", refusal("AccessDeniedException", "no budgets:Execute"), "no budgets:Execute"),
        ("", None, "no budget action attaches this policy"),
    ],
)
def test_where_the_action_cannot_be_used_the_policy_is_detached(
    operation: str, trouble: Exception | None, words: str
) -> None:
    budgets = Budgets("EXECUTION_SUCCESS")
    budgets.has_action = trouble is not None
    budgets.troubles[operation] = [trouble] if trouble else []
    said, attached = released(budgets)
    assert words in said and "Detached the deny policy" in said and not attached


def test_where_nothing_is_deployed_nothing_is_asked() -> None:
    account = deployed(stacks=())
    assert "Nothing to release" in release.release(account)
    assert account.services["budgets"].calls == []
