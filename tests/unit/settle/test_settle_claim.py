"""Whose settlement it is: any one name of the run is enough, and what another execution owns is never touched."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from common.errors import InvalidInput, LedgerDamaged
from common.names import run_name
from tests.doubles.lambda_fakes import NOW, arn
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.settle_site import START, Site, job


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(monkeypatch)
    made.with_report()
    return made


NOTHING: dict[str, Any] = {"executionArn": None, "executionName": None, "runName": None, "status": None, "reason": None}


@pytest.mark.parametrize(
    "name",
    [{"executionArn": arn("abc")}, {"executionName": "abc"}, {"runName": "captune-abc"}],
    ids=lambda n: next(iter(n)),
)
def test_one_name_of_the_run_is_enough(site: Site, name: dict[str, str]) -> None:
    outcome = site.settle(**{**NOTHING, **name})
    assert outcome["result"] == {
        "run": "captune-abc", "status": "SUCCEEDED", "verdict": "improved", "actualCents": 32, "leftCents": 2468 - 95,
    }  # fmt: skip
    assert outcome["record"]["executionArn"] == arn("abc")


@pytest.mark.parametrize(
    "name",
    [{"executionArn": arn("abc")}, {"executionName": "abc"}, {"runName": "captune-abc"}],
    ids=lambda n: next(iter(n)),
)
def test_it_is_enough_for_a_run_that_reserved_nothing_too(site: Site, name: dict[str, str]) -> None:
    site.ledger.table.rows.clear()
    outcome = site.settle(**{**NOTHING, **name})
    assert (outcome["record"]["executionArn"], outcome["result"]["status"]) == (arn("abc"), "SUCCEEDED")


def test_an_execution_of_any_name_is_found_by_that_name(site: Site) -> None:
    outcome = site.settle(**{**NOTHING, "executionName": "My.Run"})
    assert (outcome["record"]["executionArn"], outcome["result"]["run"]) == (arn("My.Run"), run_name("My.Run"))


def test_the_runs_own_name_goes_before_the_executions(site: Site) -> None:
    assert (
        site.settle(runName="captune-abc", executionName="other", executionArn=None)["result"]["run"] == "captune-abc"
    )


def test_a_run_whose_name_does_not_carry_its_executions_is_found_by_the_ledger(site: Site) -> None:
    run = run_name("My.Run")
    site.ledger.table.rows = FakeLedger().with_run("My.Run", run).table.rows
    site.step_functions.executions[arn("My.Run")] = {"status": "FAILED", "error": "E", "startDate": START}
    outcome = site.settle(**{**NOTHING, "runName": run})
    assert (outcome["record"]["executionArn"], outcome["record"]["error"]) == (arn("My.Run"), "E")


def test_without_a_ledger_item_nobody_knows_the_execution_of_such_a_run(site: Site) -> None:
    outcome = site.settle(**{**NOTHING, "runName": run_name("My.Run")})
    assert (outcome["record"]["executionArn"], outcome["result"]["status"]) == ("", "UNKNOWN")


@pytest.mark.parametrize("empty", [None, ""])
def test_an_event_that_names_no_run_is_refused(site: Site, empty: str | None) -> None:
    with pytest.raises(InvalidInput, match="told of no run"):
        site.settle(**{**NOTHING, "executionName": empty, "executionArn": empty})


def test_an_execution_that_is_not_the_owner_of_the_run_is_refused(site: Site) -> None:
    with pytest.raises(InvalidInput, match="The run captune-abc belongs to the execution .*:abc, and not to .*:other"):
        site.settle(executionArn=arn("other"), runName="captune-abc")
    assert (site.ledger.run("captune-abc") or {})["state"] == "reserved"


def test_a_damaged_item_is_not_settled_by_guesswork(site: Site) -> None:
    site.ledger.table.rows["RUN#captune-abc"]["reserved_cents"] = {"S": "six dollars"}
    with pytest.raises(LedgerDamaged):
        site.settle()


class TestANameThatIsUsedAgain:
    """Step Functions allows it after 90 days; the ledger refuses the run, and its tear-down must leave the earlier one alone."""

    @pytest.fixture
    def again(self, site: Site) -> Site:
        site.end()
        # Twice what was settled: whoever asks again what the run billed has something to book.
        site.sagemaker.jobs["captune-abc"] = job(seconds=1200)
        started = NOW + timedelta(days=91)
        site.step_functions.executions[arn("abc")] = {
            "status": "FAILED", "error": "RunNameTaken", "cause": "Taken.", "startDate": started,
        }  # fmt: skip
        site.now = started + timedelta(minutes=5)
        return site

    def test_it_costs_nothing_and_books_nothing(self, again: Site) -> None:
        before = copy.deepcopy(again.ledger.table.rows)
        outcome = again.settle(status="FAILED")
        assert outcome["result"]["actualCents"] == 0
        assert "RunNameTaken: Taken." in outcome["message"]
        assert again.ledger.table.rows == before

    def test_the_report_of_the_earlier_run_stays_as_it_is(self, again: Site) -> None:
        before = dict(again.s3.objects)
        outcome = again.end(status="FAILED")
        assert again.s3.objects == before
        assert "No report was written: the run's name belongs to an earlier run" in outcome["message"]
        assert outcome["subject"] == "Captune: failed, $0.00 (captune-abc)"

    def test_no_cost_is_published_for_it(self, again: Site, capsys: pytest.CaptureFixture[str]) -> None:
        capsys.readouterr()
        again.settle(status="FAILED")
        assert "_aws" not in capsys.readouterr().out

    def test_a_second_tear_down_of_the_same_execution_is_not_taken_for_one(self, site: Site) -> None:
        first = site.settle()
        assert site.settle()["result"] == first["result"]


def test_a_run_that_cost_nothing_is_a_metric_once(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.sagemaker.jobs = {}
    site.ledger.table.rows["RUN#captune-abc"]["other_cents"] = {"N": "0"}
    site.settle()
    site.settle()
    metrics = [line for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert ['"ActualCents": 0' in line for line in metrics] == [True]


def test_what_a_second_settlement_books_is_a_metric_of_its_own(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.settle()
    site.sagemaker.jobs["captune-abc-try2"] = {**site.sagemaker.jobs["captune-abc"]}
    site.settle()
    site.settle()
    metrics = [line for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert ['"ActualCents": 32' in metrics[0], '"ActualCents": 26' in metrics[1], len(metrics)] == [True, True, 2]


def test_the_books_are_in_the_table_that_the_function_was_given(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_TABLE", "captune-ledger")
    tables = site.ledger.tables_asked("get_item", monkeypatch)
    site.settle()
    assert set(tables) == {"captune-ledger"}
