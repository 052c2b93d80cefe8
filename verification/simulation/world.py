"""The clock, the processes that take turns on it, and the chance that things go wrong.

Between two calls to the ledger's table other processes may run, so what can interleave in AWS interleaves here.
"""

import heapq
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec

from rehearsal.step_functions.executions import FAILURES, Execution
from rehearsal.step_functions.interpreter import Steps
from verification.simulation.faults import BROKEN, CONFLICT, LOST_ANSWER, THROTTLED, Fault

Process = Steps[None]
P = ParamSpec("P")
# Two processes whose turns come within these seconds of each other may overtake one another inside a call.
_SIMULTANEOUS = timedelta(seconds=3)
NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)  # when a row of the table begins: in no month's first or last week

# boto3's name of each service, and what it is called here. Lambda, Step Functions and EventBridge are the machinery itself:
# while they are away nothing runs that they would run.
SERVICES = {
    "dynamodb": "ledger",
    "sagemaker": "SageMaker",
    "stepfunctions": "Step Functions",
    "scheduler": "Scheduler",
    "sns": "SNS",
    "s3": "S3",
    "lambda": "Lambda",
    "events": "EventBridge",
    "teardown": "TearDown's function",
}


def at_once(act: Callable[P, object]) -> Callable[P, Process]:
    """Makes a process of a function: all of it happens at one moment."""

    @wraps(act)
    def process(*given: P.args, **named: P.kwargs) -> Process:
        act(*given, **named)
        yield from ()

    return process


@dataclass
class Defences:
    """The lines of defence that are neither code nor a state of a machine. A control experiment takes one away."""

    event_rule: bool = True
    sweeper: bool = True
    current_cap: bool = True


DEFENCES = Defences()


_LOGS: list[list[tuple[datetime, str]]] = []


@contextmanager
def recorded_log() -> Iterator[list[tuple[datetime, str]]]:
    """Every world that is made meanwhile logs what happens in it, with the moment."""
    _LOGS.append([])
    try:
        yield _LOGS[-1]
    finally:
        _LOGS.pop()


