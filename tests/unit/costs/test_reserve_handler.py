"""ReserveBudget: the plan's worst case is set aside before anything bills."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.errors import BudgetExceeded, DeployInProgress, ServiceUnreachable
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


def reserve(cents: int = 600, **changes: Any) -> Any:
    """ReserveBudget, with a plan of whatever form; None removes a field."""
    plan: Any = {**PLAN, **changes, "budget": {**PLAN["budget"], "worstCaseCents": cents}}
    plan = {key: value for key, value in plan.items() if value is not None}
    return handler.handle(plan, None)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> FakeLedger:
    ledger = FakeLedger()
    monkeypatch.setattr(handler, "client", {"dynamodb": ledger.table}.__getitem__)
    monkeypatch.setenv("LEDGER_TABLE", "captune-ledger")
    monkeypatch.setenv("CAP_CENTS", "1000")
    monkeypatch.setenv("DEFINITION_VERSION", "v1")
    return ledger


def test_the_worst_case_is_set_aside_with_what_settlement_needs(
    ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = ledger.tables_asked("get_item", monkeypatch)
    assert reserve() == {"reservedCents": 600, "committedCents": 600 + STANDING, "capCents": 1000}
    assert set(tables) == {"captune-ledger"}
    item: Any = ledger.run("captune-abc")
    assert (item["state"], item["execution_arn"], item["execution_name"]) == ("reserved", arn("abc"), "abc")
    assert item.items() >= DETAILS.items()
    line, metric = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert line == {
        "message": "reserved", "run": "captune-abc", "cents": 600, "committed_cents": 600 + STANDING, "cap_cents": 1000,
    }  # fmt: skip
    assert (metric["CommittedCents"], metric["CapCents"]) == (600 + STANDING, 1000)
    assert metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Captune"


def test_a_damaged_item_counts_as_the_whole_cap_of_this_deployment(ledger: FakeLedger) -> None:
    reserve()
    ledger.table.rows["RUN#captune-lost"] = {"pk": {"S": "RUN#captune-lost"}, "state": {"S": "?"}}
    assert reserve()["committedCents"] == 1000 + 600 + STANDING


def test_a_run_that_does_not_fit_is_refused_with_what_is_missing(ledger: FakeLedger) -> None:
    ledger.with_run("other")
    with pytest.raises(BudgetExceeded, match=r"may cost up to \$6.00, and \$3.35 of the cap's \$9.35 for runs is left"):
        reserve()
    assert ledger.run("captune-abc") is None


@pytest.mark.parametrize("version", ["v0", "", None])
def test_a_plan_of_another_deployment_reserves_nothing(ledger: FakeLedger, version: str | None) -> None:
    with pytest.raises(DeployInProgress, match="start a new execution"):
        reserve(definitionVersion=version)
    assert ledger.table.rows == {}


def test_the_projects_own_cost_is_set_aside_before_any_run(ledger: FakeLedger) -> None:
    assert costs.standing_cents(1000) == STANDING
    with pytest.raises(BudgetExceeded, match="budget_usd in cdk.json to at least 11"):
        reserve(1000 - STANDING + 1)
    assert reserve(1000 - STANDING)["committedCents"] == 1000


def test_a_ledger_that_refuses_the_function_is_named_with_its_reason(
    ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(**request: Any) -> None:
        raise refusal("AccessDeniedException", "not authorized to perform dynamodb:UpdateItem")

    monkeypatch.setattr(ledger.table, "transact_write_items", denied)
    with pytest.raises(ServiceUnreachable, match="The reservation in the ledger could not be .*dynamodb:UpdateItem"):
        reserve()
