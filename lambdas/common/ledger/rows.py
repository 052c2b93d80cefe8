"""The ledger's items, each read by itself: what cannot be read of one is told in words and hides no other.

A person, a script or a half-done restore can leave anything in a table. An item that cannot be read, or that says what cannot be,
counts as the dearest case everywhere: as a run that is still open, and with everything that it may have reserved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypedDict

from common.clock import from_iso, month_of
from common.ledger import keys
from common.ledger.table import Raw, RawItem
from common.pricing import prices
from common.pricing.costs import ENDPOINT_INSTANCES
from common.pricing.durations import (
    LONGEST_DEADLINE_SECONDS,
    LONGEST_ENDPOINT_SECONDS,
    LONGEST_EXECUTION_SECONDS,
    LONGEST_KEEP_SECONDS,
    LONGEST_RESERVATION_SECONDS,
)

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_EXECUTION = re.compile(r"arn:[^:]+:states:[^:]+:\d{12}:execution:[^:]+:[^:]+")
_TEXTS = {
    "state",
    "execution_arn",
    "execution_name",
    "months",
    "status",
    "price_source",
    "training_prices",
    "hosting_prices",
}
_DATES = {"reserved_at", "settled_at", "ends_by", "keep_until", "endpoint_created_at", "endpoint_gone_at"}
_REQUIRED = (
    "state",
    "execution_arn",
    "reserved_cents",
    "months",
    "reserved_at",
    "training_prices",
    "hosting_prices",
    "price_source",
    "training_instances",
    "max_training_seconds",
    "max_endpoint_seconds",
    "other_cents",
)
_REQUIRED_OF_SETTLED = ("actual_cents", "settled_at", "settlements")
_BOOKED = "actual_cents_"  # and the month
# The most that a run can have asked for, in seconds.
_LONGEST = {
    "max_training_seconds": LONGEST_EXECUTION_SECONDS,
    "max_endpoint_seconds": LONGEST_ENDPOINT_SECONDS,
    "endpoint_deadline_seconds": LONGEST_DEADLINE_SECONDS,
    "keep_endpoint_seconds": LONGEST_KEEP_SECONDS,
}
# How long after its reservation a moment of a run can be. A settlement waits for as long as a service is away.
_PLANNED, _LATEST = timedelta(seconds=LONGEST_RESERVATION_SECONDS), timedelta(days=366)
_CLOCKS_APART = timedelta(days=1)


class RunItem(TypedDict, total=False):
    """A run's item. Moments are ISO 8601 in UTC, `months` are joined by commas, prices are texts in order of preference.

    Beside these there are attributes whose names tell a month: `actual_cents_2026-11` (`cents_by_month`).
    """

    pk: str
    state: str  # reserved, and then settled
    execution_arn: str
    reserved_cents: int
    months: str
    reserved_at: str
    # From the run's plan: what TearDown and the settlement need to know, even when its execution and its files are lost.
    execution_name: str
    training_prices: str
    hosting_prices: str
    price_source: str
    training_instances: int
    max_training_seconds: int
    max_endpoint_seconds: int
    other_cents: int
    keep_endpoint_seconds: int
    endpoint_deadline_seconds: int
    ends_by: str
    # From its end.
    endpoint_created_at: str
    endpoint_gone_at: str
    endpoint_instance_type: str
    endpoint_instance_count: int
    keep_until: str
    status: str
    actual_cents: int
    training_cents: int
    endpoint_cents: int
    training_seconds: int
    endpoint_seconds: int
    settlements: int
    settled_at: str
    settled_again_at: str


@dataclass(frozen=True)
class RunRow:
    """One run's item. `item` holds what could be read, with its types; `problems` says in words what could not."""

    run: str
    item: RunItem
    problems: tuple[str, ...] = ()

    @property
    def is_damaged(self) -> bool:
        """Whether anything of it could not be read."""
        return bool(self.problems)

    @property
    def is_open(self) -> bool:
        """Whether its reservation holds, as far as anyone can tell: what is not provably settled is open."""
        return not self._is_provably_settled if self.is_damaged else self.item["state"] == "reserved"

    @property
    def _is_provably_settled(self) -> bool:
        return self.item.get("state") == "settled" and {"actual_cents", "settled_at"} <= self.item.keys()

    def cents_in(self, month: str, cap_cents: int) -> int:
        """What the run holds of a month in cents: its reservation, or what it did cost once it is settled.

        Of a damaged item the dearest case: its reservation where that can be read, else the whole cap, in each month that it may
        lie in.
        """
        actual = cents_by_month(self.item)
        if not self.is_open and (not self.is_damaged or sum(actual.values()) == self.item["actual_cents"]):
            return actual.get(month, 0)
        held = int(self.item.get("reserved_cents", cap_cents)) if self._may_lie_in(month) else 0
        return max(held, actual.get(month, 0))

    def _may_lie_in(self, month: str) -> bool:
        if "months" in self.item:
            return month in self.item["months"].split(",")
        return "reserved_at" not in self.item or month >= month_of(from_iso(self.item["reserved_at"]))


@dataclass(frozen=True)
class EndpointLifetime:
    """A run's endpoint, as the tear-downs saw it. `gone_at` is None while nobody has seen that it is gone."""

    created_at: datetime
    gone_at: datetime | None = None
    instance_type: str = ""  # empty where nobody asked
    instance_count: int = 0


def cents_by_month(item: Mapping[str, Any]) -> dict[str, int]:
    """What a settled run's item has booked in each month."""
    return {name.removeprefix(_BOOKED): int(cents) for name, cents in item.items() if name.startswith(_BOOKED)}


