"""What AWS billed for a run: the instances that really ran, by their type and number, for as long as they ran.

An hour costs the reserved price where the type was reserved, the dearest that is known where it was not. An endpoint leaves no trace at
SageMaker once it is gone: how long it was there is known from the ledger's notes and the passes of this tear-down.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Self

from common.aws import or_none
from common.clock import from_iso, months_between, written
from common.endpoint_lives import Life, Seen, attribute, of_item, together
from common.errors import PriceUnknown
from common.ledger.ledger import dollars
from common.ledger.rows import RunItem, prices_of
from common.names import belongs_to
from common.pricing.costs import ENDPOINT_INSTANCES, RunCost, asking_cents, month_shares
from common.pricing.prices import Price, dearest, dearest_pinned, pinned
from common.resources import TRAINING_JOB, find_all

CLOCKS_APART = timedelta(days=1)  # far more than a Lambda's clock and SageMaker's can differ
# Moments are written in whole seconds, so the second in which something was seen to be gone counts.
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Tariff:
    """The prices of one use (`Training` or `Hosting`) that a run has reserved, in order of preference, and its region.

    Each is that of one instance, and `instances` of them are reserved.
    """

    use: str
    reserved: tuple[Price, ...]
    region: str
    instances: int

    @classmethod
    def from_item(cls, item: Mapping[str, Any], use: str) -> Self:
        """The tariff of a run's ledger item."""
        instances = int(item["training_instances"]) if use == "Training" else ENDPOINT_INSTANCES
        return cls(use, tuple(prices_of(item, use)), item["execution_arn"].split(":")[3], instances)

    def of_type(self, instance_type: str) -> Price:
        """The price of a type. One that was never reserved costs what the pinned table says; one that nobody knows, the dearest."""
        for price in self.reserved:
            if price.instance_type == instance_type:
                return price
        if not instance_type:
            return dearest(self.reserved)
        try:
            return pinned(self.region, instance_type, self.use)
        except PriceUnknown:
            return dearest([*self.reserved, dearest_pinned(self.use)])

    def was_reserved(self, instance_type: str, count: int) -> bool:
        """Whether a run has set money aside for this. Unknown types count as reserved."""
        known = {"", *(price.instance_type for price in self.reserved)}
        return instance_type in known and count <= self.instances


@dataclass(frozen=True)
class Bill(RunCost):
    """What a run did cost, also by month.

    `known` is what the ledger keeps of what was booked, so that it is booked once: endpoints by their lives, jobs by their names.
    `unreserved` says of each job and endpoint that ran on more or on another type than the run had reserved what it was. It is
    `complete` unless SageMaker has forgotten a job that was booked.
    """

    by_month: dict[str, int]
    known: dict[str, str]
    unreserved: tuple[str, ...] = ()
    complete: bool = True


@dataclass(frozen=True)
class Use:
    """Instances of one type ("": unknown) that ran so long; `billed_seconds` of each, None for all of the time."""

    start: datetime
    end: datetime
    instance_type: str = ""
    count: int = 1
    billed_seconds: int | None = None

    @property
    def seconds(self) -> int:
        """What each of them billed."""
        all_of_it = max(0, ceil((self.end - self.start).total_seconds()))
        return all_of_it if self.billed_seconds is None else self.billed_seconds


@dataclass
class _Sum:
    """The seconds and cents of one use, and what of it was not reserved."""

    tariff: Tariff
    by_month: dict[str, int]
    seconds: int = 0
    cents: int = 0
    unreserved: list[str] = field(default_factory=list)

    def add(self, what: str, used: Use) -> None:
        """Adds instances that ran to the months that they were billed in, rounded up in each."""
        seconds, price = used.seconds * used.count, self.tariff.of_type(used.instance_type)
        shares = {month: price.cents(seconds * part) for month, part in month_shares(used.start, used.end).items()}
        for month, share in shares.items():
            self.by_month[month] = self.by_month.get(month, 0) + share
        self.seconds += seconds
        self.cents += sum(shares.values())
        if seconds and not self.tariff.was_reserved(used.instance_type, used.count):
            count = "one" if self.tariff.instances == 1 else self.tariff.instances
            reserved = " or ".join(one.instance_type for one in self.tariff.reserved)
            self.unreserved.append(
                f"{what} ran on {used.count} x {used.instance_type or price.instance_type}; reserved was {count} of {reserved}: "
                f"{dollars(sum(shares.values()))} at ${price.hourly_usd.normalize():f} an hour ({price.source})."
            )


class StillRunning(RuntimeError):
    """Something of the run still bills, or the execution itself goes on; it cannot be settled yet."""


