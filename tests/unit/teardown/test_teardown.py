"""The tear-down of one run: nothing that bills stays, nothing of others goes, and an old event ends nothing that runs."""

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from common.contracts.tear_down import TearDownEvent
from common.endpoint_lives import of_item
from common.errors import ExtensionRefused, InvalidInput
from common.names import run_name
from teardown import handler
from tests.doubles.lambda_fakes import MACHINE, NOW, arn, logged, refusal
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.run_end import EVENT, SCHEDULE
from tests.doubles.run_end import TornDownSite as Site
from verification.simulation.faults import THROTTLED

NAMES, HOUR = ["captune-abc"], timedelta(hours=1)
BOTH, BOTH_LINGERING = ["stop_training_job", "delete_endpoint"], ["delete_endpoint_config", "delete_model"]
ALL = [*BOTH, *BOTH_LINGERING]
ENDPOINT = {"captune-abc": "InService"}
LINGERING: dict[str, Any] = {"configurations": NAMES, "models": NAMES}
EVERYTHING: dict[str, Any] = {"jobs": {"captune-abc": "InProgress"}, "endpoints": ENDPOINT, **LINGERING}
SILENCES = [refusal("AccessDeniedException"), EndpointConnectionError(endpoint_url="aws")]
ENDED = ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
OTHERS: list[TearDownEvent] = [SCHEDULE, {"executionName": "abc"}, {"runName": "captune-abc"}]


def running() -> Site:
    return Site(execution="RUNNING", jobs={"captune-abc": "InProgress"}, endpoints=ENDPOINT)


class TestRemoval:
    def test_a_run_that_left_nothing_is_quiet(self) -> None:
        assert Site().tear_down() == {
            "runName": "captune-abc", "found": [], "quiet": True, "keep": False,
            "running": False, "cutOff": True, "seen": {"noneAt": NOW.isoformat()}, "problems": [], "leftAlone": [],
        }  # fmt: skip

    def test_a_training_job_is_stopped_once_and_waited_for(self) -> None:
        site = Site(jobs={"captune-abc": "InProgress"})
        assert site.tear_down()["found"] == ["training job captune-abc: InProgress"]
        assert site.tear_down()["found"] == ["training job captune-abc: Stopping"]
        assert len(site.sagemaker.called("stop_training_job")) == 1
        site.sagemaker.jobs["captune-abc"] = "Stopped"
        assert site.tear_down()["quiet"]

    @pytest.mark.parametrize("status", ["InService", "OutOfService", "Failed", "UpdateRollbackFailed"])
    def test_an_endpoint_is_deleted_once_as_soon_as_it_can_be(self, status: str) -> None:
        site = Site(endpoints={"captune-abc": "Creating"})
        assert site.tear_down()["found"] == ["endpoint captune-abc: Creating"]
        assert site.changes == []
        site.sagemaker.endpoints["captune-abc"] = status
        assert not site.tear_down()["quiet"]
        assert site.sagemaker.called("delete_endpoint") == [{"EndpointName": "captune-abc"}]
        assert site.tear_down()["found"] == ["endpoint captune-abc: Deleting"]
        assert site.changes == ["delete_endpoint"]

    @pytest.mark.parametrize(
        "status", ["Creating", "Updating", "SystemUpdating", "RollingBack", "InService", "Deleting"]
    )
    def test_a_late_call_finds_nothing_to_build_from_once_the_endpoint_goes(self, status: str) -> None:
        site = Site(endpoints={"captune-abc": status}, **LINGERING)
        site.tear_down()
        goes = status in ("InService", "Deleting")
        assert (bool(site.sagemaker.configurations), bool(site.sagemaker.models)) == (not goes, not goes)

    def test_what_an_endpoint_uses_stays_if_its_deletion_fails(self) -> None:
        site = Site(endpoints=ENDPOINT, **LINGERING)
        site.sagemaker.troubles["delete_endpoint"] = [refusal("ThrottlingException")]
        site.tear_down()
        assert site.sagemaker.configurations and site.sagemaker.models

    def test_every_attempt_of_the_run_goes_and_the_trial_too(self) -> None:
        names = ["captune-abc", "captune-abc-try2", "captune-abc-try3"]
        site = Site(jobs=dict.fromkeys(names, "InProgress"), endpoints=dict.fromkeys(names, "InService"))
        site.tear_down()
        assert set(site.sagemaker.jobs.values()) == {"Stopping"}
        assert set(site.sagemaker.endpoints.values()) == {"Deleting"}
        site = Site(configurations=["captune-abc-try0"], models=["captune-abc-try0", "captune-abcd-try0"])
        assert site.tear_down()["found"] == ["endpoint configuration captune-abc-try0", "model captune-abc-try0"]
        assert (site.sagemaker.configurations, list(site.sagemaker.models)) == ({}, ["captune-abcd-try0"])
        assert site.tear_down()["quiet"]

    @pytest.mark.parametrize("event", [EVENT, {**EVENT, "status": "SUCCEEDED"}, SCHEDULE])
    def test_removal_needs_no_ledger(self, event: TearDownEvent) -> None:
        site = Site(**EVERYTHING)
        site.ledger.fall_silent()
        assert site.tear_down(event)["problems"] == []
        assert site.changes == ALL


