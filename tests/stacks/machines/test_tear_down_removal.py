"""TearDown until everything is gone: what it asks, how long it waits, and that it never gives up what bills."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rehearsal.step_functions.walk import Failure, Walk
from tests.doubles.machines.tear_down_run import DAY, DEFINITION, EVENT, HOUR, RUN, account, looked, run

LOST = Failure("Lambda.ServiceException")
BUSY = looked(quiet=False, found=["endpoint captune-one"])


def test_the_usual_way_is_two_quiet_looks_the_books_the_schedule_and_the_message() -> None:
    execution = run()
    look = ["RemoveResources", "AllGone?"]
    assert execution.states[:6] == ["Begin", *look, "WaitForRemoval", *look]
    assert execution.states[6] == "SettleLedger"
    assert execution.status == "SUCCEEDED"


def test_it_may_take_a_week_and_its_language_is_jsonata() -> None:
    assert (DEFINITION["TimeoutSeconds"], DEFINITION["QueryLanguage"]) == (7 * DAY, "JSONata")
    slow = Failure("States.Timeout", seconds=30_200)
    for_ever = run(account().script("${TearDownFunctionArn}", BUSY).fail("RemoveResources", *20 * [slow]))
    assert (for_ever.status, for_ever.seconds) == ("TIMED_OUT", 7 * DAY)


class TestHowOftenItLooks:
    def test_every_half_minute_for_two_hours_and_then_every_quarter_of_an_hour(self) -> None:
        looks = run(account().script("${TearDownFunctionArn}", *300 * [BUSY], looked()), most_steps=1000)
        assert looks.status == "SUCCEEDED"
        pauses = looks.pauses("RemoveResources")
        assert pauses[:239] == 239 * [30]
        assert set(pauses[239:]) == {900}
        assert sum(pauses[:239]) == pytest.approx(2 * HOUR, abs=30)

    def test_the_waits_after_a_look_that_failed_count_too(self) -> None:
        looks = run(account().fail("RemoveResources", *600 * [LOST]), most_steps=1000)
        pauses = looks.pauses("RemoveResources")
        assert pauses[:4] == [10, 30, 10, 30]
        assert pauses[476:482] == [10, 30, 10, 900, 10, 900]

    def test_a_look_that_fails_is_no_quiet_one_and_nothing_is_given_up(self) -> None:
        for error in ("Lambda.ServiceException", "States.Timeout", "LedgerUnreachable"):
            execution = run(account().fail("RemoveResources", *60 * [Failure(error)]))
            assert execution.status == "SUCCEEDED", error
            assert execution.states.count("SettleLedger") == 1

    def test_two_quiet_looks_have_to_follow_each_other(self) -> None:
        """A call that was under way at an abort can still create something after the first."""
        looks = account().script("${TearDownFunctionArn}", looked(), BUSY, looked(), BUSY, looked(), looked())
        execution = run(looks)
        assert len(execution.asked("RemoveResources")) == 6
        after_failure = account().script("${TearDownFunctionArn}", looked(), Failure("X"), Failure("X"), looked())
        assert len(run(after_failure).asked("RemoveResources")) == 5

    def test_the_waits_lie_between_the_looks_not_before_the_books(self) -> None:
        execution = run()
        assert execution.pauses("RemoveResources") == [30]
        assert execution.asked("SettleLedger") and execution.seconds == 30


class TestWhatEachLookIsTold:
    def test_the_event_as_it_came_and_what_earlier_looks_saw(self) -> None:
        lives = [{"1": {"createdAt": "12:00"}}, {"1": {"createdAt": "12:00", "goneAt": "12:10"}}]
        looks = [looked(quiet=False, seen=lives[0]), looked(seen=lives[1]), looked(seen=lives[1])]
        execution = run(account().script("${TearDownFunctionArn}", *looks))
        told = execution.asked("RemoveResources")
        assert told == [{**EVENT, "seen": {}}, {**EVENT, "seen": lives[0]}, {**EVENT, "seen": lives[1]}]
        (settled,) = execution.asked("SettleLedger")
        assert settled == {**EVENT, "runName": RUN, "seen": lives[1]}

    def test_what_was_seen_outlives_a_look_that_failed(self) -> None:
        lives = {"1": {"createdAt": "12:00"}}
        scripts = account().script(
            "${TearDownFunctionArn}", looked(quiet=False, seen=lives), LOST, LOST, looked(seen=lives)
        )
        execution = run(scripts)
        assert [told["seen"] for told in execution.asked("RemoveResources")][3] == lives

    @pytest.mark.parametrize("given", ["captune-one", 7, None, [EVENT]])
    def test_an_input_that_is_no_object_is_shown_to_what_refuses_it(self, given: Any) -> None:
        walk = Walk(DEFINITION, account(), given).run()
        assert walk.asked("RemoveResources")[0] == {"seen": {}}

    @pytest.mark.parametrize("state", ["RemoveResources", "SettleLedger"])
    def test_an_input_that_names_no_run_ends_it_at_once_with_the_reason(self, state: str) -> None:
        execution = run(account().fail(state, Failure("InvalidInput", "There is no run in it."), for_ever=True))
        assert (execution.status, execution.error) == ("FAILED", "InvalidInput")
        assert execution.cause == "There is no run in it."
        assert len(execution.asked(state)) == 1
        assert execution.states[-1] == "NoSuchRun"


class TestAnExecutionThatStillRuns:
    def test_is_left_alone_and_looked_at_again_for_ten_minutes(self) -> None:
        still = looked(running=True, quiet=False)
        execution = run(account().script("${TearDownFunctionArn}", still))
        assert (execution.status, execution.states[-1]) == ("SUCCEEDED", "RunGoesOn")
        assert len(execution.asked("RemoveResources")) == 20
        assert execution.seconds == 19 * 30
        assert {call.state for call in execution.calls} == {"RemoveResources"}

    def test_is_settled_when_it_has_ended_meanwhile(self) -> None:
        still = looked(running=True, quiet=False)
        execution = run(account().script("${TearDownFunctionArn}", *19 * [still], looked()))
        assert execution.states.count("SettleLedger") == 1

    def test_counts_only_while_it_runs_without_a_break(self) -> None:
        still, ended = looked(running=True, quiet=False), looked(quiet=False)
        looks = [*19 * [still], ended, *19 * [still], looked()]
        assert run(account().script("${TearDownFunctionArn}", *looks)).states.count("SettleLedger") == 1


class TestAnEndpointThatTheRunAskedToKeep:
    KEPT = looked(quiet=False, keep=True, keepUntil="2026-11-25T13:00:00")

    def test_is_kept_until_the_schedule_comes_back_for_it(self) -> None:
        execution = run(account().script("${TearDownFunctionArn}", self.KEPT))
        assert execution.states == ["Begin", "RemoveResources", "AllGone?", "KeepEndpointForNow", "EndpointKept"]
        assert (execution.status, execution.output) == ("SUCCEEDED", {})

    def test_is_kept_however_quiet_it_is_beside_it(self) -> None:
        looks = account().script("${TearDownFunctionArn}", looked(), self.KEPT | {"quiet": True})
        assert run(looks).states[-1] == "EndpointKept"

    def test_the_schedule_stays_on_time_in_utc_and_tries_for_a_day(self) -> None:
        (schedule,) = run(account().script("${TearDownFunctionArn}", self.KEPT)).asked("KeepEndpointForNow")
        assert schedule["Name"] == RUN
        assert schedule["ScheduleExpression"] == "at(2026-11-25T13:00:00)"
        assert schedule["ScheduleExpressionTimezone"] == "UTC"
        assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
        assert schedule["ActionAfterCompletion"] == "NONE"
        assert schedule["Target"]["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86400}

    def test_the_schedule_starts_this_machine_for_this_run_and_keeps_nothing_then(self) -> None:
        (schedule,) = run(account().script("${TearDownFunctionArn}", self.KEPT)).asked("KeepEndpointForNow")
        target = schedule["Target"]
        assert (target["Arn"], target["RoleArn"]) == ("arn:machine", "${SchedulerRoleArn}")
        assert json.loads(target["Input"]) == {**EVENT, "reason": "schedule"}

    @pytest.mark.parametrize("error", ["Scheduler.SchedulerException", "States.Timeout", "States.Runtime"])
    def test_goes_at_once_when_its_end_cannot_be_scheduled(self, error: str) -> None:
        scripts = account().script("${TearDownFunctionArn}", self.KEPT, looked())
        execution = run(scripts.fail("KeepEndpointForNow", Failure(error), for_ever=True))
        assert execution.states[3:5] == ["KeepEndpointForNow", "RemoveResources"]
        assert [told["reason"] for told in execution.asked("RemoveResources")] == ["event", "schedule", "schedule"]
        assert execution.status == "SUCCEEDED"
        assert dict(execution.inputs)["RemoveResources"] == {}

    def test_a_schedule_that_fails_in_passing_is_tried_again(self) -> None:
        scripts = account().script("${TearDownFunctionArn}", self.KEPT)
        execution = run(scripts.fail("KeepEndpointForNow", *4 * [Failure("States.Timeout")]))
        assert execution.pauses("KeepEndpointForNow") == [5, 12.5, 31.25, 60]
        assert execution.states[-1] == "EndpointKept"
        scripts.fail("KeepEndpointForNow", *4 * [Failure("Scheduler.SchedulerException")])
        assert run(scripts).states[-1] == "EndpointKept"


def test_states_hand_on_nothing_for_what_lasts_is_in_the_variables() -> None:
    execution = run(account().script("${TearDownFunctionArn}", BUSY, LOST, LOST, looked()))
    given = {name for name, value in execution.inputs if value}
    assert given <= {"Begin", "RemoveResources", "Done"}
    assert [value for name, value in execution.inputs if name == "RemoveResources"][1:] == [{}, {}, {}]