def bill(
    sagemaker: Any, run: str, item: RunItem, entered_at: Mapping[str, datetime], now: datetime, seen: Seen | None = None
) -> Bill:
    """Adds up a run whose resources are gone: its ledger item, when its execution first entered each state, and what its tear-down saw.

    A run that was settled before comes to the same again, to more only where something came later, and to less only where somebody
    knows better by now when an endpoint went. Raises StillRunning for one that still bills.
    """
    by_month: dict[str, int] = {}
    until = from_iso(item["settled_at"]) if item["state"] == "settled" else now
    training = _Sum(Tariff.from_item(item, "Training"), by_month)
    jobs = list(_training_jobs(sagemaker, run, from_iso(item["reserved_at"]), until))
    found, booked = {name for name, _ in jobs}, {*item.get("training_jobs", "").split()}
    for name, used in jobs:
        training.add(f"Training job {name}", used)
    if not jobs and (start := entered_at.get("WaitForTraining")):
        booked.add(run)  # under the name that it had
        # A person has deleted it, and nobody can tell any more what it billed: it counts as it was booked, or else as it was reserved.
        count = training.tariff.instances
        seconds = item.get("training_seconds", item["max_training_seconds"] * count) / count
        unknown = Use(start, start + timedelta(seconds=seconds), count=count)
        training.add("A deleted training job", unknown)
    hosting = _Sum(Tariff.from_item(item, "Hosting"), by_month)
    all_seen = together(of_item(item), seen or {})
    for used in endpoint_uses(all_seen, entered_at.get("CreateEndpoint"), until, now, entered_at.get("AskBothModels")):
        hosting.add("The endpoint", used)
    return Bill(
        training.seconds,
        hosting.seconds,
        training.cents,
        hosting.cents,
        _add_small_items(by_month, item, until, hosting.seconds),
        by_month,
        {
            "training_jobs": " ".join(sorted(booked | found)),
            **attribute(_closed(all_seen, until, now)),
        },
        (*training.unreserved, *hosting.unreserved),
        complete=not booked - found,
    )


def _training_jobs(sagemaker: Any, run: str, reserved_at: datetime, until: datetime) -> Iterator[tuple[str, Use]]:
    """Every training job of the run with what SageMaker says that it billed: there is one, unless somebody made another.

    BillableTimeInSeconds is wall-clock time, to be multiplied by the instances (botocore, DescribeTrainingJob). Where it is
    missing the job's own time counts, and where that is missing too the time from its start to its end.

    Nothing tells when a spot job waited. It is booked as if it had billed at its end: as much as can be in the later month, which may
    take reservations still, where the earlier one takes none.
    """
    for one in find_all(sagemaker, TRAINING_JOB, run, created_after=reserved_at - CLOCKS_APART):
        name = one.name
        if not belongs_to(name, run):
            continue
        job = or_none(sagemaker.describe_training_job, TrainingJobName=name)
        if job is None:
            continue  # deleted since it was listed
        if job["TrainingJobStatus"] in {"InProgress", "Stopping"}:
            raise StillRunning(
                f"Training job {name} is {job['TrainingJobStatus']} and still bills. TearDown tries again."
            )
        start = job.get("TrainingStartTime", job["CreationTime"])
        end = max(start, job.get("TrainingEndTime", until))
        elapsed = ceil((end - start).total_seconds()) if "TrainingStartTime" in job else 0
        seconds = int(job.get("BillableTimeInSeconds", job.get("TrainingTimeInSeconds", elapsed)))
        if job.get("EnableManagedSpotTraining"):
            start = max(start, end - timedelta(seconds=seconds))
        resources = job["ResourceConfig"]
        # Of a list, SageMaker says which type it has selected.
        kind = resources.get("SelectedInstanceType") or resources.get("InstanceType", "")
        # A missing count is 1.
        count = int(resources.get("SelectedInstanceCount") or resources.get("InstanceCount") or 1)
        yield name, Use(start, end, kind, count, seconds)


def _add_small_items(by_month: dict[str, int], item: RunItem, until: datetime, endpoint_seconds: int) -> int:
    """Adds the reserved small items to every month that the run lived in, and returns their sum: none of them has a date.

    An endpoint that was there for longer than was reserved may have been asked for as long.
    """
    reserved = item["months"].split(",")
    longer = asking_cents(endpoint_seconds) - asking_cents(item["max_endpoint_seconds"])
    each = item["other_cents"] // len(reserved) + max(0, longer)
    months = months_between(from_iso(item["reserved_at"]), until)
    lived = [month for month in reserved if month in months] or reserved[:1]
    for month in lived:
        by_month[month] = by_month.get(month, 0) + each
    return each * len(lived)


def endpoint_uses(
    seen: Seen, requested_at: datetime | None, until: datetime, now: datetime, served_at: datetime | None = None
) -> list[Use]:
    """Every endpoint that a run had, from what was seen of them.

    `requested_at` is when the run first asked for one, `served_at` when one was ready, `until` when it was first settled. One that no
    tear-down saw (refused, or deleted by hand) is counted from its request until a look found none, or the next one had its name, or
    else until then: nobody knows when it went. What was created after such a look, after one was ready, or after the settlement, is another.
    """
    found = [_use(life, until, now) for life in seen.get("lives", [])]
    if requested_at is None:
        return found
    latest = _open_end(requested_at, until, now)
    end = min([latest, *(there.start for there in found)])
    none_at = from_iso(seen["noneAt"]) if "noneAt" in seen else None
    if none_at and requested_at <= none_at <= end:
        end = min(end, none_at + _SECOND)
    elif found and end < latest and not (served_at and served_at < end):
        return found
    return [Use(requested_at, end), *found]


def _use(life: Life, until: datetime, now: datetime) -> Use:
    start = from_iso(life["createdAt"])
    end = from_iso(life["goneAt"]) + _SECOND if "goneAt" in life else _open_end(start, until, now)
    return Use(start, end, life.get("instanceType", ""), life.get("instanceCount") or 1)


def _closed(seen: Seen, until: datetime, now: datetime) -> Seen:
    """What was seen, with an end to each life: nothing of a settled run is still there."""
    lives: list[Life] = [
        {**life, "goneAt": written(_use(life, until, now).end - _SECOND)} for life in seen.get("lives", [])
    ]
    return {**seen, "lives": lives} if lives else seen


def _open_end(start: datetime, until: datetime, now: datetime) -> datetime:
    """The end of what nobody saw end: when the run was first settled, so that a second settlement comes to the same."""
    return until if start <= until else now
