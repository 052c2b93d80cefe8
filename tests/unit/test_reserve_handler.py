"""ReserveBudget: the plan's worst case is set aside before anything bills."""

from __future__ import annotations

import json
from typing import Any

import pytest
from lambda_fakes import arn, refusal
from ledger_fakes import DETAILS, Books

from common.errors import BudgetExceeded, RunNameTaken, ServiceUnreachable
from reserve import handler

PLAN: dict[str, Any] = {
    "runName": "captune-abc",
    "executionArn": arn("abc"),
    "budget": {"worstCaseCents": 600, "months": ["2026-11"], "ledgerDetails": {**DETAILS, "execution_name": "abc"}},
}


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> Books:
    books = Books()
    monkeypatch.setattr(handler, "client", lambda service: books.table)
    monkeypatch.setenv("LEDGER_TABLE", "ledger")
    monkeypatch.setenv("CAP_CENTS", "1000")
    return books


def test_the_worst_case_is_set_aside_with_what_settlement_needs(books: Books) -> None:
    assert handler.handle(PLAN, None) == {"reservedCents": 600, "committedCents": 600, "capCents": 1000}
    item = books.run("captune-abc") or {}
    assert (item["state"], item["execution_arn"], item["execution_name"]) == ("reserved", arn("abc"), "abc")
    assert item.items() >= DETAILS.items()


def test_a_second_call_of_the_same_execution_changes_nothing(books: Books) -> None:
    assert handler.handle(PLAN, None) == handler.handle(PLAN, None)
    assert books.committed_cents("2026-11") == 600


def test_a_run_that_does_not_fit_is_refused_with_what_is_missing(books: Books) -> None:
    books.with_run("other")
    with pytest.raises(BudgetExceeded, match=r"\$2\.00 is missing"):
        handler.handle(PLAN, None)
    assert books.run("captune-abc") is None


def test_a_name_of_another_execution_is_refused(books: Books) -> None:
    books.with_run("abc")
    with pytest.raises(RunNameTaken):
        handler.handle({**PLAN, "executionArn": arn("a_bc"), "budget": {**PLAN["budget"], "worstCaseCents": 1}}, None)


@pytest.mark.parametrize("trouble", ["throttled", "broken", "lost answer"])
def test_trouble_of_the_ledger_is_the_error_that_the_state_machine_tries_again(books: Books, trouble: str) -> None:
    books.table.trouble = lambda operation: trouble if operation == "TransactWriteItems" else None
    with pytest.raises(ServiceUnreachable):
        handler.handle(PLAN, None)
    books.table.trouble = lambda operation: None
    assert handler.handle(PLAN, None)["committedCents"] == 600


def test_what_is_committed_is_published_as_a_metric(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    handler.handle(PLAN, None)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    metric = next(line for line in lines if "_aws" in line)
    assert (metric["CommittedCents"], metric["CapCents"]) == (600, 1000)
    assert metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Captune"
    assert {"message", "run", "cents"} <= lines[0].keys()


def test_a_ledger_that_refuses_this_function_is_named_with_its_reason(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(**request: Any) -> None:
        raise refusal("AccessDeniedException", "not authorized to perform dynamodb:UpdateItem")

    monkeypatch.setattr(books.table, "transact_write_items", denied)
    with pytest.raises(
        ServiceUnreachable, match="The reservation in the ledger could not be finished.*dynamodb:UpdateItem"
    ):
        handler.handle(PLAN, None)
