"""Runs one cell and says what was wrong with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from proof.matrix import audit
from proof.matrix.bench import Bench
from proof.matrix.case import ENDPOINTS, TRAININGS, Case
from proof.matrix.expectations import NOBODY_KNOWS, NOTHING, SCHEDULE, SWEEPER, Expected, out_of_order
from proof.matrix.failures import FAILURES, Failure


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: `wrong` is empty when it passed, `reason` says why it does not apply."""

    state: str
    failure: str
    wrong: tuple[str, ...] = ()
    reason: str = ""
    seconds: float = 0.0

    @property
    def mark(self) -> str:
        """How it stands in the table."""
        return "n-a" if self.reason else "FAIL" if self.wrong else "ok"


def names(bench: Bench) -> list[tuple[str, str]]:
    """Every cell of the deployed definitions: the name of a state and of a failure."""
    return [(state.name, failure.name) for state in bench.states() for failure in FAILURES]


def run(bench: Bench, state_name: str, failure_name: str) -> Outcome:
    """Runs one cell. A cell that does not end or breaks is one that fails."""
    state = next(state for state in bench.states() if state.name == state_name)
    failure = next(failure for failure in FAILURES if failure.name == failure_name)
    begin = time.monotonic()
    case = Case(bench, state)
    reason = failure.fits(case)
    if reason:
        return Outcome(state_name, failure_name, reason=reason)
    try:
        wrong = _run(case, failure)
    except (TimeoutError, AssertionError, KeyError, ValueError, RuntimeError, OSError) as error:
        wrong = [f"{type(error).__name__}: {error}"]
    return Outcome(state_name, failure_name, tuple(wrong), seconds=time.monotonic() - begin)


def _run(case: Case, failure: Failure) -> list[str]:
    bench, state = case.bench, case.state
    bench.empty(*ENDPOINTS.get(state.name, ()), training=TRAININGS.get(state.name, "completed"))
    expected = failure.expect(case)
    failure.arm(case)
    case.start()
    failure.drive(case)
    case.settle()
    if not failure.stays:
        case.lift()
    wrong = [*out_of_order(case), *_heal(case, expected)]
    if not case.reached:
        wrong.append("no run ever came to this state: name what it needs in matrix_case.py")
    assert case.run is not None
    wrong += audit.ends(bench, case.run, expected)
    wrong += audit.nothing_left(bench)
    wrong += audit.money(bench)
    return wrong + audit.told(bench, case.run, expected)


def _heal(case: Case, expected: Expected) -> list[str]:
    """Lets the one act who has to finish what the run's own event could not: no one else may be needed."""
    if expected.healer in (NOTHING, NOBODY_KNOWS):
        return []
    acts: dict[str, Callable[[], bool]] = {SCHEDULE: case.until_the_schedule, SWEEPER: case.until_the_sweeper}
    if not acts[expected.healer]():
        return [f"there is nothing left of {expected.healer}"]
    case.settle()
    return []