class TestOfOthers:
    @pytest.mark.parametrize(
        "other",
        ["captune-abcd", "captune-abc-2", "captune-abc-try2-more", "my-captune-abc", "captune-abc-trying"],
    )
    def test_runs_with_similar_names_are_untouched(self, other: str) -> None:
        site = Site(jobs={other: "InProgress"}, endpoints={other: "InService"}, configurations=[other], models=[other])
        assert site.tear_down()["quiet"]
        assert site.changes == []

    @pytest.mark.parametrize(
        ("tags", "why"), [({}, "it has no tag project"), ({"project": "theirs"}, "its tag project is 'theirs'")]
    )
    @pytest.mark.parametrize("silent", [True, False])
    def test_what_was_there_before_the_run_with_another_tag_is_untouched_and_told(
        self, tags: dict[str, str], why: str, silent: bool
    ) -> None:
        site = Site(**EVERYTHING)
        if silent:  # then Step Functions alone says when the run began
            site.ledger.fall_silent()
            site.step_functions.executions[arn("abc")]["startDate"] = NOW
        site.sagemaker.tags["captune-abc"] = tags
        site.sagemaker.created = NOW - timedelta(seconds=1)
        outcome = site.tear_down()
        assert (outcome["quiet"], site.changes, site.seen) == (True, [], {"noneAt": NOW.isoformat()})
        kinds = ["endpoint captune-abc: InService", "endpoint configuration captune-abc", "model captune-abc",
                 "training job captune-abc: InProgress"]  # fmt: skip
        assert outcome["leftAlone"] == [f"{kind}, because {why}" for kind in kinds]

    # When the execution and the reservation began; None for one that is unknown.
    @pytest.mark.parametrize(("started", "reserved"), [(NOW, None), (None, NOW), (NOW + HOUR, NOW), (NOW, NOW + HOUR)])
    def test_what_came_after_the_runs_beginning_is_its_own_whatever_its_tag(self, started: Any, reserved: Any) -> None:
        ledger = FakeLedger().with_run("abc")
        site = Site(ledger, **EVERYTHING)
        site.sagemaker.created, site.sagemaker.tags["captune-abc"] = NOW, {"project": "theirs"}
        if started:
            site.step_functions.executions[arn("abc")]["startDate"] = started
        if reserved:
            ledger.table.rows["RUN#captune-abc"]["reserved_at"] = {"S": reserved.isoformat()}
        else:
            ledger.fall_silent()
        assert site.tear_down()["leftAlone"] == []
        assert site.changes == ALL


