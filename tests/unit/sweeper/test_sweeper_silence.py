"""A service that does not answer, or an item that cannot be read, blinds neither the sweeper nor the kill switch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from common.names import run_name
from common.pricing.durations import LONGEST_ENDPOINT_SECONDS, LONGEST_EXECUTION_SECONDS
from tests.doubles.lambda_fakes import MACHINE, NOW, TEAR_DOWN, arn, refusal
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.sweeper_site import Site, ended

SILENCE = EndpointConnectionError(endpoint_url="aws")
ODD_VALUES: list[dict[str, Any]] = [{"BOOL": True}, {"NULL": True}, {"M": {}}, {"L": []}, {"N": "1.5"}, {"S": "soon"}]
# Whoever changes it in place, the next test would sweep what this one has deleted.
ENDPOINT: Mapping[str, str] = MappingProxyType({"captune-abc": "InService"})
DIGESTED = run_name("My.Run")


def damaged(name: str = "reserved_at", value: dict[str, Any] | None = None) -> FakeLedger:
    ledger = FakeLedger().with_run("abc")
    ledger.table.rows["RUN#captune-abc"][name] = value or {"BOOL": True}
    return ledger


class TestADamagedItem:
    @pytest.mark.parametrize("value", ODD_VALUES)
    @pytest.mark.parametrize("name", ["reserved_at", "months", "reserved_cents", "ends_by", "keep_until", "state"])
    def test_a_damaged_item_does_not_blind_the_sweeper(self, name: str, value: dict[str, Any]) -> None:
        ledger = FakeLedger().with_run("sound").with_run("abc")
        ledger.table.rows["RUN#captune-abc"][name] = value
        site = Site(ledger, {"sound": ended()}, endpoints={"captune-lost": "InService"})
        sweep = site.sweep()
        assert sweep.remove_leftovers() == ["captune-lost", "captune-sound"]
        assert sweep.problems == []

    def test_an_item_without_a_state_hides_no_other(self) -> None:
        ledger = FakeLedger().with_run("abc").with_run("sound")
        del ledger.table.rows["RUN#captune-abc"]["state"]
        assert Site(ledger, {"sound": ended()}).sweep().remove_leftovers() == ["captune-sound"]

    def test_what_its_run_left_is_removed_when_its_execution_has_ended(self) -> None:
        site = Site(damaged(), {"abc": ended(NOW)}, endpoints=ENDPOINT)
        assert site.sweep(NOW + timedelta(minutes=15)).remove_leftovers() == []
        assert site.sweep(NOW + timedelta(minutes=15, seconds=1)).remove_leftovers() == ["captune-abc"]

    def test_what_its_run_uses_stays_while_its_execution_runs_and_can_run(self) -> None:
        site = Site(damaged(), {"abc": {"status": "RUNNING"}}, jobs={"captune-abc": "InProgress"})
        longest = site.sagemaker.created + timedelta(seconds=LONGEST_EXECUTION_SECONDS)
        site.step_functions.executions[arn("abc")] = {"status": "RUNNING"}
        # A job that runs for so long is found by its age, whatever its item says.
        site.sagemaker.models["captune-abc"] = None
        assert site.sweep(longest).remove_leftovers() == []
        assert site.sweep(longest + timedelta(seconds=1)).remove_leftovers() == ["captune-abc"]

    def test_an_end_that_cannot_be_read_keeps_no_endpoint(self) -> None:
        ledger = FakeLedger().with_run("abc", keep_until=(NOW + timedelta(hours=3)).isoformat())
        ledger.table.rows["RUN#captune-abc"]["reserved_at"] = {"BOOL": True}
        site = Site(ledger, {"abc": ended(status="SUCCEEDED")}, endpoints=ENDPOINT)
        assert site.sweep().remove_leftovers() == ["captune-abc"]

    def test_its_execution_is_known_by_the_item_where_that_can_be_read_and_else_by_the_name(self) -> None:
        ledger = FakeLedger().with_run("My.Run", run=DIGESTED)
        ledger.table.rows[f"RUN#{DIGESTED}"]["reserved_at"] = {"NULL": True}
        site = Site(ledger, {"My.Run": ended()}, models=[DIGESTED])
        assert site.sweep().remove_leftovers() == [DIGESTED]
        assert site.inputs[0]["executionArn"] == arn("My.Run")
        site = Site(damaged("execution_arn"), {"abc": ended()}, models=["captune-abc"])
        assert site.sweep().remove_leftovers() == ["captune-abc"]
        assert site.inputs[0]["executionArn"] == arn("abc")

    def test_without_a_resource_there_is_nothing_to_do_until_a_person_mends_it(self) -> None:
        assert Site(damaged(), {"abc": ended()}).sweep().remove_leftovers() == []

    def test_the_kill_switch_ends_its_run_too(self) -> None:
        site = Site(damaged(), {"abc": {"status": "RUNNING"}}, endpoints=ENDPOINT)
        assert site.sweep().end_everything() == ["captune-abc"]
        assert site.step_functions.executions[arn("abc")]["status"] == "ABORTED"


class TestASilentLedger:
    def test_what_an_ended_execution_left_is_found_and_the_silence_is_told(self) -> None:
        site = Site(FakeLedger().with_run("abc"), {"abc": ended(NOW)}, endpoints=ENDPOINT)
        site.silence_the_ledger()
        assert site.sweep(NOW + timedelta(minutes=15)).remove_leftovers() == []
        sweep = site.sweep(NOW + timedelta(minutes=15, seconds=1))
        assert sweep.remove_leftovers() == ["captune-abc"]
        assert sweep.problems

    def test_a_running_execution_keeps_what_it_uses(self) -> None:
        names = ["captune-abc", DIGESTED]
        executions = {"abc": {"status": "RUNNING"}, "My.Run": {"status": "RUNNING"}}
        site = Site(executions=executions, endpoints=dict.fromkeys(names, "InService"))
        site.silence_the_ledger()
        assert site.sweep(NOW + timedelta(hours=3)).remove_leftovers() == []

    @pytest.mark.parametrize(
        ("resources", "longest"),
        [({"endpoints": ENDPOINT}, LONGEST_ENDPOINT_SECONDS), ({"models": ["captune-abc"]}, LONGEST_EXECUTION_SECONDS)],
    )
    def test_a_running_execution_keeps_nothing_that_is_older_than_anything_can_be(
        self, resources: dict[str, Any], longest: int
    ) -> None:
        site = Site(executions={"abc": {"status": "RUNNING"}}, **resources)
        site.silence_the_ledger()
        limit = site.sagemaker.created + timedelta(seconds=longest)
        assert site.sweep(limit).remove_leftovers() == []
        assert site.sweep(limit + timedelta(seconds=1)).remove_leftovers() == ["captune-abc"]

    def test_an_execution_that_step_functions_does_not_know_keeps_nothing(self) -> None:
        site = Site(endpoints=ENDPOINT)
        site.silence_the_ledger()
        assert site.sweep().remove_leftovers() == ["captune-abc"]

    def test_a_run_whose_name_does_not_tell_its_execution_is_found_by_what_runs(self) -> None:
        site = Site(endpoints={DIGESTED: "InService"})
        site.silence_the_ledger()
        created = site.sagemaker.created
        assert site.sweep(created + timedelta(minutes=15)).remove_leftovers() == []
        assert site.sweep(created + timedelta(minutes=15, seconds=1)).remove_leftovers() == [DIGESTED]
        assert site.inputs == [{"runName": DIGESTED, "status": "UNKNOWN", "reason": "sweeper"}]

    def test_nothing_is_kept_whose_end_nobody_tells(self) -> None:
        ledger = FakeLedger().with_run("abc", keep_until=(NOW + timedelta(hours=3)).isoformat())
        site = Site(ledger, {"abc": ended(status="SUCCEEDED")}, endpoints=ENDPOINT)
        assert site.sweep().remove_leftovers() == []
        site.silence_the_ledger()
        assert site.sweep().remove_leftovers() == ["captune-abc"]

    def test_the_kill_switch_needs_no_ledger(self) -> None:
        site = Site(executions={"My.Run": {"status": "RUNNING"}}, endpoints={"captune-lost": "InService"})
        site.silence_the_ledger()
        assert site.sweep().end_everything() == ["captune-lost", DIGESTED]
        assert site.step_functions.executions[arn("My.Run")]["status"] == "ABORTED"
        assert [one.get("executionName") for one in site.inputs] == ["lost", "My.Run"]


class TestASilentStepFunctions:
    def test_a_reservation_that_is_over_by_itself_is_torn_down(self) -> None:
        site = Site(FakeLedger().with_run("abc", ends_by=NOW.isoformat()))
        site.step_functions.troubles["list_executions"] = [SILENCE]
        site.step_functions.troubles["describe_execution"] = [SILENCE, SILENCE]
        assert site.sweep(NOW).remove_leftovers() == []
        assert site.sweep(NOW + timedelta(seconds=1)).remove_leftovers() == ["captune-abc"]

    @pytest.mark.parametrize("silent_ledger", [True, False])
    def test_what_exists_is_removed_when_it_is_older_than_anything_can_be(self, silent_ledger: bool) -> None:
        site = Site(FakeLedger().with_run("abc"), endpoints=ENDPOINT)
        if silent_ledger:
            site.silence_the_ledger()
        site.step_functions.troubles["describe_execution"] = [SILENCE, SILENCE]
        limit = site.sagemaker.created + timedelta(seconds=LONGEST_ENDPOINT_SECONDS)
        assert site.sweep(limit).remove_leftovers() == []
        assert site.sweep(limit + timedelta(seconds=1)).remove_leftovers() == ["captune-abc"]

    def test_a_name_that_tells_nothing_is_no_reason_to_remove_while_nobody_says_what_runs(self) -> None:
        site = Site(endpoints={DIGESTED: "InService"})
        site.silence_the_ledger()
        site.step_functions.troubles["list_executions"] = [SILENCE]
        sweep = site.sweep()
        assert sweep.remove_leftovers() == []
        assert len(sweep.problems) == 2

    @pytest.mark.parametrize("kill", [True, False])
    def test_where_no_tear_down_can_be_started_the_sweeper_removes_by_itself(self, kill: bool) -> None:
        site = Site(endpoints={"captune-lost": "InService"}, jobs={"captune-b": "InProgress"})
        site.step_functions.troubles["start_execution"] = [SILENCE, refusal("ThrottlingException")]
        sweep = site.sweep()
        assert (sweep.end_everything() if kill else sweep.remove_leftovers()) == ["captune-b", "captune-lost"]
        assert site.sagemaker.endpoints == {"captune-lost": "Deleting"}
        assert site.sagemaker.jobs == {"captune-b": "Stopping"}
        assert len(sweep.problems) == 2

    def test_the_kill_switch_removes_what_there_is_though_nothing_can_be_stopped_or_started(self) -> None:
        site = Site(endpoints=ENDPOINT)
        site.silence_the_ledger()
        for operation in ("list_executions", "start_execution", "describe_execution", "stop_execution"):
            site.step_functions.troubles[operation] = [SILENCE] * 5
        assert site.sweep().end_everything() == ["captune-abc"]
        assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}

    def test_two_tear_downs_at_once_are_better_than_none(self) -> None:
        site = Site(endpoints=ENDPOINT)
        assert site.sweep().remove_leftovers() == ["captune-abc"]
        listing = site.step_functions.on_list_executions

        def only_runs(stateMachineArn: str, **asked: Any) -> Any:
            if stateMachineArn == TEAR_DOWN:
                raise SILENCE
            return listing(stateMachineArn=stateMachineArn, **asked)

        site.step_functions.on_list_executions = only_runs  # type: ignore[method-assign,assignment]
        sweep = site.sweep(NOW + timedelta(hours=1))
        assert sweep.remove_leftovers() == ["captune-abc"]
        assert sweep.problems == [SILENCE]


class TestASilentSageMaker:
    @pytest.mark.parametrize(
        "operation", ["list_training_jobs", "list_endpoints", "list_endpoint_configs", "list_models"]
    )
    def test_a_kind_that_cannot_be_listed_hides_no_other(self, operation: str) -> None:
        site = Site(
            jobs={"captune-a": "InProgress"},
            endpoints={"captune-b": "InService"},
            configurations=["captune-c"],
            models=["captune-d"],
        )
        site.sagemaker.troubles[operation] = [refusal("ThrottlingException")]
        sweep = site.sweep()
        assert len(sweep.remove_leftovers()) == 3
        assert len(sweep.problems) == 1

    def test_an_open_reservation_is_found_without_it(self) -> None:
        site = Site(FakeLedger().with_run("abc"), {"abc": ended()})
        for operation in ("list_training_jobs", "list_endpoints", "list_endpoint_configs", "list_models"):
            site.sagemaker.troubles[operation] = [refusal("ThrottlingException")]
        assert site.sweep().remove_leftovers() == ["captune-abc"]


@pytest.mark.parametrize("tags", [{}, {"project": "theirs"}])
def test_a_resource_that_only_has_a_name_like_ours_starts_nothing(tags: dict[str, str]) -> None:
    names = ["captune-x"]
    site = Site(
        jobs={"captune-x": "InProgress"}, endpoints={"captune-x": "InService"}, configurations=names, models=names
    )
    site.sagemaker.tags["captune-x"] = tags
    assert site.sweep().remove_leftovers() == []
    assert site.sweep().end_everything() == []


class TestTheMetrics:
    @staticmethod
    def written(site: Site, capsys: pytest.CaptureFixture[str], now: Any = NOW, kill: bool = False) -> dict[str, int]:
        capsys.readouterr()
        sweep = site.sweep(now)
        sweep.end_everything() if kill else sweep.remove_leftovers()
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        found = [line for line in lines if "_aws" in line]
        return {key: value for line in found for key, value in line.items() if key != "_aws"}

    def test_where_there_is_nothing_they_are_zero(self, capsys: pytest.CaptureFixture[str]) -> None:
        nothing = {"OldestEndpointSeconds": 0, "OldestReservationSeconds": 0, "DamagedLedgerItems": 0}
        assert self.written(Site(), capsys) == nothing
        settled = Site(FakeLedger().with_run("abc").settled("captune-abc"), models=["captune-abc"])
        assert self.written(settled, capsys, kill=True) == nothing

    def test_they_are_the_ages_of_the_oldest_and_the_number_of_damaged_items(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ledger = FakeLedger().with_run("abc").with_run("b").with_run("c")
        ledger.table.rows["RUN#captune-abc"]["reserved_at"] = {"BOOL": True}
        ledger.table.rows["RUN#captune-c"]["state"] = {"NULL": True}
        site = Site(
            ledger, {"b": {"status": "RUNNING"}}, endpoints={"captune-b": "InService", "captune-b-try2": "InService"}
        )
        site.sagemaker.created_at = {"captune-b-try2": NOW - timedelta(hours=2)}
        assert self.written(site, capsys, NOW + timedelta(minutes=5)) == {
            "OldestEndpointSeconds": 7500,
            "OldestReservationSeconds": 300,
            "DamagedLedgerItems": 2,
        }

    def test_an_endpoint_of_others_is_not_ours_to_count(self, capsys: pytest.CaptureFixture[str]) -> None:
        site = Site(endpoints={"captune-x": "InService"})
        site.sagemaker.tags["captune-x"] = {}
        assert self.written(site, capsys)["OldestEndpointSeconds"] == 0

    def test_what_is_not_known_is_not_written(self, capsys: pytest.CaptureFixture[str]) -> None:
        site = Site(endpoints=ENDPOINT)
        site.silence_the_ledger()
        assert self.written(site, capsys) == {"OldestEndpointSeconds": 1800}
        site = Site()
        site.sagemaker.troubles["list_endpoints"] = [SILENCE]
        assert self.written(site, capsys) == {"OldestReservationSeconds": 0, "DamagedLedgerItems": 0}
        site.sagemaker.troubles["list_endpoints"] = [SILENCE]
        site.silence_the_ledger()
        assert self.written(site, capsys) == {}

    def test_a_damaged_item_is_named_in_the_log(self, capsys: pytest.CaptureFixture[str]) -> None:
        Site(damaged()).sweep().remove_leftovers()
        (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "damaged" in line]
        assert (line["message"], line["run"]) == ("damaged ledger item", "captune-abc")
        assert "reserved_at" in line["problems"][0]


def test_the_machine_of_runs_and_that_of_tear_downs_are_told_apart() -> None:
    site = Site(endpoints=ENDPOINT)
    site.step_functions.on_start_execution(TEAR_DOWN, "abc", "{}")
    site.silence_the_ledger()
    assert site.sweep().remove_leftovers() == ["captune-abc"]
    asked = [request["stateMachineArn"] for request in site.step_functions.called("list_executions")]
    assert asked == [MACHINE, TEAR_DOWN]
