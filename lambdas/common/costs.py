"""What a run can cost at most, and what it did cost, in integer cents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction

from common.clock import month_of, next_month_start
from common.prices import Price

# Everything beside the two instances, us-east-1 list prices of 2026: what it is, how much of it a run uses, US dollars a unit.
SMALL_ITEMS: tuple[tuple[str, Decimal, Decimal], ...] = (
    ("S3 storage, GB-months of adapter, checkpoints and reports", Decimal(1), Decimal("0.023")),
    ("S3 and DynamoDB requests, thousands", Decimal(2), Decimal("0.006")),
    ("Lambda, GB-seconds", Decimal(900), Decimal("0.0000133334")),
    ("Step Functions, state transitions", Decimal(1000), Decimal("0.000025")),
    ("CloudWatch Logs, GB", Decimal("0.1"), Decimal("0.50")),
    ("X-Ray traces, thousands", Decimal(1), Decimal("0.005")),
)


def small_items_cents() -> int:
    """Storage, requests, Lambda, Step Functions and logs of one run, rounded up to a cent."""
    dollars = sum((amount * unit for _, amount, unit in SMALL_ITEMS), Decimal(0))
    return int((dollars * 100).to_integral_value(ROUND_CEILING))


@dataclass(frozen=True)
class WorstCase:
    """The most that a run can cost."""

    training_seconds: int
    endpoint_seconds: int
    training_cents: int
    endpoint_cents: int
    other_cents: int

    @property
    def cents(self) -> int:
        """All of it."""
        return self.training_cents + self.endpoint_cents + self.other_cents


def worst_case(
    training: Price, hosting: Price, training_seconds: int, endpoint_seconds: int, months: int = 1
) -> WorstCase:
    """The cost of a run whose training and endpoint both last as long as they are allowed to.

    A run that may lie in several calendar months is rounded up in each, and has the small items in each.
    """
    return WorstCase(
        training_seconds,
        endpoint_seconds,
        training.cents(training_seconds) + months - 1,
        hosting.cents(endpoint_seconds) + months - 1,
        small_items_cents() * months,
    )


def month_shares(start: datetime, end: datetime) -> dict[str, Fraction]:
    """Which part of an interval lies in each calendar month; exact, and 1 in all. A moment lies in its own month."""
    parts: dict[str, timedelta] = {}
    cursor = start
    while cursor < end:
        stop = min(end, next_month_start(cursor))
        parts[month_of(cursor)] = stop - cursor
        cursor = stop
    microsecond = timedelta(microseconds=1)
    return {month: Fraction(part // microsecond, (end - start) // microsecond) for month, part in parts.items()} or {
        month_of(start): Fraction(1)
    }