class TestTrouble:
    # What one failing call is reported as, and what is done all the same. Configuration and model stay while an endpoint may be live.
    @pytest.mark.parametrize(
        ("operation", "site", "met_at", "changes"),
        [
            ("list_training_jobs", EVERYTHING, "training jobs", ALL[1:]),
            ("list_training_jobs", LINGERING, "training jobs", BOTH_LINGERING),
            ("stop_training_job", EVERYTHING, "training job captune-abc: InProgress", ALL),
            ("list_endpoints", EVERYTHING, "endpoints", ["stop_training_job"]),
            ("list_endpoints", LINGERING, "endpoints", []),
            ("delete_endpoint", EVERYTHING, "endpoint captune-abc: InService", BOTH),
            ("list_endpoint_configs", LINGERING, "endpoint configurations", ["delete_model"]),
            ("delete_endpoint_config", LINGERING, "endpoint configuration captune-abc", BOTH_LINGERING),
            ("list_models", LINGERING, "models", ["delete_endpoint_config"]),
            ("delete_model", LINGERING, "model captune-abc", BOTH_LINGERING),
        ],
    )
    @pytest.mark.parametrize("trouble", SILENCES)
    def test_a_failing_call_is_reported_and_stops_no_other(
        self, operation: str, site: dict[str, Any], met_at: str, changes: list[str], trouble: Exception
    ) -> None:
        account = Site(**site)
        account.sagemaker.troubles[operation] = [trouble]
        outcome = account.tear_down()
        assert (outcome["problems"], outcome["quiet"]) == ([f"{met_at}: {trouble}"], False)
        assert account.changes == changes
        assert account.tear_down()["problems"] == []

    def test_an_answer_that_cannot_be_read_stops_nothing_else(self) -> None:
        site = Site(**EVERYTHING)
        site.sagemaker.troubles["list_training_jobs"] = [KeyError("TrainingJobStatus")]
        assert not site.tear_down()["quiet"]
        assert site.changes == ALL[1:]

    @pytest.mark.parametrize(
        ("operation", "words", "problems"),
        [
            ("delete_endpoint", 'Cannot update in-progress endpoint "arn:aws:sagemaker:us-east-1:1:endpoint/a".', 0),
            ("delete_endpoint", "An update is in progress.", 0),
            ("delete_endpoint", "The request was rejected because the endpoint is in status Deleting.", 0),
            ("delete_endpoint", 'Could not find endpoint "arn:aws:sagemaker:us-east-1:1:endpoint/captune-abc".', 0),
            ("stop_training_job", "The request was rejected because the training job is in status Completed.", 0),
            ("delete_endpoint", "This is not allowed.", 1),
            ("delete_endpoint", "progress", 1),
            # A listing that fails is trouble whatever its words.
            ("list_endpoints", "Could not find a way in-progress", 1),
        ],
    )  # fmt: skip
    def test_a_call_too_late_or_too_early_is_no_trouble(self, operation: str, words: str, problems: int) -> None:
        site = Site(jobs={"captune-abc": "InProgress"}, endpoints={"captune-abc": "InService"})
        site.sagemaker.troubles[operation] = [refusal("ValidationException", words)]
        outcome = site.tear_down()
        assert (len(outcome["problems"]), outcome["quiet"]) == (problems, False)


