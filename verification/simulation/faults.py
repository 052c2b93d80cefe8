"""The words for whatever goes wrong: where, when and what. `World.fault()` is the one place that asks for faults."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(kw_only=True, eq=False)
class Fault:
    """One fault, in the words of the rehearsed account's faults.

    Where: a service by our name, or an operation by boto3's. When: from `start` to `end`. What: an error by AWS's code. With `after` the
    call takes effect first; with `hang` the caller waits until it gives up.
    """

    place: str = ""
    start: datetime = datetime.min.replace(tzinfo=UTC)
    end: datetime = datetime.max.replace(tzinfo=UTC)
    error: str = ""
    after: bool = False
    hang: bool = False
    hits: int = 0

    def claims(self, now: datetime) -> bool:
        """Counts a call if the fault is for it."""
        in_force = self.start <= now < self.end
        self.hits += in_force
        return in_force


def outage(service: str, start: datetime, end: datetime, hang: bool = False) -> Fault:
    """One service does not answer for a while."""
    return Fault(place=service, start=start, end=end, error="InternalServerError", hang=hang)


def throttling(operation: str, start: datetime, end: datetime) -> Fault:
    """One operation is throttled for a while, whatever else of its service answers."""
    return Fault(place=operation, start=start, end=end, error="ThrottlingException")


# What chance does to a call to the ledger's table.
CONFLICT = Fault(error="TransactionConflict")
THROTTLED = Fault(error="ProvisionedThroughputExceededException")
BROKEN = Fault(error="InternalServerError")
LOST_ANSWER = Fault(after=True)
