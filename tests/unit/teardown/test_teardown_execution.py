"""Step Functions knows whether the execution has ended: an old event ends nothing, everybody else ends it first.

An endpoint with keepEndpointMinutes stays only after a success.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from common.contracts.tear_down import TearDownEvent
from tests.doubles.lambda_fakes import arn, logged, refusal
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.teardown_site import EVENT, SCHEDULE, Site

SILENCES = [
    refusal("AccessDeniedException"),
    refusal("ThrottlingException"),
    EndpointConnectionError(endpoint_url="states"),
]
ENDED = ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
OTHERS: list[TearDownEvent] = [
    SCHEDULE,
    {**SCHEDULE, "reason": "sweeper"},
    {**SCHEDULE, "reason": "person"},
    {"executionName": "abc"},
    {"runName": "captune-abc"},
]
ENDPOINT = {"captune-abc": "InService"}


def running() -> Site:
    return Site(execution="RUNNING", jobs={"captune-abc": "InProgress"}, endpoints=ENDPOINT)


class TestTheExecution:
    # How Step Functions describes it (None: forgotten), what the event reports, and whether anything is removed.
    @pytest.mark.parametrize(
        ("described", "reported", "removed"),
        [
            *(("RUNNING", reported, False) for reported in (*ENDED, "UNKNOWN")),
            *((status, status, True) for status in ENDED),
            (None, "FAILED", True),
            (None, "UNKNOWN", True),
            *((silence, reported, True) for silence in SILENCES for reported in ENDED),
            *((silence, "UNKNOWN", False) for silence in SILENCES),
        ],
    )
    def test_an_event_removes_nothing_of_an_execution_that_may_run(
        self, described: Any, reported: str, removed: bool
    ) -> None:
        site = running()
        if described is None:
            site.step_functions.executions.clear()
        elif isinstance(described, str):
            site.step_functions.executions[arn("abc")]["status"] = described
        else:
            site.step_functions.troubles["describe_execution"] = [described]
        outcome = site.tear_down({**EVENT, "status": reported})
        assert site.changes == (["stop_training_job", "delete_endpoint"] if removed else [])
        assert (outcome["running"], outcome["problems"], outcome["quiet"]) == (not removed, [], False)
        assert not site.step_functions.called("stop_execution")
        if not removed:
            assert (site.sagemaker.calls, outcome["found"], outcome["seen"]) == ([], [], {})

    @pytest.mark.parametrize("described", ["RUNNING", "SUCCEEDED", None])
    @pytest.mark.parametrize("event", OTHERS)
    def test_anybody_else_stops_a_running_execution_first(self, event: TearDownEvent, described: str | None) -> None:
        site = running()
        site.step_functions.executions = {arn("abc"): {"status": described}} if described else {}
        outcome = site.tear_down(event)
        stopped = {
            "executionArn": arn("abc"),
            "error": "DeadlineReached",
            "cause": "The tear-down of this run began, at the deadline that its reservation allows or because its spending was stopped.",
        }
        assert site.step_functions.called("stop_execution") == [stopped] * (described == "RUNNING")
        assert (outcome["found"][0] == "execution abc: RUNNING") is (described == "RUNNING")
        assert site.changes == ["stop_training_job", "delete_endpoint"]

    def test_the_pass_that_stops_an_execution_is_not_quiet(self) -> None:
        # Its last call may still arrive.
        site = Site(execution="RUNNING")
        assert site.tear_down(SCHEDULE)["found"] == ["execution abc: RUNNING"]
        assert site.tear_down(SCHEDULE)["quiet"]
        assert len(site.step_functions.called("stop_execution")) == 1

    @pytest.mark.parametrize("silence", SILENCES)
    @pytest.mark.parametrize("operation", ["describe_execution", "stop_execution"])
    def test_a_silent_step_functions_keeps_nothing_from_being_removed(self, silence: Exception, operation: str) -> None:
        site = running()
        site.step_functions.troubles[operation] = [silence]
        outcome = site.tear_down(SCHEDULE)
        assert site.changes == ["stop_training_job", "delete_endpoint"]
        assert (outcome["problems"], outcome["quiet"]) == ([f"the execution: {silence}"], False)

    def test_a_run_whose_execution_nobody_can_name_is_removed(self) -> None:
        site = Site(FakeLedger(), endpoints=ENDPOINT)
        site.tear_down({"runName": "captune-Old-Name"})
        assert (site.step_functions.calls, site.changes) == ([], ["delete_endpoint"])

    @pytest.mark.parametrize("ledger_state", ["readable", "silent", "damaged"])
    def test_the_ledger_knows_the_execution_behind_a_hashed_name(self, ledger_state: str) -> None:
        run = "captune-abc-0123456789"
        site = Site(FakeLedger().with_run("A.bc", run=run), run=run, endpoints={run: "InService"})
        site.step_functions.executions = {arn("A.bc"): {"status": "RUNNING"}}
        if ledger_state == "silent":
            site.ledger.fall_silent()
        elif ledger_state == "damaged":
            del site.ledger.table.rows[f"RUN#{run}"]["execution_arn"]
        outcome = site.tear_down({"runName": run})
        known = ledger_state == "readable"
        assert [one["executionArn"] for one in site.step_functions.called("stop_execution")] == [arn("A.bc")] * known
        assert ("execution A.bc: RUNNING" in outcome["found"]) is known
        assert (outcome["problems"], site.changes) == ([], ["delete_endpoint"])


class TestKeeping:
    """keepEndpointMinutes: after a success the endpoint stays for these minutes, and not a pass longer."""

    SUCCESS: TearDownEvent = {**EVENT, "status": "SUCCEEDED"}

    @staticmethod
    def site() -> Site:
        """A run whose endpoint is to stay for half an hour."""
        return Site(FakeLedger().with_run("abc", keep_endpoint_seconds=1800), "SUCCEEDED", endpoints=ENDPOINT)

    def test_an_endpoint_that_is_to_stay_is_not_touched(self) -> None:
        site = self.site()
        assert site.tear_down(self.SUCCESS) == {
            "runName": "captune-abc", "found": [], "quiet": False, "keep": True, "keepUntil": "2026-11-24T12:30:00",
            "running": False, "seen": {}, "problems": [],
        }  # fmt: skip
        assert site.sagemaker.calls == []

    def test_a_second_event_does_not_lengthen_the_stay(self) -> None:
        site = self.site()
        site.tear_down(self.SUCCESS)
        last = site.tear_down(self.SUCCESS, after=timedelta(minutes=29, seconds=59))
        assert last["keepUntil"] == "2026-11-24T12:30:00"
        assert not site.tear_down(self.SUCCESS, after=timedelta(minutes=30))["keep"]
        assert site.changes == ["delete_endpoint"]

    @pytest.mark.parametrize(
        ("described", "changes", "stays"),
        [
            ("SUCCEEDED", {"reason": "schedule"}, False),
            ("SUCCEEDED", {"reason": "sweeper"}, False),
            ("FAILED", {"status": "FAILED"}, False),
            # A success is what Step Functions says, or what the event reports where it has forgotten.
            ("FAILED", {}, False),
            ("SUCCEEDED", {"status": "FAILED"}, True),
            (None, {}, True),
            (None, {"status": "FAILED"}, False),
            # Of another execution than the one that the reservation belongs to.
            ("SUCCEEDED", {"executionArn": arn("other")}, False),
        ],
    )
    def test_only_the_event_of_a_success_keeps(self, described: str | None, changes: Any, stays: bool) -> None:
        site = self.site()
        names = ("abc", "other") if described else ()
        site.step_functions.executions = {arn(name): {"status": described} for name in names}
        assert site.tear_down({**self.SUCCESS, **changes})["keep"] is stays
        assert site.changes == ([] if stays else ["delete_endpoint"])

    @pytest.mark.parametrize(
        "ledger",
        [
            FakeLedger(),
            FakeLedger().with_run("abc"),
            FakeLedger().with_run("abc", keep_endpoint_seconds=1800).settled("captune-abc"),
        ],
    )
    def test_nothing_stays_without_a_request_or_once_settled(self, ledger: FakeLedger) -> None:
        assert not Site(ledger, execution="SUCCEEDED").tear_down(self.SUCCESS)["keep"]

    @pytest.mark.parametrize("operation", ["GetItem", "UpdateItem"])
    def test_nothing_stays_whose_end_the_ledger_does_not_hold(
        self, operation: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        site = self.site()
        site.ledger.table.trouble = lambda called: "throttled" if called == operation else None
        outcome = site.tear_down(self.SUCCESS)
        assert (outcome["keep"], outcome["problems"], site.changes) == (False, [], ["delete_endpoint"])
        (line,) = logged(capsys, "nothing is kept")
        assert line["run"] == "captune-abc"
        assert "The ledger did not answer" in line["error"]

    @pytest.mark.parametrize("value", [{"BOOL": True}, {"NULL": True}, {"N": "1.5"}, {"M": {}}, None])
    @pytest.mark.parametrize("name", ["state", "execution_arn", "keep_endpoint_seconds", "reserved_at"])
    def test_a_damaged_item_keeps_nothing(self, name: str, value: Any) -> None:
        site = self.site()
        item = site.ledger.table.rows["RUN#captune-abc"]
        item.pop(name)
        item |= {name: value} if value else {}
        assert not site.tear_down(self.SUCCESS)["keep"]
        assert site.changes == ["delete_endpoint"]
