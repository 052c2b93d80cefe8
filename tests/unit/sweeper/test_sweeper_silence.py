"""A silent service or a damaged item hides nothing else from the sweeper, and what is unknown is no metric."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from common.ledger.rows import read_row
from sweeper.gauges import gauges
from tests.doubles.lambda_fakes import NOW, logged, refusal
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.sweeper_site import RUNNING, Site, ended

SILENCE = EndpointConnectionError(endpoint_url="aws")
LISTINGS = ["list_training_jobs", "list_endpoints", "list_endpoint_configs", "list_models"]
ODD_VALUES: list[Any] = [{"BOOL": True}, {"NULL": True}, {"M": {}}, {"L": []}, {"N": "1.5"}, {"S": "soon"}, None]
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("value", ODD_VALUES)
@pytest.mark.parametrize("name", ["reserved_at", "months", "reserved_cents", "state"])
def test_a_damaged_item_hides_no_other(name: str, value: Any) -> None:
    ledger = FakeLedger().with_run("sound").with_run("abc")
    ledger.table.rows["RUN#captune-abc"].pop(name)
    if value:
        ledger.table.rows["RUN#captune-abc"][name] = value
    sweep = Site(ledger, {"sound": ended()}, endpoints={"captune-lost": "InService"}).sweep()
    assert sweep.remove_leftovers() == ["captune-lost", "captune-sound"]
    assert sweep.problems == []


@pytest.mark.parametrize("trouble", [refusal("ThrottlingException"), RuntimeError("an answer that nobody foresaw")])
def test_a_run_that_cannot_be_judged_hides_no_other(trouble: Exception) -> None:
    site = Site(FakeLedger().with_run("a").with_run("b"), {"a": ended(), "b": ended()})
    site.step_functions.troubles["describe_execution"] = [trouble]
    sweep = site.sweep()
    assert (sweep.remove_leftovers(), sweep.problems) == (["captune-b"], [trouble])


@pytest.mark.parametrize(("operation", "hidden"), list(zip(LISTINGS, "abcd", strict=True)))
def test_a_kind_that_cannot_be_listed_hides_no_other(operation: str, hidden: str) -> None:
    trouble = refusal("ThrottlingException")
    site = Site(
        jobs={"captune-a": "InProgress"},
        endpoints={"captune-b": "InService"},
        configurations=["captune-c"],
        models=["captune-d"],
    )
    site.sagemaker.troubles[operation] = [trouble]
    sweep = site.sweep()
    assert sweep.remove_leftovers() == [f"captune-{one}" for one in "abcd" if one != hidden]
    assert sweep.problems == [trouble]


def test_an_open_reservation_is_found_without_sagemaker() -> None:
    site = Site(FakeLedger().with_run("abc"), {"abc": ended()})
    site.sagemaker.troubles = {operation: [refusal("ThrottlingException")] for operation in LISTINGS}
    assert site.leftovers() == ["captune-abc"]


@pytest.mark.parametrize("kill", [True, False])
def test_without_tear_downs_the_sweeper_removes_by_itself(kill: bool, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(endpoints={"captune-lost": "InService"}, jobs={"captune-b": "InProgress"})
    troubles = [SILENCE, refusal("ThrottlingException")]
    site.step_functions.troubles["start_execution"] = list(troubles)
    sweep = site.sweep()
    assert (sweep.end_everything() if kill else sweep.remove_leftovers()) == ["captune-b", "captune-lost"]
    assert site.sagemaker.endpoints == {"captune-lost": "Deleting"}
    assert site.sagemaker.jobs == {"captune-b": "Stopping"}
    assert sweep.problems == troubles
    assert [(line["runName"], line["found"]) for line in logged(capsys, "removed without a TearDown")] == [
        ("captune-b", ["training job captune-b: InProgress"]),
        ("captune-lost", ["endpoint captune-lost: InService"]),
    ]


def test_the_kill_switch_removes_though_all_but_sagemaker_is_silent() -> None:
    site = Site(endpoints={"captune-abc": "InService"})
    site.ledger.fall_silent()
    for operation in ("list_executions", "start_execution", "describe_execution", "stop_execution"):
        site.step_functions.troubles[operation] = [SILENCE] * 5
    assert site.sweep().end_everything() == ["captune-abc"]
    assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}


def test_two_tear_downs_at_once_are_better_than_none() -> None:
    site = Site(endpoints={"captune-abc": "InService"})
    assert site.leftovers() == ["captune-abc"]
    # What runs is listed, and the TearDowns are not.
    site.step_functions.troubles["list_executions"] = [None, SILENCE]
    sweep = site.sweep(NOW + HOUR)
    assert (sweep.remove_leftovers(), sweep.problems) == (["captune-abc"], [SILENCE])


class TestTheMetrics:
    @staticmethod
    def written(site: Site, capsys: pytest.CaptureFixture[str], now: Any = NOW, kill: bool = False) -> dict[str, int]:
        capsys.readouterr()
        sweep = site.sweep(now)
        sweep.end_everything() if kill else sweep.remove_leftovers()
        return {key: value for line in logged(capsys, "metric") for key, value in line.items() if key != "_aws"}

    @pytest.mark.parametrize("kill", [True, False])
    def test_they_are_the_oldest_ages_and_the_damaged_items(
        self, capsys: pytest.CaptureFixture[str], kill: bool
    ) -> None:
        ledger = FakeLedger().with_run("abc").with_run("b").with_run("c").with_run("old").settled("captune-old")
        ledger.table.rows["RUN#captune-abc"]["reserved_at"] = {"BOOL": True}
        ledger.table.rows["RUN#captune-c"]["state"] = {"NULL": True}
        endpoints = {"captune-b": "InService", "captune-b-try2": "InService", "captune-theirs": "InService"}
        site = Site(ledger, {"b": RUNNING}, endpoints=endpoints)
        site.sagemaker.created_at = {"captune-b-try2": NOW - 2 * HOUR, "captune-theirs": NOW - 9 * HOUR}
        site.sagemaker.tags["captune-theirs"] = {}
        assert self.written(site, capsys, NOW + timedelta(minutes=5), kill) == {
            "OldestEndpointSeconds": 7500,
            "OldestReservationSeconds": 300,
            "DamagedLedgerItems": 2,
        }

    @pytest.mark.parametrize(
        ("ledger_silent", "sagemaker_silent", "known"),
        [
            (False, False, {"OldestEndpointSeconds": 0, "OldestReservationSeconds": 0, "DamagedLedgerItems": 0}),
            (True, False, {"OldestEndpointSeconds": 0}),
            (False, True, {"OldestReservationSeconds": 0, "DamagedLedgerItems": 0}),
            (True, True, {}),
        ],
    )
    def test_nothing_there_is_zero_and_what_is_unknown_is_not_written(
        self, capsys: pytest.CaptureFixture[str], ledger_silent: bool, sagemaker_silent: bool, known: dict[str, int]
    ) -> None:
        site = Site(FakeLedger().with_run("abc").settled("captune-abc"))
        if ledger_silent:
            site.ledger.fall_silent()
        if sagemaker_silent:
            site.sagemaker.troubles["list_endpoints"] = [SILENCE]
        assert self.written(site, capsys) == known

    def test_a_damaged_item_may_be_open_since_its_reservation(self) -> None:
        damaged = read_row({"pk": {"S": "RUN#captune-edited"}, "reserved_at": {"S": NOW.isoformat()}})
        assert gauges([NOW - HOUR, NOW], [damaged], NOW + 20 * HOUR) == {
            "OldestEndpointSeconds": 21 * 3600,
            "OldestReservationSeconds": 20 * 3600,
            "DamagedLedgerItems": 1,
        }

    def test_a_damaged_item_is_named_in_the_log(self, capsys: pytest.CaptureFixture[str]) -> None:
        ledger = FakeLedger().with_run("abc")
        ledger.table.rows["RUN#captune-abc"]["reserved_at"] = {"BOOL": True}
        Site(ledger).leftovers()
        (line,) = logged(capsys, "damaged ledger item")
        assert line["run"] == "captune-abc"
        assert "reserved_at" in line["problems"][0]
