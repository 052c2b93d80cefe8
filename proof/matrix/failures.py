"""The columns of the matrix: what can go wrong in a state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from proof.matrix.case import PERSON, Case
from proof.matrix.expectations import (
    NOBODY_KNOWS,
    NOTHING,
    SCHEDULE,
    SECOND_TIME,
    SWEEPER,
    THROTTLED,
    Expected,
    cut_off,
    failing,
    fine,
    keeps,
    refused_error,
    reserves,
    schedules,
    waits,
)
from proof.matrix.states import ANY


@dataclass(frozen=True)
class Failure:
    """One column. `fits` answers why it does not apply to a state, or nothing; `drive` acts while the run goes on."""

    name: str
    arm: Callable[[Case], None]
    expect: Callable[[Case], Expected]
    fits: Callable[[Case], str] = lambda case: ""
    drive: Callable[[Case], None] = lambda case: None
    stays: bool = False  # whether the trouble lasts while others heal


def _throttle(case: Case, times: int = THROTTLED) -> None:
    code, status = ("TooManyRequestsException", 429) if case.state.is_lambda else ("ThrottlingException", 400)
    case.fault(error=code, status=status, times=times)


def _refuse(case: Case) -> None:
    case.fault(error="AccessDeniedException", status=403, times=None)


def _lift_at_last(case: Case) -> None:
    """What waits is waited for: the trouble ends after several attempts."""
    if waits(case, ANY):
        case.until_reached(attempts=5)
        case.lift()


def _answer_nonsense(case: Case) -> None:
    case.fault(answer={}, times=None, after=not case.state.is_lambda)


def _hang(case: Case) -> None:
    if not case.state.is_lambda:
        case.fault(hang=True, error="ServiceUnavailable", status=503)
        return
    case.cloud.functions.timeouts[case.state.function] = 1.0
    case.inside(hang=True, before=lambda call: case.cloud.functions.timeouts.clear())


def _wait_for_the_switch(case: Case) -> None:
    """A call that hangs is ended by the schedule, where there is one; then the connection fails at last."""
    if case.state.is_lambda:
        return
    case.until_reached()
    if case.in_tear_down:
        if case.until_the_schedule():
            case.until_one_tear_down_is_over()
    elif case.until_the_schedule() and case.run is not None:
        case.bench.wait_for(lambda: case.run is not None and case.run.is_over, "the end of the run at its deadline")
    for fault in case.faults:
        fault.release()


def _hung(case: Case) -> Expected:
    if case.state.is_lambda:
        return fine(case)
    if not case.in_tear_down and schedules(case.state):
        return Expected(run=("ABORTED", "DeadlineReached"))
    return replace(fine(case), healer=NOTHING)


def _stop_late(case: Case) -> None:
    """The call is on its way when the run is stopped, and arrives between TearDown's first pass and its second."""
    held = case.fault(hang=True, before=case.stop)
    case.lands = True

    def arrive() -> None:
        held.release()
        case.until_landed()

    case.hold_tear_down(1, arrive)


def _cut(case: Case, end: Callable[..., None]) -> None:
    case.fault(before=end)
    if not case.in_tear_down:
        case.hold_tear_down(0, case.until_landed)


def _see_it_land(case: Case) -> None:
    case.until_reached()
    if case.reached:
        case.until_landed()


def _cut_its_services(case: Case) -> None:
    case.inside(times=None, error="AccessDeniedException", status=403)


def _kill(case: Case) -> None:
    if case.state.is_lambda:
        case.kill_when_it_writes()
    else:
        case.fault(error="InternalFailure", status=500, after=True)


def _killed(case: Case) -> Expected:
    if case.state.is_lambda:
        return fine(case)
    second = SECOND_TIME.get(case.state.operation)
    if second is None:
        return fine(case)
    end = case.state.fate(second, made_already=case.state.operation.startswith("Create"))
    # The schedule is gone though the state could not know it.
    return Expected() if case.in_tear_down else Expected(run=end)


def _twice(case: Case) -> None:
    case.cloud.events.duplicate()
    if case.in_tear_down:
        case.fault(hang=True)
    else:
        _refuse(case)


def _told_twice(case: Case) -> Expected:
    return fine(case) if case.in_tear_down else failing(case, refused_error(case.state))


def _let_the_other_pass(case: Case) -> None:
    if case.in_tear_down:
        case.until_reached()
        case.until_one_tear_down_is_over()
        for fault in case.faults:
            fault.release()


def _lose(case: Case) -> None:
    case.cloud.events.drop_next()
    if case.in_tear_down:
        _throttle(case, 1)
    else:
        _refuse(case)


def _lost(case: Case) -> Expected:
    if case.in_tear_down:
        return Expected(healer=SCHEDULE)
    end = failing(case, refused_error(case.state))
    if schedules(case.state):
        return replace(end, healer=SCHEDULE)
    # Without a reservation there is nothing to settle or remove, and no one else who could tell the owner.
    return replace(end, healer=SWEEPER) if reserves(case) else replace(end, healer=NOBODY_KNOWS, mail=False, note=False)


FAILURES = (
    Failure("throttled", _throttle, fine),
    Failure("refused", _refuse, lambda case: failing(case, refused_error(case.state)), drive=_lift_at_last),
    Failure(
        "no service",
        _cut_its_services,
        lambda case: failing(case, "ClientError" if case.in_tear_down else "ServiceUnreachable"),
        lambda case: "" if case.state.is_lambda else "it is no Lambda function: its one service is in 'refused'",
        drive=_lift_at_last,
    ),
    Failure(
        "nonsense",
        _answer_nonsense,
        lambda case: failing(case, "States.QueryEvaluationError") if case.state.reads_its_result else fine(case),
        drive=_lift_at_last,
    ),
    Failure("hangs", _hang, _hung, drive=_wait_for_the_switch),
    Failure(
        "aborted",
        lambda case: _cut(case, case.stop),
        lambda case: cut_off(case, "ABORTED", PERSON),
        drive=_see_it_land,
    ),
    Failure(
        "abort+late",
        _stop_late,
        lambda case: cut_off(case, "ABORTED", PERSON),
        lambda case: "its call makes nothing, so that it comes late changes nothing" if case.in_tear_down else "",
    ),
    Failure(
        "timed out",
        lambda case: _cut(case, case.run_out_of_time),
        lambda case: cut_off(case, "TIMED_OUT", ""),
        drive=_see_it_land,
    ),
    Failure("killed", _kill, _killed),
    Failure("event x2", _twice, _told_twice, drive=_let_the_other_pass),
    Failure(
        "event lost",
        _lose,
        _lost,
        lambda case: "only the event of a success leads to it" if keeps(case) else "",
        stays=True,
    ),
)