def test_a_pass_is_logged_and_noted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(endpoints=ENDPOINT)
    site.deploy(monkeypatch, handler, "hasty_client")
    outcome = handler.handle({"executionName": "abc", "status": "FAILED", "reason": "event"}, None)
    assert (outcome["runName"], outcome["found"]) == ("captune-abc", ["endpoint captune-abc: InService"])
    assert site.changes == ["delete_endpoint"]
    assert logged(capsys, "removed") == [{"message": "removed", "reason": "event", **outcome}]
    assert of_item(site.item)


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
    def test_an_event_removes_nothing_of_what_may_run(self, described: Any, reported: str, removed: bool) -> None:
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

    @pytest.mark.parametrize("status", [*ENDED, "RUNNING", None])
    def test_a_call_of_what_did_not_succeed_may_still_arrive(self, status: str | None) -> None:
        site = Site()
        site.step_functions.executions = {arn("abc"): {"status": status}} if status else {}
        assert site.tear_down(SCHEDULE)["cutOff"] is (status != "SUCCEEDED")

    @pytest.mark.parametrize("silent", [True, False])
    def test_what_reserved_nothing_has_called_nothing(self, silent: bool) -> None:
        site = Site(FakeLedger())
        if silent:
            site.ledger.fall_silent()
        assert site.tear_down()["cutOff"] is silent

    @pytest.mark.parametrize("described", ["RUNNING", "SUCCEEDED", None])
    @pytest.mark.parametrize("event", OTHERS)
    def test_anybody_else_stops_a_running_execution_first(self, event: TearDownEvent, described: str | None) -> None:
        site = running()
        site.step_functions.executions = {arn("abc"): {"status": described}} if described else {}
        outcome = site.tear_down(event)
        stopped = {
            "executionArn": arn("abc"),
            "error": "DeadlineReached",
            "cause": "TearDown stopped this run: it reached the deadline of its reservation, or its spending was stopped by hand or by the budget alarm. Find the slow state in the Step Functions console.",
        }
        assert site.step_functions.called("stop_execution") == [stopped] * (described == "RUNNING")
        assert (outcome["found"][0] == "execution abc: RUNNING") is (described == "RUNNING")
        assert site.changes == ["stop_training_job", "delete_endpoint"]

    @pytest.mark.parametrize("silence", SILENCES)
    @pytest.mark.parametrize("operation", ["describe_execution", "stop_execution"])
    def test_a_silent_step_functions_keeps_nothing_from_being_removed(self, silence: Exception, operation: str) -> None:
        site = running()
        site.step_functions.troubles[operation] = [silence]
        outcome = site.tear_down(SCHEDULE)
        assert site.changes == ["stop_training_job", "delete_endpoint"]
        assert (outcome["problems"], outcome["quiet"]) == ([f"the execution: {silence}"], False)

    @pytest.mark.parametrize("ledger_state", ["readable", "silent", "damaged", "of another run"])
    def test_the_ledger_knows_the_execution_behind_a_hashed_name(
        self, ledger_state: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = run_name("A.bc")
        site = Site(FakeLedger().with_run("A.bc", run=run), run=run, endpoints={run: "InService"})
        site.step_functions.executions = {arn("A.bc"): {"status": "RUNNING"}}
        if ledger_state == "silent":
            site.ledger.fall_silent()
        elif ledger_state == "damaged":
            site.ledger.damage(f"RUN#{run}")
        elif ledger_state == "of another run":
            site.ledger.noting(run, execution_arn=arn("abc"))
            site.step_functions.executions[arn("abc")] = {"status": "RUNNING"}
        outcome = site.tear_down({"runName": run})
        known = ledger_state == "readable"
        assert [one["executionArn"] for one in site.step_functions.called("stop_execution")] == [arn("A.bc")] * known
        assert ("execution A.bc: RUNNING" in outcome["found"]) is known
        assert (outcome["problems"], site.changes) == ([], ["delete_endpoint"])
        unknown = {line["run"] for line in logged(capsys, "ledger item unknown") if line["error"] not in (None, "None")}
        assert unknown == ({run} if ledger_state in ("silent", "damaged") else set())

    @pytest.mark.parametrize("reason", ["event", "schedule", "sweeper", "person"])
    @pytest.mark.parametrize("part", ["us-east-1", "123456789012", "captune-fine-tuning"])
    def test_an_execution_of_another_machine_stops_nothing(self, reason: str, part: str) -> None:
        site = running()
        told = arn("abc").replace(part, "eu-west-1")
        with pytest.raises(InvalidInput, match=f"{told} is not an execution of {MACHINE}. TearDown stopped nothing."):
            site.tear_down({"executionArn": told, "reason": reason})
        assert (site.changes, site.step_functions.calls) == ([], [])

    def test_what_has_the_runs_name_is_its_own_where_no_one_tells_when_it_began(self) -> None:
        site = Site(endpoints=ENDPOINT)
        site.sagemaker.tags["captune-abc"] = {"project": "theirs"}
        site.step_functions.troubles["describe_execution"] = [refusal("ThrottlingException")]
        site.ledger.fall_silent()
        assert (site.tear_down(SCHEDULE)["leftAlone"], site.changes) == ([], ["delete_endpoint"])


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
            "running": False, "cutOff": False, "seen": {}, "problems": [], "leftAlone": [],
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
    def test_nothing_stays_without_a_request_or_once_recorded(self, ledger: FakeLedger) -> None:
        assert not Site(ledger, execution="SUCCEEDED").tear_down(self.SUCCESS)["keep"]

    # 6,000 seconds of endpoints are reserved, 2,400 of them for its removal.
    @pytest.mark.parametrize(
        ("details", "minutes", "until"),
        [
            ({"keep_endpoint_seconds": 14_400}, 0, "2026-11-24T13:00:00"),
            ({"keep_endpoint_seconds": 14_400, "endpoint_deadline_seconds": 1800}, 0, "2026-11-24T12:30:00"),
            ({"keep_endpoint_seconds": 14_400, "endpoint_deadline_seconds": 3599}, 0, "2026-11-24T12:00:01"),
            ({"keep_endpoint_seconds": 14_400, "endpoint_deadline_seconds": 3600}, 0, None),
            ({"keep_endpoint_seconds": 1800}, 1000, "2026-11-25T05:00:00"),
            ({"keep_endpoint_seconds": 1800, "keep_until": "2026-11-24T20:00:00Z"}, 0, "2026-11-24T12:30:00"),
        ],
    )
    def test_an_endpoint_stays_inside_its_reservation(self, details: Any, minutes: int, until: str | None) -> None:
        site = Site(FakeLedger().with_run("abc", **details), "SUCCEEDED", endpoints=ENDPOINT)
        assert site.tear_down(self.SUCCESS, timedelta(minutes=minutes)).get("keepUntil") == until
        assert ("keep_until" in site.item) is bool(until)

    @pytest.mark.parametrize("operation", ["GetItem", "TransactWriteItems"])
    def test_nothing_stays_whose_end_the_ledger_does_not_hold(
        self, operation: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        site = self.site()
        site.ledger.table.trouble = lambda called: THROTTLED if called == operation else None
        outcome = site.tear_down(self.SUCCESS)
        assert (outcome["keep"], outcome["problems"], site.changes) == (False, [], ["delete_endpoint"])
        (line,) = logged(capsys, "endpoint not kept")
        assert line["run"] == "captune-abc"
        assert "The ledger did not answer" in line["error"]

    def test_what_a_pass_has_begun_to_remove_does_not_stay(self) -> None:
        """The ledger was silent in the first pass, so that nothing could be kept; what the passes saw must reach the settlement."""
        site = self.site()
        site.ledger.fall_silent()
        site.tear_down(self.SUCCESS)
        site.ledger.table.trouble = lambda operation: None
        outcome = site.tear_down(self.SUCCESS, after=timedelta(minutes=1))
        assert (outcome["keep"], "keep_until" in site.item) == (False, False)

    def test_a_removal_before_the_end_ends_the_stay(self) -> None:
        site = self.site()
        site.tear_down(self.SUCCESS)
        site.tear_down({"runName": "captune-abc", "reason": "person"}, after=timedelta(minutes=10))
        assert site.item["keep_until"] == site.item["reserved_at"]
        with pytest.raises(ExtensionRefused, match="it is over"):
            site.ledger.extend("captune-abc", 600, 2500, NOW + timedelta(minutes=10))