@dataclass
class World:
    """The clock, the cap in force, the faults, and the shares of calls and events that go wrong by chance."""

    random: random.Random
    now: datetime
    cap_cents: int
    lost_events: float = 0.05
    late_events: float = 0.1
    troubled: float = 0.03
    faults: list[Fault] = field(default_factory=list)
    # The most that a call takes that a function makes (seconds): so long the others go on.
    call_seconds: float = 0.0
    # The execution whose tear-down acts now.
    actor: str = ""

    def __post_init__(self) -> None:
        # What happened, in words, where somebody wants to read it.
        self.lines = _LOGS[-1] if _LOGS else None
        self._heap: list[tuple[datetime, int, Process, Execution | None, object]] = []
        self._count = self._nested = self._troubles_in_a_row = 0

    def follow(self, execution: Execution) -> Execution:
        """Logs the states of an execution and the errors that they meet, where somebody wants to read it."""

        def hear(event: Mapping[str, Any]) -> None:
            for kind, told in event.items():
                if kind == "stateEnteredEventDetails":
                    self.log(f"{execution.name}: {told['name']}")
                elif kind in FAILURES:
                    self.log(f"{execution.name}: {told['name']} met {told['error']}: {str(told['cause'])[:160]}")

        execution.heard = hear if self.lines is not None else None
        return execution

    def log(self, words: str) -> None:
        """Adds a line to the log of this world, where somebody wants to read it."""
        if self.lines is not None:
            self.lines.append((self.now, words))

    def spawn(self, process: Process, delay: float, execution: Execution | None = None, busy: object = False) -> None:
        """Lets a process go on after a delay (seconds), if its execution still runs then."""
        self._count += 1
        heapq.heappush(self._heap, (self.now + timedelta(seconds=delay), self._count, process, execution, busy))

    def step(self) -> bool:
        """Runs the next process up to its next wait; false when nothing is left to run."""
        if not self._heap:
            return False
        moment, _, process, execution, busy = heapq.heappop(self._heap)
        self.now = max(self.now, moment)
        ended = execution is not None and execution.status != "RUNNING"
        if ended and not (busy and self.random.random() < 0.5):
            process.close()
            return True
        try:
            delay, busy = next(process)
        except StopIteration:
            return True
        if ended:
            process.close()
        else:
            self.spawn(process, delay, execution, busy)
        return True

    def run(self, until: datetime | None = None, most_steps: int = 200_000) -> bool:
        """Runs until nothing is left to run or a moment is reached; false when there was no end in sight."""
        while most_steps and (until is None or self.now < until) and self.step():
            most_steps -= 1
        return most_steps > 0

    def interleave(self, operation: str) -> None:
        """Before a call to the table: others whose turn comes within seconds may go first."""
        while (
            self._nested < 3
            and self._heap
            and self._heap[0][0] < self.now + _SIMULTANEOUS
            and self.random.random() < 0.25
        ):
            self._nested += 1
            try:
                with self.acting(""):
                    self.step()
            finally:
                self._nested -= 1

    @contextmanager
    def acting(self, actor: str) -> Iterator[None]:
        """Whose tear-down acts, for as long as this lasts."""
        before, self.actor = self.actor, actor
        try:
            yield
        finally:
            self.actor = before

    def trouble(self, operation: str) -> Fault | None:
        """What goes wrong with a call to the table; by chance never more than three times in a row."""
        if away := self.fault("ledger"):
            return away
        if self._troubles_in_a_row > 2 or self.random.random() >= self.troubled:
            self._troubles_in_a_row = 0
            return None
        self._troubles_in_a_row += 1
        return self.random.choice([CONFLICT, THROTTLED, BROKEN, LOST_ANSWER])

    def fault(self, place: str, execution: Execution | None = None) -> Fault | None:
        """The fault that a call meets now, which counts it. A service may have boto3's name; `execution` calls a state."""
        if not self.faults:
            return None
        name = SERVICES.get(place, place)
        return next((one for one in self.faults if one.place == name and one.claims(self.now, execution)), None)

    def down_until(self, service: str) -> datetime | None:
        """When a service comes back that is away now."""
        away = self.fault(service)
        return away.end if away else None

    def seconds_until(self, moment: datetime) -> float:
        """From now to a moment."""
        return (moment - self.now) / timedelta(seconds=1)

    def waiting_for(self, service: str) -> Process:
        """Waits until a service answers, and up to a minute more."""
        while (over := self.down_until(service)) is not None:
            yield self.seconds_until(over) + self.random.uniform(0, 60), False

    # what an interpreter asks of the time

    scale = 1.0

    def jitter(self, seconds: float) -> float:
        """A pause of up to so many seconds."""
        return self.random.uniform(0, seconds)

    def side_by_side(self, branches: list[Steps[Any]]) -> Steps[list[Any]]:
        """All branches take turns; the first that fails ends the others."""
        results: list[Any] = [None] * len(branches)
        began = self.now
        turns: list[tuple[float, int, Any]] = [(0.0, number, False) for number in range(len(branches))]
        try:
            while turns:
                at, number, busy = heapq.heappop(turns)
                elapsed = (self.now - began) / timedelta(seconds=1)
                if at > elapsed:
                    yield at - elapsed, bool(busy) or any(one[2] for one in turns)
                try:
                    seconds, busy = next(branches[number])
                except StopIteration as done:
                    results[number] = done.value
                else:
                    heapq.heappush(turns, (max(at, elapsed) + seconds, number, busy))
        finally:
            for branch in branches:
                branch.close()
        return results

    def latency(self) -> float:
        """Seconds of one call: mostly short, in a tenth of the calls up to a minute."""
        return self.random.uniform(0.1, 60 if self.random.random() < 0.1 else 4)
