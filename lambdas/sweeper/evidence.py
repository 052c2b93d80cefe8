"""What there is of this project at one moment: at SageMaker, in the ledger, and running. Each is read by itself.

A service that does not answer leaves None: None means unknown, an empty list means none.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from common.clock import from_iso
from common.endpoint_lives import has_unbooked
from common.ledger.ledger import Ledger
from common.ledger.rows import Row
from common.logs import log, metric
from common.names import PREFIX, run_name, run_of
from common.resources import (
    ENDPOINT,
    ENDPOINT_CONFIGURATION,
    MODEL,
    TRAINING_JOB,
    Kind,
    Resource,
    Tags,
    find_present,
    named,
)

T = TypeVar("T")
_KINDS = (TRAINING_JOB, ENDPOINT, ENDPOINT_CONFIGURATION, MODEL)


@dataclass(frozen=True)
class Evidence:
    """Everything of this project at one moment. `running` maps a run to its execution's ARN. `endpoints` are all that are called like the
    project's; `resources` leave out what has another's tags where no run is known that made it."""

    resources: dict[str, list[Resource]]
    endpoints: list[Resource] | None
    rows: dict[str, Row] | None
    running: dict[str, str] | None
    damaged: list[str] = field(default_factory=list)  # keys of the ledger's items
    # Settled runs that have a job which has ended, or an endpoint, that their settlement did not know.
    unbooked: set[str] = field(default_factory=set)
    problems: list[Exception] = field(default_factory=list)

    def endpoint_since(self, run: str) -> datetime | None:
        """When the first of a run's endpoints was created, or None without one."""
        return min((r.created for r in self.resources.get(run, []) if r.kind is ENDPOINT), default=None)

    def since(self, run: str) -> datetime | None:
        """When the first of a run's resources was created, or None without any."""
        return min((resource.created for resource in self.resources.get(run, [])), default=None)

    def open_rows(self) -> Iterable[Row]:
        """The reservations that hold, as far as the ledger told."""
        return (row for row in (self.rows or {}).values() if row.is_open)

    def write_metrics(self, now: datetime) -> None:
        """Publishes what stacks/watching/alarms.py looks at: the age in seconds of the oldest endpoint and of the oldest open
        reservation, and how many items are damaged; 0 for none, so that an alarm ends.

        What is not known is not written: an alarm must not take a gap for good news. A damaged item has no age.
        """
        values: dict[str, int] = {}
        if self.endpoints is not None:
            values["OldestEndpointSeconds"] = _oldest((one.created for one in self.endpoints), now)
        if self.rows is not None:
            reserved = (row.item["reserved_at"] for row in self.open_rows() if not row.is_damaged)
            values["OldestReservationSeconds"] = _oldest(map(from_iso, reserved), now)
            values["DamagedLedgerItems"] = len(self.damaged)
            for key in self.damaged:
                log("damaged ledger item", key=key)
        if values:
            metric(**values)


def collect(sagemaker: Any, step_functions: Any, ledger: Ledger, fine_tuning_arn: str, now: datetime) -> Evidence:
    """Looks at everything once. Whatever raises leaves a gap, and its error among the problems."""
    problems: list[Exception] = []

    def look(step: Callable[[], T]) -> T | None:
        try:
            return step()
        except Exception as error:
            problems.append(error)
            return None

    # In this order: a run that begins in between has its reservation before it has a resource.
    found = {kind: look(partial(_named, sagemaker, kind, now)) for kind in _KINDS}
    items = look(lambda: ledger.items())
    rows = None if items is None else {row.run: row for row in items if row.run}
    running = look(lambda: {run_name(name): arn for name, arn in executions(step_functions, fine_tuning_arn).items()})
    tags = Tags(sagemaker)
    resources: dict[str, list[Resource]] = {}
    unbooked: set[str] = set()

    def place(resource: Resource) -> None:
        run = run_of(resource.name)
        row = (rows or {}).get(run)
        if resource.kind is TRAINING_JOB and resource.status not in {"InProgress", "Stopping"}:
            if _is_unbooked(resource, row):
                unbooked.add(run)
        elif not tags.why_foreign(resource) or _came_later(resource, row):
            resources.setdefault(run, []).append(resource)

    for resource in (resource for some in found.values() for resource in some or []):
        look(partial(place, resource))
    settled = [row for row in (rows or {}).values() if not row.is_open]
    unbooked |= {row.run for row in settled if look(partial(has_unbooked, row.item))}
    damaged = [row.key for row in items or [] if row.is_damaged]
    return Evidence(resources, found[ENDPOINT], rows, running, damaged, unbooked, problems)


def _oldest(since: Iterable[datetime], now: datetime) -> int:
    return max((int((now - moment).total_seconds()) for moment in since), default=0)


def _came_later(resource: Resource, row: Row | None) -> bool:
    """Whether a resource with the name of a run came into being after that was reserved: then it is its own, whatever its tags."""
    return row is not None and (row.is_damaged or from_iso(row.item["reserved_at"]) <= resource.created)


def _is_unbooked(job: Resource, row: Row | None) -> bool:
    """Whether a job that has ended came after the settlement of its run: a call can arrive late, and its job end before anyone looks."""
    return row is not None and not row.is_open and job.name not in row.item.get("training_jobs", "").split()


def _named(sagemaker: Any, kind: Kind, now: datetime) -> list[Resource]:
    """The resources of a kind that are called like the project's; of training jobs those too that have ended."""
    return named(find_present(sagemaker, kind, f"{PREFIX}-", now))


def executions(step_functions: Any, machine: str) -> dict[str, str]:
    """The executions of a state machine that go on: their ARNs by their names."""
    pages = step_functions.get_paginator("list_executions").paginate(stateMachineArn=machine, statusFilter="RUNNING")
    arns = [execution["executionArn"] for page in pages for execution in page["executions"]]
    return {arn.rpartition(":")[2]: arn for arn in arns}
