"""The ledger's items as they are read: one whose seal does not fit, or that `faults` rejects, is damaged and hides no other."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypedDict, get_type_hints

from common.clock import from_iso, month_of, written
from common.endpoint_lives import Life
from common.errors import LedgerDamaged
from common.ledger import keys
from common.ledger.seal import RawItem, opened
from common.pricing import prices

_BOOKED = "actual_cents_"  # and the month


class RunItem(TypedDict, total=False):
    """A run's item. Moments are ISO 8601 in UTC, `months` are joined by commas, prices are texts in order of preference.

    Other attribute names end in a month: `actual_cents_2026-11` (`cents_by_month`).
    """

    pk: str
    state: str  # reserved, then settled
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
    endpoint_seen: str  # JSON (common/endpoint_lives.py)
    training_jobs: str  # the names of those that are booked, parted by spaces
    keep_until: str
    status: str
    actual_cents: int
    training_cents: int
    endpoint_cents: int
    booked_other_cents: int  # everything beside the instances; other_cents stays what was reserved for it
    training_seconds: int
    endpoint_seconds: int
    settled_at: str
    settled_again_at: str


def _moment(text: str) -> object:
    return text.isascii() and from_iso(text)


def _seen(text: str) -> bool:
    seen = json.loads(text)
    lives = seen.get("lives", [])
    moments = [one[name] for one in (seen, *lives) for name in ("noneAt", "createdAt", "goneAt") if name in one]
    types = [type(life[name]) is kind for life in lives for name, kind in _LIFE.items() if name in life]
    return all(types) and all(map(_moment, moments)) and all({"name", "createdAt"} <= life.keys() for life in lives)


_LIFE = get_type_hints(Life)
# Patterns take ASCII digits only: \d takes those of every script.
_MONTH = r"[0-9]{4}-(0[1-9]|1[0-2])"
_MOMENT = (_moment, "2026-11-24T12:00:00+00:00")
_MOMENTS = ("reserved_at", "settled_at", "settled_again_at", "ends_by", "keep_until")
_PRICE = r"[^\s=]+=(?=[0-9.]*[1-9])[0-9]+(\.[0-9]+)?"  # above zero
_PRICES = (re.compile(f"{_PRICE}( {_PRICE})*").fullmatch, "ml.g5.2xlarge=1.515 ml.g6.2xlarge=1.222")
# How each attribute is checked, and an example of it.
_FORMS: Mapping[str, tuple[Callable[[str], object], str]] = {
    "state": (re.compile("reserved|settled").fullmatch, "`reserved` or `settled`"),
    "months": (re.compile(f"{_MONTH}(,{_MONTH})*").fullmatch, "2026-11,2026-12"),
    "execution_arn": (
        re.compile(r"arn:[^:]+:states:[^:]+:[0-9]{12}:execution:[^:]+:[^:]+").fullmatch,
        "arn:aws:states:REGION:ACCOUNT:execution:MACHINE:NAME",
    ),
    "endpoint_seen": (_seen, "{}"),
    **dict.fromkeys(_MOMENTS, _MOMENT),
    **dict.fromkeys(("training_prices", "hosting_prices"), _PRICES),
}  # fmt: skip
_NUMBERS = {"committed_cents", "starts"} | {name for name, kind in get_type_hints(RunItem).items() if kind is int}
_LARGEST = 10**9  # seconds and cents of anything that a run may reserve are far below


def is_number(name: str) -> bool:
    """Whether an attribute of this name holds a whole number."""
    return name in _NUMBERS or name.startswith(_BOOKED)


def faults(item: Mapping[str, Any]) -> list[str]:
    """What keeps the rest of the project from working with the attributes of an item."""
    wrong = []
    for name, value in item.items():
        least = int(name == "training_instances")
        if not (type(value) is int and least <= value <= _LARGEST if is_number(name) else isinstance(value, str)):
            kind = f"a whole number from {least} on" if is_number(name) else "a text"
            wrong.append(f"{name} must be {kind}, not {str(value)[:40]}")
        elif name.startswith(_BOOKED) and not re.fullmatch(_MONTH, name.removeprefix(_BOOKED)):
            wrong.append(f"{name} must end in a month such as 2026-11")
        elif name in _FORMS and not _holds(_FORMS[name][0], value):
            wrong.append(f"{name} must be written like {_FORMS[name][1]}, not {value[:40]}")
    return wrong


def contradictions(item: Mapping[str, Any]) -> list[str]:
    """What attributes of a run that are each well formed hold against each other. Moments are compared as texts, so they have one form."""
    moments = {name: written(from_iso(item[name])) for name in _MOMENTS if name in item}
    wrong = [f"{name} must be written as {text}" for name, text in moments.items() if item[name] != text]
    if item["state"] == "settled" and (added := sum(cents_by_month(item).values())) != item["actual_cents"]:
        wrong.append(f"actual_cents must be {added}, which its months add up to")
    if (begun := month_of(from_iso(item["reserved_at"]))) not in item["months"].split(","):
        wrong.append(f"months must hold {begun}, the month of reserved_at")
    return wrong


def _holds(check: Callable[[str], object], text: str) -> bool:
    try:
        return bool(check(text))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return False


@dataclass(frozen=True)
class Row:
    """One item as it was read. `item` is empty where it is damaged: then nothing that it says counts."""

    key: str
    raw: RawItem
    item: Any
    is_damaged: bool

    @classmethod
    def from_raw(cls, raw: RawItem) -> Self:
        """Reads an item as DynamoDB holds it. Never raises for what is in it."""
        item = opened(raw)
        is_damaged = item is None or bool(faults(item))
        return cls(str(raw["pk"]["S"]), raw, {} if is_damaged else item, is_damaged)

    @property
    def run(self) -> str:
        """The run that the item belongs to; empty for a month's."""
        return keys.run_in(self.key) or ""

    @property
    def is_open(self) -> bool:
        """Whether its reservation holds, as far as anyone can tell: what is not provably settled is open."""
        return self.is_damaged or self.item["state"] == "reserved"

    def cents_in(self, month: str) -> int:
        """What an undamaged run holds of a month in cents: its reservation, or what it did cost once it is settled."""
        if self.is_open:
            return int(self.item["reserved_cents"]) if month in self.item["months"].split(",") else 0
        return cents_by_month(self.item).get(month, 0)

    def sound(self) -> Any:
        """The item. Raises LedgerDamaged."""
        if self.is_damaged:
            raise LedgerDamaged(
                f"The ledger item {self.key} was changed by hand or damaged: its seal or an attribute is invalid, so it counts as the whole cap. Check it with "
                f"captune ledger, then accept it: captune ledger --accept '{self.key}', with --change NAME=VALUE for a wrong attribute"
            )
        return self.item


def cents_by_month(item: Mapping[str, Any]) -> dict[str, int]:
    """What a settled run's item has booked in each month."""
    return {name.removeprefix(_BOOKED): int(cents) for name, cents in item.items() if name.startswith(_BOOKED)}


def booked(cents: Mapping[str, int]) -> dict[str, int]:
    """The attributes that hold what is booked in each month."""
    return {f"{_BOOKED}{month}": amount for month, amount in cents.items()}


def prices_of(item: Mapping[str, Any], use: str) -> list[prices.Price]:
    """The prices of one use (`Training` or `Hosting`) that a run's item has reserved, in order of preference."""
    return prices.read(item[f"{use.lower()}_prices"], use, item["price_source"])
