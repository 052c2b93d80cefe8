"""What AWS billed for a run: the training job's own billable seconds, and the life of the endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Any

from common.clock import from_iso, months_between
from common.costs import month_shares
from common.names import attempt_of, belongs_to
from common.prices import Price, dearest
from common.prices import read as read_prices


@dataclass(frozen=True)
class Bill:
    """The actual cost of a run, in cents, by month and by what it was for."""

    training_seconds: int
    endpoint_seconds: int
    training_cents: int
    endpoint_cents: int
    other_cents: int
    by_month: dict[str, int]

    @property
    def cents(self) -> int:
        """All of it."""
        return self.training_cents + self.endpoint_cents + self.other_cents


class StillRunning(RuntimeError):
    """Something of the run still bills; it cannot be settled yet."""


def bill(sagemaker: Any, run: str, item: dict[str, Any], endpoint_entered_at: datetime | None, now: datetime) -> Bill:
    """Adds up a run whose resources are gone. Raises StillRunning when they are not."""
    by_month: dict[str, int] = {}
    training, hosting = _prices(item, "training"), _prices(item, "hosting")
    training_seconds = training_cents = 0
    for instance_type, seconds, start, end in _training_jobs(sagemaker, run, now):
        training_seconds += seconds
        training_cents += _spread(by_month, _price_of(training, instance_type), seconds, start, end)
    endpoint_seconds = endpoint_cents = 0
    created, gone = _endpoint_life(item, endpoint_entered_at, now)
    if created is not None and gone is not None:
        endpoint_seconds = max(0, ceil((gone - created).total_seconds()))
        endpoint_cents = _spread(by_month, _endpoint_price(hosting, item), endpoint_seconds, created, gone)
    other_cents = _add_small_items(by_month, item, now)
    return Bill(training_seconds, endpoint_seconds, training_cents, endpoint_cents, other_cents, by_month)


def _prices(item: dict[str, Any], use: str) -> list[Price]:
    """The reserved prices in order of preference. An item of an earlier deployment holds one."""
    if f"{use}_prices" in item:
        return read_prices(item[f"{use}_prices"], use.title(), item["price_source"])
    only = Price(item[f"{use}_instance_type"], use.title(), Decimal(item[f"{use}_hourly_usd"]), item["price_source"])
    return [only]


def _price_of(prices: list[Price], instance_type: str) -> Price:
    """The price of the type that was used; the dearest for one that was never reserved."""
    known = [price for price in prices if price.instance_type == instance_type]
    return known[0] if known else dearest(prices)


def _endpoint_price(prices: list[Price], item: dict[str, Any]) -> Price:
    """The price of the endpoint that a tear-down saw: its attempt tells its type. One that nobody saw counts as the dearest."""
    if "endpoint_name" not in item:
        return dearest(prices)
    return prices[(attempt_of(item["endpoint_name"]) - 1) % len(prices)]


def _training_jobs(sagemaker: Any, run: str, now: datetime) -> list[tuple[str, int, datetime, datetime]]:
    pages = sagemaker.get_paginator("list_training_jobs").paginate(NameContains=run)
    jobs = []
    for name in (job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]):
        if not belongs_to(name, run):
            continue
        job = sagemaker.describe_training_job(TrainingJobName=name)
        if job["TrainingJobStatus"] in {"InProgress", "Stopping"}:
            raise StillRunning(f"Training job {name} is {job['TrainingJobStatus']}; its seconds are not final.")
        start = job.get("TrainingStartTime", job["CreationTime"])
        end = job.get("TrainingEndTime", now)
        elapsed = ceil((end - start).total_seconds()) if "TrainingStartTime" in job else 0
        seconds = job.get("BillableTimeInSeconds", job.get("TrainingTimeInSeconds", elapsed))
        resources = job["ResourceConfig"]
        jobs.append(
            (resources.get("InstanceType", ""), int(seconds) * int(resources.get("InstanceCount", 1)), start, end)
        )
    return jobs


def _endpoint_life(
    item: dict[str, Any], entered_at: datetime | None, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """When the endpoint came and went, at most.

    The ledger holds whole seconds, so the second in which it was seen to be gone counts. One that was requested and that no
    tear-down saw (refused, or deleted by hand) is counted until now, but not for longer than was reserved.
    """
    if "endpoint_created_at" in item:
        gone = item.get("endpoint_gone_at")
        return from_iso(item["endpoint_created_at"]), from_iso(gone) + timedelta(seconds=1) if gone else now
    if entered_at is None:
        return None, None
    return entered_at, min(now, entered_at + timedelta(seconds=int(item["max_endpoint_seconds"])))


def _add_small_items(by_month: dict[str, int], item: dict[str, Any], now: datetime) -> int:
    """Adds the reserved small items to every month that the run lived in, and returns their sum: none of them has a date."""
    reserved = item["months"].split(",")
    each = int(item.get("other_cents", 0)) // len(reserved)
    lived = [month for month in reserved if month in months_between(from_iso(item["reserved_at"]), now)] or reserved[:1]
    for month in lived:
        by_month[month] = by_month.get(month, 0) + each
    return each * len(lived)


def _spread(by_month: dict[str, int], price: Price, seconds: int, start: datetime, end: datetime) -> int:
    """Adds a cost to the months it was billed in, by the time spent in each and rounded up in each, and returns it."""
    shares = {month: price.cents(seconds * part) for month, part in month_shares(start, end).items()}
    for month, share in shares.items():
        by_month[month] = by_month.get(month, 0) + share
    return sum(shares.values())
