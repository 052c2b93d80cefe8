"""What the sweeper and the kill switch leave in the log, and of which table and run they speak."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sweeper import evidence, handler
from sweeper.leftovers import Sweep
from tests.doubles.lambda_fakes import MACHINE, NOW, TEAR_DOWN, arn, refusal
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.sweeper_site import Site

NOTIFICATION = {"Records": [{"Sns": {"Message": "AWS Budgets: captune has exceeded 100% " + "x" * 600}}]}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(FakeLedger().with_run("abc"), {"abc": {"status": "RUNNING"}})
    services = {"sagemaker": site.sagemaker, "stepfunctions": site.step_functions, "dynamodb": site.ledger.table}
    monkeypatch.setattr(handler, "hasty_client", services.__getitem__)
    monkeypatch.setattr(handler, "now", lambda: NOW)
    for name, value in {"LEDGER_TABLE": "ledger", "FINE_TUNING_ARN": MACHINE, "TEAR_DOWN_ARN": TEAR_DOWN}.items():
        monkeypatch.setenv(name, value)
    return site


def told(capsys: pytest.CaptureFixture[str], *messages: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in found if line.get("message") in messages]


def test_a_sweep_is_told_with_what_it_began(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.sagemaker.endpoints["captune-lost"] = "InService"
    handler.handle({"reason": "sweep"}, None)
    assert told(capsys, "swept", "killed") == [
        {"message": "swept", "tear_downs": ["captune-lost"], "notification": None}
    ]


def test_a_notification_is_told_as_it_came_but_not_at_any_length(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    handler.handle(NOTIFICATION, None)
    assert told(capsys, "swept", "killed") == [
        {"message": "killed", "tear_downs": ["captune-abc"], "notification": json.dumps(NOTIFICATION)[:500]}
    ]


def test_the_ledger_is_the_one_that_the_function_was_given(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_TABLE", "captune-ledger")
    tables = site.ledger.tables_asked("paginate", monkeypatch)
    handler.handle({"reason": "sweep"}, None)
    assert tables == ["captune-ledger"]


def test_why_an_execution_was_ended_stands_in_its_history() -> None:
    site = Site(executions={"abc": {"status": "RUNNING"}})
    site.sweep().end_everything()
    (stopped,) = site.step_functions.called("stop_execution")
    assert (stopped["executionArn"], stopped["error"]) == (arn("abc"), "BudgetAlarm")
    assert stopped["cause"] == (
        "The budget alarm of this project went off, so every run was stopped. docs/operating.md says how to go on."
    )


def test_what_was_removed_without_a_tear_down_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(endpoints={"captune-lost": "InService"})
    site.step_functions.troubles["start_execution"] = [refusal("ThrottlingException")]
    site.sweep().remove_leftovers()
    (line,) = told(capsys, "removed without a TearDown")
    assert (line["runName"], line["found"]) == ("captune-lost", ["endpoint captune-lost: InService"])


def test_before_it_looks_a_sweep_has_no_problems_and_no_two_share_theirs() -> None:
    one, other = Site().sweep(), Site().sweep()
    assert isinstance(one, Sweep)
    assert one.problems == []
    assert one.problems is not other.problems
    assert evidence.Evidence({}, True, {}, {}).problems == []
