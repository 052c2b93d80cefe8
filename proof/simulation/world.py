"""A small world with a clock of its own: processes that take turns, and the executions they belong to.

Everything random comes from one seed. Between two calls to the table other processes may run, so that what can interleave in
AWS interleaves here.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from proof.simulation.aws.outages import SERVICES, Outage
from proof.simulation.aws.sagemaker import SageMaker
from proof.simulation.aws.table import BROKEN, CONFLICT, LOST_ANSWER, THROTTLED
from proof.simulation.defences import DEFENCES

# A process yields how long it waits (seconds) and whether a call of it is under way meanwhile, which an abort may not stop.
T = TypeVar("T")
Steps = Generator[tuple[float, bool], None, T]
Process = Steps[None]
# Two processes whose turns come within these seconds of each other may overtake one another inside a call.
_SIMULTANEOUS = timedelta(seconds=3)
NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)  # when a short story begins: in no month's first or last week


@dataclass
class Execution:
    """An execution of the FineTuning machine."""

    name: str
    arn: str
    start: datetime
    status: str = "RUNNING"
    stop: datetime | None = None
    error: str = ""
    cause: str = ""
    # The states that it entered, in order, with the moment of each.
    visited: list[tuple[str, datetime]] = field(default_factory=list)


@dataclass
class World:
    """The clock, the executions, the cap in force, and how much goes wrong (shares of calls and events)."""

    random: random.Random
    now: datetime
    cap_cents: int
    lost_events: float = 0.05
    late_events: float = 0.1
    troubled: float = 0.03
    executions: dict[str, Execution] = field(default_factory=dict)
    tear_downs: dict[str, Execution] = field(default_factory=dict)
    outages: list[Outage] = field(default_factory=list)
    # The services that somebody asked for while they were away.
    missed: set[str] = field(default_factory=set)
    owners: dict[str, str] = field(default_factory=dict)
    start_tear_down: Callable[[dict[str, str], str], Process] | None = None
    # Which execution's tear-down acts now, and how often one ended what belonged to another execution that was running.
    actor: str = ""
    hurt: int = 0

    def __post_init__(self) -> None:
        self._heap: list[tuple[datetime, int, Process, Execution | None, bool]] = []
        self._count = self._nested = self._troubles_in_a_row = 0
        self.sagemaker = SageMaker(lambda: self.now, lambda: self.random.uniform(5, 60), self._touched)

    def spawn(self, process: Process, delay: float, execution: Execution | None = None, busy: bool = False) -> None:
        """Lets a process go on after so many seconds, if its execution still runs then."""
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

    def interleave(self, operation: str) -> None:
        """Before a call to the table: others whose turn comes within seconds may go first."""
        while (
            self._nested < 3
            and self._heap
            and self._heap[0][0] < self.now + _SIMULTANEOUS
            and self.random.random() < 0.5
        ):
            self._nested += 1
            actor, self.actor = self.actor, ""
            try:
                self.step()
            finally:
                self._nested -= 1
                self.actor = actor

    def trouble(self, operation: str) -> str | None:
        """What goes wrong with a call to the table; never more than three times in a row."""
        if self.outage("dynamodb") is not None:
            return BROKEN
        if self._troubles_in_a_row > 2 or self.random.random() >= self.troubled:
            self._troubles_in_a_row = 0
            return None
        self._troubles_in_a_row += 1
        return self.random.choice([CONFLICT, THROTTLED, BROKEN, LOST_ANSWER])

    def finish(self, execution: Execution, status: str) -> None:
        """Ends an execution. Its event starts the tear-down: mostly at once, sometimes late, twice, or never."""
        if execution.status != "RUNNING":
            return
        execution.status, execution.stop = status, self.now
        if not DEFENCES.event_rule or self.random.random() < self.lost_events:
            return
        event = {"executionArn": execution.arn, "executionName": execution.name, "status": status, "reason": "event"}
        for _ in range(self.random.choice([1, 1, 1, 2, 3])):
            late = self.random.random() < self.late_events
            delay = self.random.uniform(0, 6 * 3600) if late else self.random.uniform(0, 4)
            # EventBridge delivers what it has taken when it is back.
            over = self.down_until("EventBridge")
            self.tear_down(event, max(delay, (over - self.now).total_seconds() if over else 0.0))

    def tear_down(self, event: dict[str, str], delay: float = 0.0, name: str = "") -> None:
        """Starts a TearDown execution. Who delivers the event goes on trying while Step Functions is away."""
        if self.start_tear_down is None:
            raise RuntimeError("the world has no tear-down yet")
        self.spawn(self.start_tear_down(event, name), delay)

    def outage(self, service: str) -> Outage | None:
        """The outage of a service, by boto3's name or by ours, that there is now."""
        name = SERVICES.get(service, service)
        found = next((outage for outage in self.outages if outage.service == name and outage.at(self.now)), None)
        if found is not None:
            self.missed.add(name)
        return found

    def down_until(self, service: str) -> datetime | None:
        """When a service comes back that is away now."""
        outage = self.outage(service)
        return outage.end if outage is not None else None

    def latency(self) -> float:
        """Seconds of one call: mostly short, in a tenth of the calls up to a minute."""
        return self.random.uniform(0.1, 60 if self.random.random() < 0.1 else 4)

    def _touched(self, run: str) -> None:
        owner = self.owners.get(run, "")
        if self.actor and owner and self.actor != owner and self.executions[owner].status == "RUNNING":
            self.hurt += 1
