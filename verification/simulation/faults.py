"""The words for whatever goes wrong: where, when and what. Outages, random months and the table of failures all plant faults of this kind.

`World.fault()` is the one place that asks for them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rehearsal.step_functions.executions import Execution

EVENT = "event"  # the event of a run's end, as a place
_ALWAYS = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def calls_of(function: str) -> str:
    """The place of the calls that a function makes."""
    return f"calls of {function}"


@dataclass(kw_only=True, eq=False)
class Fault:
    """One fault. The words that the rehearsed account knows too mean the same there: `error`, `answer`, `times`, `after`, `hang`.

    Where: a service by our name, an operation by boto3's, a state, the calls of a function, or EVENT.
    When: from `start` to `end`, as often as `times` says (None for always) and while `when()` holds. A fault of a state ends with the
    execution that met it first.
    What: an error by AWS's code, or an answer. With `after` the call takes effect first; with `hang` the caller waits until it gives up.
    """

    place: str = ""
    start: datetime = _ALWAYS[0]
    end: datetime = _ALWAYS[1]
    times: int | None = 1
    when: Callable[[], bool] = lambda: True
    error: str = ""
    answer: Any = None
    after: bool = False
    hang: bool = False
    # Of a state: whether it meets the calls that the state's function makes; how long its call waits before it goes well (seconds).
    within: bool = False
    delay: float = 0.0
    # The status with which the execution ends in the middle of the call, which arrives so many seconds later, or after a call of a state.
    ends: str = ""
    arrives: float | str = 0.0
    deliveries: int = 1  # of the event
    # What becomes of a state's call: its answer, or the steps to it.
    act: Callable[["Fault", Any], Any] | None = None
    hits: int = 0
    first: Execution | None = None

    def claims(self, now: datetime, execution: Execution | None) -> bool:
        """Counts a call if the fault is for it."""
        met_by = self.first or execution
        over = met_by is not execution and met_by is not None and met_by.status != "RUNNING"
        if over or self.hits == self.times or not self.start <= now < self.end or not self.when():
            return False
        self.first = met_by
        self.hits += 1
        return True


def outage(service: str, start: datetime, end: datetime, hang: bool = False) -> Fault:
    """One service does not answer for a while."""
    return Fault(place=service, start=start, end=end, times=None, error="InternalServerError", hang=hang)


def throttling(operation: str, start: datetime, end: datetime) -> Fault:
    """One operation is throttled for a while, whatever else of its service answers."""
    return Fault(place=operation, start=start, end=end, times=None, error="ThrottlingException")


# What chance does to a call to the ledger's table.
CONFLICT = Fault(error="TransactionConflict")
THROTTLED = Fault(error="ProvisionedThroughputExceededException")
BROKEN = Fault(error="InternalServerError")
LOST_ANSWER = Fault(after=True)
