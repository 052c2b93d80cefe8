"""TearDown: what it asks, how long it waits, that it gives up nothing that bills, and what it tells its owner."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from rehearsal.step_functions.interpreter import Failure
from tests.doubles.machines.walk import PAID_FOR, SERVICE_WAITS, USUAL, Walk
from verification.simulation.definitions import machine

RUN = "captune-one"
EVENT: Mapping[str, Any] = {
    "executionArn": "arn:aws:states:us-east-1:111122223333:execution:captune-fine-tuning:one",
    "executionName": "one",
    "status": "SUCCEEDED",
    "reason": "event",
}
SETTLED: Mapping[str, Any] = {
    "subject": "Captune: recorded",
    "message": "It cost $1.23.",
    "result": {"run": RUN, "status": "SUCCEEDED", "verdict": "not shown", "actualCents": 123, "leftCents": 2377},
    "record": {"run": RUN},
}
FINISHED = {"subject": "Captune: improved", "message": "All of it.", "verdict": "improved"}


def looked(**found: Any) -> dict[str, Any]:
    """What RemoveResources answers after a pass: unless told otherwise, that nothing was there any more."""
    usual = {"runName": RUN, "quiet": True, "keep": False, "running": False, "cutOff": False}
    return usual | {"found": [], "seen": {}, "problems": [], "leftAlone": []} | found


_USUAL: Mapping[str, Any] = {
    "RemoveResources": looked(),
    "SettleLedger": SETTLED,
    "FinishReport": FINISHED,
    **dict.fromkeys(["KeepEndpointForNow", "TellUnsettled", "DeleteSchedule", "PublishResult"], {"Anything": "said"}),
}


def run(given: Any = EVENT, /, **scripts: Any) -> Walk:
    return Walk(machine("tear_down"), _USUAL, scripts, given, Name="tear-down", Id="arn:execution")


HOUR, DAY, WEEK = 3600, 24 * 3600, 7 * 24 * 3600
LOST = Failure("Lambda.ServiceException")
STILL = Failure("StillRunning", "Endpoint captune-one still runs.")
SILENT = Failure("LedgerUnreachable", "The ledger does not answer.")
BUSY = looked(quiet=False, found=["endpoint captune-one"])
RUNNING = looked(quiet=False, running=True)
KEPT = looked(quiet=False, keep=True, keepUntil="2026-11-10T13:00:00")
LIVES = {"1": {"createdAt": "12:00", "goneAt": "12:10"}}
TOPIC = {"TopicArn": "${ResultTopicArn}"}
# What leads to the states that a usual TearDown does not come to.
ONLY_WITH: dict[str, dict[str, Any]] = {
    "KeepEndpointForNow": {"RemoveResources": [KEPT, looked()]},
    "TellUnsettled": {"SettleLedger": [*20 * [SILENT], USUAL]},
}


def test_the_usual_way_is_two_quiet_looks_recording_report_schedule_message() -> None:
    left = ["endpoint captune-one"]
    execution = run(RemoveResources=looked(seen=LIVES, leftAlone=left))
    assert [(call.state, call.operation, call.arguments) for call in execution.calls] == [
        ("RemoveResources", "${TearDownFunctionArn}", {**EVENT, "seen": {}}),
        ("RemoveResources", "${TearDownFunctionArn}", {**EVENT, "seen": LIVES}),
        ("SettleLedger", "${SettleFunctionArn}", {**EVENT, "runName": RUN, "seen": LIVES, "leftAlone": left}),
        ("FinishReport", "${FinishFunctionArn}", SETTLED["record"]),
        ("DeleteSchedule", "scheduler:deleteSchedule", {"Name": RUN}),
        ("PublishResult", "sns:publish", TOPIC | {"Subject": FINISHED["subject"], "Message": FINISHED["message"]}),
    ]
    assert (execution.status, execution.seconds) == ("SUCCEEDED", 30)
    assert execution.output == {**SETTLED["result"], "verdict": "improved"}


@pytest.mark.parametrize(
    "state", ["KeepEndpointForNow", "TellUnsettled", "FinishReport", "DeleteSchedule", "PublishResult"]
)
def test_a_call_that_stops_nothing_is_given_up_after_these_pauses(state: str) -> None:
    for error in ("Scheduler.SchedulerException", *PAID_FOR):
        waits = [5] if state == "FinishReport" and error in PAID_FOR else SERVICE_WAITS
        execution = run(**ONLY_WITH.get(state, {}), **{state: [*len(waits) * [Failure(error)], USUAL]})
        assert (execution.status, execution.pauses(state)) == ("SUCCEEDED", waits)
        execution = run(**ONLY_WITH.get(state, {}), **{state: Failure(error)})
        assert (execution.status, execution.states[-1]) == ("SUCCEEDED", "Done")
        assert len(execution.asked(state)) == 1 + len(waits)
        assert execution.output == (SETTLED["result"] if state == "FinishReport" else run().output)


def test_what_another_attempt_cannot_change_is_not_called_again() -> None:
    gone, damaged = Failure("Scheduler.ResourceNotFoundException"), Failure("ReportDamaged")
    execution = run(DeleteSchedule=gone, FinishReport=damaged)
    assert [len(execution.asked(state)) for state in ("FinishReport", "DeleteSchedule")] == [1, 1]


class TestLooking:
    def test_takes_every_half_minute_for_two_hours_then_every_quarter_hour(self) -> None:
        pauses = run(RemoveResources=[*300 * [BUSY], looked()]).pauses("RemoveResources")
        assert (pauses[:239], set(pauses[239:])) == (239 * [30], {900})
        # A look that failed counts too, and is repeated after ten seconds.
        pauses = run(RemoveResources=[*600 * [LOST], looked()]).pauses("RemoveResources")
        assert (pauses[:3], pauses[476:481]) == ([10, 30, 10], [10, 30, 10, 900, 10])

    def test_goes_on_for_a_week(self) -> None:
        slow = Failure("States.Timeout", seconds=30_200)
        execution = run(RemoveResources=[*20 * [slow], BUSY])
        assert (execution.status, execution.seconds) == ("TIMED_OUT", WEEK)

    def test_a_week_of_trouble_fits_into_the_history_of_an_execution(self) -> None:
        """AWS ends an execution whose history has 25,000 events: two for a state, three more for each attempt of a task."""
        tasks, passes = ("RemoveResources", "SettleLedger"), 240 + (WEEK - 240 * 30) // 900 + 1
        removing, settling = (
            2 + 3 * (1 + max(rule["MaxAttempts"] for rule in machine("tear_down")["States"][task]["Retry"]))
            for task in tasks
        )
        # In each pass a look, its choice and a wait; then the settlement and its choice.
        assert passes * (removing + 2 + 2 + settling + 2) + 200 < 25_000

    @pytest.mark.parametrize("between", [[BUSY], [LOST, LOST], 2 * [Failure("LedgerUnreachable")]])
    def test_ends_only_after_two_quiet_looks_in_a_row(self, between: list[Any]) -> None:
        """A call that was under way at an abort can still create something after the first."""
        execution = run(RemoveResources=[looked(), *between, looked(), *between, looked()])
        assert len(execution.asked("RemoveResources")) == 4 + 2 * len(between)
        assert execution.states.count("SettleLedger") == 1

    def test_gives_a_late_call_of_a_run_that_was_cut_off_twelve_minutes(self) -> None:
        execution = run(RemoveResources=looked(cutOff=True))
        assert execution.pauses("RemoveResources") == [30, 720]
        # What arrives then is waited for, and so is what may follow it.
        cut = looked(cutOff=True)
        execution = run(RemoveResources=[cut, cut, BUSY | {"cutOff": True}, cut])
        assert execution.pauses("RemoveResources") == [30, 720, 30, 30, 720]
        assert execution.states.count("SettleLedger") == 1

    def test_waits_for_the_ledger_of_a_run_that_was_cut_off_at_the_usual_pace(self) -> None:
        execution = run(RemoveResources=looked(cutOff=True), SettleLedger=[LOST, LOST, SETTLED])
        pauses = execution.pauses("RemoveResources")
        assert (pauses[:2], max(pauses[2:])) == ([30, 720], 40)

    @pytest.mark.parametrize("given", ["captune-one", 7, None, [EVENT]])
    def test_gets_an_input_that_is_no_object_as_an_empty_one(self, given: Any) -> None:
        assert run(given).asked("RemoveResources")[0] == {"seen": {}}

    @pytest.mark.parametrize("state", ["RemoveResources", "SettleLedger"])
    def test_ends_at_once_where_the_input_names_no_run(self, state: str) -> None:
        execution = run(**{state: Failure("InvalidInput", "There is no run in it.")})
        assert (execution.error, execution.cause) == ("InvalidInput", "There is no run in it.")
        assert len(execution.asked(state)) == 1

    def test_leaves_a_running_execution_alone_and_stops_after_ten_minutes(self) -> None:
        execution = run(RemoveResources=RUNNING)
        assert (execution.status, execution.states[-1], execution.output) == ("SUCCEEDED", "RunGoesOn", {})
        assert [call.second for call in execution.calls] == [30 * number for number in range(20)]
        # Ended meanwhile; and only an unbroken row of twenty counts.
        execution = run(RemoveResources=[*19 * [RUNNING], BUSY, *19 * [RUNNING], looked()])
        assert execution.states.count("SettleLedger") == 1


class TestAnEndpointToKeep:
    def test_is_left_until_a_schedule_that_then_keeps_nothing(self) -> None:
        execution = run(RemoveResources=[looked(), KEPT | {"quiet": True}])
        assert (execution.status, execution.states[-1], execution.output) == ("SUCCEEDED", "EndpointKept", {})
        (call,) = (call for call in execution.calls if call.state == "KeepEndpointForNow")
        schedule, target = call.arguments, call.arguments["Target"]
        assert (call.operation, schedule["Name"]) == ("scheduler:updateSchedule", RUN)
        assert schedule["ScheduleExpression"] == "at(2026-11-10T13:00:00)"
        assert (target["Arn"], target["RoleArn"]) == ("arn:machine", "${SchedulerRoleArn}")
        assert json.loads(target["Input"]) == {**EVENT, "reason": "schedule"}
        assert target["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": DAY}

    @pytest.mark.parametrize("error", ["Scheduler.SchedulerException", "States.Timeout", "States.Permissions"])
    def test_is_deleted_at_once_where_its_end_cannot_be_scheduled(self, error: str) -> None:
        execution = run(RemoveResources=[KEPT, looked()], KeepEndpointForNow=Failure(error))
        assert [asked["reason"] for asked in execution.asked("RemoveResources")] == ["event", "schedule", "schedule"]
        assert (execution.status, execution.seconds - sum(SERVICE_WAITS)) == ("SUCCEEDED", 30)


class TestTheSettlement:
    def test_that_finds_something_running_waits_for_two_more_quiet_looks(self) -> None:
        execution = run(SettleLedger=[STILL, USUAL])
        look, settle = "RemoveResources", "SettleLedger"
        assert [call.state for call in execution.calls[:6]] == [look, look, settle, look, look, settle]
        assert execution.pauses("SettleLedger") == [60]

    def test_that_finds_something_running_again_and_again_is_repeated_less_often(self) -> None:
        pauses = run(SettleLedger=[*100 * [STILL], USUAL]).pauses("SettleLedger")
        # A round counts as three passes, two looks and the settlement: the 240 passes of half a minute are over after 79.
        assert pauses == 79 * [60] + 21 * [1800]

    @pytest.mark.parametrize(
        ("error", "first_looks", "quick"),
        [("LedgerUnreachable", [], 119), ("States.Timeout", [BUSY], 118), ("States.Permissions", [BUSY, BUSY], 118)],
    )
    def test_that_fails_a_day_is_repeated_after_each_look(self, error: str, first_looks: list[Any], quick: int) -> None:
        # A round is a look and the settlement with its second attempt, ten seconds later.
        slow = (DAY - quick * 40) // 910
        failures = 2 * (quick + slow) * [Failure(error)]
        execution = run(RemoveResources=[*first_looks, looked()], SettleLedger=[*failures, USUAL])
        assert execution.pauses("SettleLedger") == quick * [10, 30] + slow * [10, 900]
        assert execution.states.count("RemoveResources") == len(first_looks) + 2 + quick + slow
        assert execution.output["actualCents"] == 123

    def test_that_fails_ten_times_is_told_once_by_e_mail(self) -> None:
        assert run(SettleLedger=[*18 * [SILENT], USUAL]).asked("TellUnsettled") == []
        execution = run(RemoveResources=looked(leftAlone=["a model"]), SettleLedger=[*80 * [SILENT], USUAL])
        (told,) = execution.asked("TellUnsettled")
        assert execution.calls[31].state == "TellUnsettled"
        subject = f"Captune: cost not recorded yet, LedgerUnreachable ({RUN})"
        assert told == TOPIC | {"Subject": subject, "Message": told["Message"]}
        assert "no further resources of run captune-one, but did not remove a model. It could" in told["Message"]
        assert told["Message"].endswith("LedgerUnreachable: The ledger does not answer.")
        untold = run(SettleLedger=[*20 * [SILENT], USUAL], TellUnsettled=Failure("States.Permissions"))
        assert "no further resources of run captune-one. It could" in untold.asked("TellUnsettled")[0]["Message"]
        assert 30 + sum(SERVICE_WAITS) in untold.pauses("SettleLedger")

    def test_e_mail_is_no_longer_than_sns_takes(self) -> None:
        long = Failure("LedgerUnreachable", 3000 * "x")
        removed = looked(runName="captune-" + 90 * "y")
        (told,) = run(RemoveResources=removed, SettleLedger=[*20 * [long], USUAL]).asked("TellUnsettled")
        assert (len(told["Subject"]), told["Subject"][-2:]) == (99, "y)")
        assert told["Message"].endswith("LedgerUnreachable: " + 2000 * "x")


@pytest.mark.parametrize(
    ("error", "cause", "words"),
    [
        ("ReportDamaged", json.dumps({"errorMessage": 'No "plan", it ended with "'}), 'No "plan", it ended with "'),
        ("Runtime.ExitError", '{"errorMessage":"dense"}', "dense"),
        ("States.Timeout", "y" + 600 * "x", "y" + 499 * "x"),
    ],
)
def test_a_report_that_cannot_be_finished_is_explained_beside_the_final_cost(
    error: str, cause: str, words: str
) -> None:
    execution = run(FinishReport=Failure(error, cause))
    (message,) = execution.asked("PublishResult")
    assert message["Subject"] == SETTLED["subject"] and message["Message"].startswith(SETTLED["message"])
    assert message["Message"].endswith(f" could not be finished: {error}, {words}. The cost above is final.")
    assert execution.output == SETTLED["result"]
