"""The ledger's items as they are read: one whose seal does not fit is damaged, whatever it says, and hides no other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypedDict

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
        return cls(str(raw["pk"]["S"]), raw, item or {}, item is None)

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
                f"The ledger's item {self.key} was not written by the ledger, or was changed since: its seal does not fit. Until a person has "
                f"looked at it, it counts as the whole cap. captune ledger shows it, and captune ledger --accept '{self.key}' takes it as it is."
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