def endpoint_lifetime(item: Mapping[str, Any]) -> EndpointLifetime | None:
    """The endpoint that a run's item has noted."""
    created, gone = item.get("endpoint_created_at"), item.get("endpoint_gone_at")
    if not created:
        return None
    return EndpointLifetime(
        from_iso(created),
        from_iso(gone) if gone else None,
        item.get("endpoint_instance_type", ""),
        item.get("endpoint_instance_count", 0),
    )


def read_row(raw: RawItem) -> RunRow:
    """Reads a run's item as DynamoDB holds it. Never raises for what is in it."""
    item: Any = {}
    problems: list[str] = []
    for name, value in raw.items():
        found, problem = _read(name, value)
        if problem:
            problems.append(f"{name} {problem}")
        else:
            item[name] = found
    for name, problem in _impossible(item).items():
        problems.append(f"{name} {problem}")
        del item[name]
    required = _REQUIRED + (_REQUIRED_OF_SETTLED if item.get("state") == "settled" else ())
    problems += [f"{name} is missing" for name in required if name not in raw]
    return RunRow(keys.run_in(str(item.get("pk"))) or "", item, tuple(problems))


def _impossible(item: Mapping[str, Any]) -> dict[str, str]:
    """What an item says that cannot be, by the attribute."""
    wrong = {
        name: f"is {item[name]} seconds, more than the {longest} that are allowed"
        for name, longest in _LONGEST.items()
        if item.get(name, 0) > longest
    }
    if "reserved_at" in item:
        reserved_at = from_iso(item["reserved_at"])
        if "months" in item and month_of(reserved_at) > max(item["months"].split(",")):
            wrong["reserved_at"] = wrong["months"] = f"does not fit: {item['months']} were reserved at {reserved_at}"
        for name in filter(_DATES.__contains__, item):
            longest = _PLANNED if name in ("ends_by", "keep_until") else _LATEST
            if not -_CLOCKS_APART <= from_iso(item[name]) - reserved_at <= longest:
                wrong[name] = f"is {item[name]}, too far from the reservation at {reserved_at}"
    region = item["execution_arn"].split(":")[3] if "execution_arn" in item else ""
    for use in ("training", "hosting"):
        text = item.get(f"{use}_prices")
        if text is not None and not prices.can_be(text, region, use.title()):
            wrong[f"{use}_prices"] = f"is {text[:40]!r}, no prices that AWS asks"
    # A settlement replaces the small items by those that were booked.
    must_add_up = item.get("state") == "reserved" and not wrong and all(name in item for name in _REQUIRED)
    if must_add_up and (cents := parts_cents(item)) != item["reserved_cents"]:
        wrong["reserved_cents"] = f"is {item['reserved_cents']}, and what it was reserved for comes to {cents}"
    return wrong


def prices_of(item: Mapping[str, Any], use: str) -> list[prices.Price]:
    """The prices of one use (`Training` or `Hosting`) that a run's item has reserved, in order of preference."""
    return prices.read(item[f"{use.lower()}_prices"], use, item["price_source"])


def parts_cents(item: Mapping[str, Any]) -> int:
    """What an item's own prices, seconds, months and small items come to in cents, as the plan added them up (costs.worst_case)."""
    cents, rounding = int(item["other_cents"]), item["months"].count(",")
    for use, instances, seconds in (
        ("Training", item["training_instances"], item["max_training_seconds"]),
        ("Hosting", ENDPOINT_INSTANCES, item["max_endpoint_seconds"]),
    ):
        cents += prices.dearest(prices_of(item, use)).times(instances).cents(seconds) + rounding
    return cents


def whole_number(value: Raw | None) -> int | None:
    """The whole number that an attribute holds, or None."""
    try:
        number = Decimal(value["N"]) if value is not None and set(value) == {"N"} else None
    except (InvalidOperation, TypeError):
        return None
    return int(number) if number is not None and number.is_finite() and number == number.to_integral_value() else None


def _read(name: str, value: Raw) -> tuple[Any, str]:
    """What an attribute holds, or what is wrong with it."""
    kind = next(iter(value), "nothing")
    if kind not in ("N", "S"):
        return None, f"is of the type {kind}; the ledger holds whole numbers and texts"
    if kind == "N":
        number = whole_number(value)
        if number is None:
            return None, f"is {value['N']}, not a whole number"
        if _is_text(name):
            return None, f"is the number {number}, not a text"
        return (None, f"is {number}, below zero") if number < 0 else (number, "")
    text = str(value["S"])
    if name.endswith(("_cents", "_seconds", "_count")) or name.startswith(_BOOKED):
        return None, f"is the text {text[:40]!r}, not a number"
    return (None, problem) if (problem := _problem_of_text(name, text)) else (text, "")


def _is_text(name: str) -> bool:
    return name in _TEXTS or name in _DATES


def _problem_of_text(name: str, text: str) -> str:
    if name == "execution_arn" and not _EXECUTION.fullmatch(text):
        return f"is {text[:40]!r}, not the ARN of an execution"
    if name == "state" and text not in ("reserved", "settled"):
        return f"is {text[:40]!r}, neither reserved nor settled"
    if name == "months" and not all(_MONTH.fullmatch(month) for month in text.split(",")):
        return f"is {text[:40]!r}, not months such as 2026-11"
    if name in _DATES:
        try:
            from_iso(text).astimezone(UTC)
        except (ValueError, OverflowError):
            return f"is {text[:40]!r}, not a date"
    return ""
