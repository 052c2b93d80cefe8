"""Whether the execution has ended is asked of Step Functions: an old event ends nothing, and everybody else ends it first."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from common.contracts.tear_down import TearDownEvent
from tests.doubles.lambda_fakes import arn, refusal
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


def running(**resources: Any) -> Site:
    return Site(
        execution="RUNNING", jobs={"captune-abc": "InProgress"}, endpoints={"captune-abc": "InService"}, **resources
    )


@pytest.mark.parametrize("told", [*ENDED, "UNKNOWN"])
def test_an_event_of_a_running_execution_touches_nothing(told: str) -> None:
    site = running()
    assert site.tear_down({**EVENT, "status": told}) == {
        "runName": "captune-abc", "found": [], "quiet": False, "keep": False, "running": True, "seen": {}, "problems": [],
    }  # fmt: skip
    assert site.sagemaker.calls == []
    assert site.step_functions.executions[arn("abc")]["status"] == "RUNNING"


@pytest.mark.parametrize("status", ENDED)
def test_an_event_of_an_execution_that_has_ended_removes_what_it_left(status: str) -> None:
    site = running()
    site.step_functions.executions[arn("abc")]["status"] = status
    outcome = site.tear_down({**EVENT, "status": status})
    assert not outcome["running"]
    assert site.changes == ["stop_training_job", "delete_endpoint"]
    assert not site.step_functions.called("stop_execution")


@pytest.mark.parametrize("event", OTHERS)
def test_a_deadline_a_sweeper_and_a_person_stop_an_execution_that_still_runs_and_remove_what_it_has(
    event: dict[str, Any],
) -> None:
    site = running()
    outcome = site.tear_down(event)
    (stopped,) = site.step_functions.called("stop_execution")
    assert (stopped["executionArn"], stopped["error"]) == (arn("abc"), "DeadlineReached")
    assert "deadline" in stopped["cause"]
    assert "execution abc: RUNNING" in outcome["found"]
    assert site.changes == ["stop_training_job", "delete_endpoint"]


def test_a_pass_that_stopped_an_execution_is_not_quiet_because_its_last_call_may_still_arrive() -> None:
    site = Site(execution="RUNNING")
    assert not site.tear_down(SCHEDULE)["quiet"]
    assert site.tear_down(SCHEDULE)["quiet"]
    assert len(site.step_functions.called("stop_execution")) == 1


@pytest.mark.parametrize("event", OTHERS)
def test_an_execution_that_ended_or_is_forgotten_is_not_stopped(event: dict[str, Any]) -> None:
    ended, forgotten = Site(execution="SUCCEEDED"), Site()
    forgotten.step_functions.executions.clear()
    for site in (ended, forgotten):
        outcome = site.tear_down(event)
        assert outcome["quiet"], outcome
        assert not site.step_functions.called("stop_execution")


@pytest.mark.parametrize("told", ["FAILED", "UNKNOWN"])
def test_an_event_of_an_execution_that_is_forgotten_removes_what_there_is(told: str) -> None:
    site = Site(endpoints={"captune-abc": "InService"})
    site.step_functions.executions.clear()
    site.tear_down({**EVENT, "status": told})
    assert site.changes == ["delete_endpoint"]


@pytest.mark.parametrize("silence", SILENCES)
def test_a_step_functions_that_does_not_answer_keeps_nothing_from_being_removed(silence: Exception) -> None:
    site = Site(endpoints={"captune-abc": "InService"})
    site.step_functions.troubles["describe_execution"] = [silence]
    outcome = site.tear_down(SCHEDULE)
    assert site.changes == ["delete_endpoint"]
    assert outcome["problems"][0].startswith("the execution: ")


def test_nothing_is_quiet_while_an_execution_may_still_run() -> None:
    site = Site()
    site.step_functions.troubles["describe_execution"] = [SILENCES[0]]
    assert not site.tear_down(SCHEDULE)["quiet"]
    assert site.tear_down(SCHEDULE)["quiet"]


@pytest.mark.parametrize("silence", SILENCES)
@pytest.mark.parametrize("told", ENDED)
def test_an_event_is_believed_where_step_functions_does_not_answer(told: str, silence: Exception) -> None:
    site = Site(execution="RUNNING", endpoints={"captune-abc": "InService"})
    site.step_functions.troubles["describe_execution"] = [silence]
    outcome = site.tear_down({**EVENT, "status": told})
    assert (outcome["problems"], site.changes) == ([], ["delete_endpoint"])


def test_an_event_that_tells_no_end_is_not_believed() -> None:
    site = Site(endpoints={"captune-abc": "InService"})
    site.step_functions.troubles["describe_execution"] = [SILENCES[0]]
    assert site.tear_down({**EVENT, "status": "UNKNOWN"})["running"]
    assert site.changes == []


@pytest.mark.parametrize("trouble", SILENCES)
def test_an_execution_that_cannot_be_stopped_is_trouble_but_what_it_has_is_removed(trouble: Exception) -> None:
    site = running()
    site.step_functions.troubles["stop_execution"] = [trouble]
    outcome = site.tear_down(SCHEDULE)
    assert outcome["problems"][0].startswith("the execution: ")
    assert site.changes == ["stop_training_job", "delete_endpoint"]


def test_a_run_whose_execution_nobody_can_name_is_removed_without_asking_for_it() -> None:
    site = Site(FakeLedger(), endpoints={"captune-abc": "InService"})
    site.tear_down({"runName": "captune-Old-Name"})
    assert site.step_functions.calls == []
    assert site.changes == ["delete_endpoint"]


class TestARunWhoseNameDoesNotTellItsExecution:
    EVENT: TearDownEvent = {"runName": "captune-abc-0123456789"}

    def site(self) -> Site:
        """The run of an execution `A.bc` that still runs."""
        ledger = FakeLedger().with_run("A.bc", run="captune-abc-0123456789")
        site = Site(ledger, run="captune-abc-0123456789", endpoints={"captune-abc-0123456789": "InService"})
        site.step_functions.executions = {arn("A.bc"): {"status": "RUNNING"}}
        return site

    def test_is_stopped_as_the_ledger_knows_it(self) -> None:
        site = self.site()
        outcome = site.tear_down(self.EVENT)
        assert [one["executionArn"] for one in site.step_functions.called("stop_execution")] == [arn("A.bc")]
        assert "execution A.bc: RUNNING" in outcome["found"]
        assert site.changes == ["delete_endpoint"]

    def test_is_removed_where_the_ledger_does_not_answer(self) -> None:
        site = self.site()
        site.silence_the_ledger()
        outcome = site.tear_down(self.EVENT)
        assert (outcome["problems"], site.changes) == ([], ["delete_endpoint"])
        assert site.step_functions.calls == []

    def test_is_removed_where_its_item_is_damaged(self) -> None:
        site = self.site()
        del site.ledger.table.rows["RUN#captune-abc-0123456789"]["execution_arn"]
        assert site.tear_down(self.EVENT)["problems"] == []
        assert (site.changes, site.step_functions.calls) == (["delete_endpoint"], [])
