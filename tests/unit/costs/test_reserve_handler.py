"""ReserveBudget: the plan's worst case is set aside before anything bills."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.errors import BudgetExceeded, DeployInProgress, RunNameTaken, ServiceUnreachable
from common.pricing import costs
from reserve import handler
from tests.doubles.lambda_fakes import arn, refusal
from tests.doubles.ledger_fakes import DETAILS, FakeLedger

PLAN: Any = {
    "runName": "captune-abc",
    "executionArn": arn("abc"),
    "definitionVersion": "v1",
    "budget": {"worstCaseCents": 600, "months": ["2026-11"], "ledgerDetails": {**DETAILS, "execution_name": "abc"}},
}


# What a month of this cap costs beside its runs.
STANDING = 65


def reserve(plan: Any) -> Any:
    """ReserveBudget, with a plan of whatever form."""
    return handler.handle(plan, None)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> FakeLedger:
    ledger = FakeLedger()
    monkeypatch.setattr(handler, "client", {"dynamodb": ledger.table}.__getitem__)
    monkeypatch.setenv("LEDGER_TABLE", "ledger")
    monkeypatch.setenv("CAP_CENTS", "1000")
    monkeypatch.setenv("DEFINITION_VERSION", "v1")
    return ledger


def test_the_worst_case_is_set_aside_with_what_settlement_needs(ledger: FakeLedger) -> None:
    assert reserve(PLAN) == {"reservedCents": 600, "committedCents": 600 + STANDING, "capCents": 1000}
    item = ledger.run("captune-abc") or {}
    assert (item["state"], item["execution_arn"], item["execution_name"]) == ("reserved", arn("abc"), "abc")
    assert item.items() >= DETAILS.items()


def test_a_second_call_of_the_same_execution_changes_nothing(ledger: FakeLedger) -> None:
    assert reserve(PLAN) == reserve(PLAN)
    assert ledger.committed_cents("2026-11") == 600


def test_an_item_that_is_damaged_later_is_told_as_the_whole_cap_of_this_deployment(ledger: FakeLedger) -> None:
    reserve(PLAN)
    ledger.table.rows["RUN#captune-lost"] = {"pk": {"S": "RUN#captune-lost"}, "state": {"S": "?"}}
    assert reserve(PLAN)["committedCents"] == 1000 + 600 + STANDING


def test_a_run_that_does_not_fit_is_refused_with_what_is_missing(ledger: FakeLedger) -> None:
    ledger.with_run("other")
    with pytest.raises(BudgetExceeded, match=r"may cost up to \$6.00, and \$3.35 of the cap's \$9.35 for runs is left"):
        reserve(PLAN)
    assert ledger.run("captune-abc") is None


@pytest.mark.parametrize("version", ["v0", "", None])
def test_a_plan_of_another_deployment_reserves_nothing(ledger: FakeLedger, version: str | None) -> None:
    with pytest.raises(DeployInProgress, match="start a new execution"):
        reserve({**PLAN, "definitionVersion": version})
    assert ledger.run("captune-abc") is None


def test_a_plan_of_before_there_were_versions_reserves_nothing(ledger: FakeLedger) -> None:
    with pytest.raises(DeployInProgress):
        reserve({key: value for key, value in PLAN.items() if key != "definitionVersion"})
    assert ledger.committed_cents("2026-11") == 0


def test_what_the_project_itself_costs_is_set_aside_before_any_run(ledger: FakeLedger) -> None:
    assert costs.standing_cents(1000) == STANDING
    plan = {**PLAN, "budget": {**PLAN["budget"], "worstCaseCents": 1000 - STANDING + 1}}
    with pytest.raises(BudgetExceeded, match="budget_usd in cdk.json to at least 11"):
        reserve(plan)
    plan["budget"]["worstCaseCents"] -= 1
    assert reserve(plan)["committedCents"] == 1000


def test_a_name_of_another_execution_is_refused(ledger: FakeLedger) -> None:
    ledger.with_run("abc")
    with pytest.raises(RunNameTaken):
        reserve({**PLAN, "executionArn": arn("a_bc"), "budget": {**PLAN["budget"], "worstCaseCents": 1}})


@pytest.mark.parametrize("trouble", ["throttled", "broken", "lost answer"])
def test_trouble_of_the_ledger_is_the_error_that_the_state_machine_tries_again(
    ledger: FakeLedger, trouble: str
) -> None:
    ledger.table.trouble = lambda operation: trouble if operation == "TransactWriteItems" else None
    with pytest.raises(ServiceUnreachable):
        reserve(PLAN)
    ledger.table.trouble = lambda operation: None
    assert reserve(PLAN)["committedCents"] == 600 + STANDING


def test_what_is_committed_is_published_as_a_metric(ledger: FakeLedger, capsys: pytest.CaptureFixture[str]) -> None:
    reserve(PLAN)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    metric = next(line for line in lines if "_aws" in line)
    assert (metric["CommittedCents"], metric["CapCents"]) == (600 + STANDING, 1000)
    assert metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Captune"


def test_a_ledger_that_refuses_this_function_is_named_with_its_reason(
    ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(**request: Any) -> None:
        raise refusal("AccessDeniedException", "not authorized to perform dynamodb:UpdateItem")

    monkeypatch.setattr(ledger.table, "transact_write_items", denied)
    with pytest.raises(
        ServiceUnreachable, match="The reservation in the ledger could not be finished.*dynamodb:UpdateItem"
    ):
        reserve(PLAN)


def test_the_log_tells_what_was_reserved_and_what_that_leaves(
    ledger: FakeLedger, capsys: pytest.CaptureFixture[str]
) -> None:
    reserve(PLAN)
    told = json.loads(capsys.readouterr().out.splitlines()[0])
    assert told == {
        "message": "reserved", "run": "captune-abc", "cents": 600, "committed_cents": 600 + STANDING, "cap_cents": 1000,
    }  # fmt: skip


def test_the_table_is_the_one_that_the_function_was_given(ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    tables: set[str] = set()
    write = ledger.table.transact_write_items

    def noting(**request: Any) -> Any:
        for entry in request["TransactItems"]:
            tables.update(write["TableName"] for write in entry.values())
        return write(**request)

    monkeypatch.setattr(ledger.table, "transact_write_items", noting)
    monkeypatch.setenv("LEDGER_TABLE", "captune-ledger")
    reserve(PLAN)
    assert tables == {"captune-ledger"}
