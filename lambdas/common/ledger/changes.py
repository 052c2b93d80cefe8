"""What changes in the ledger: a month that commits more, a run that is settled for the first time or again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from common.clock import from_iso
from common.ledger import keys
from common.ledger.rows import RunItem, RunRow, cents_by_month, whole_number
from common.ledger.table import Raw, Table, assignments, typed


@dataclass(frozen=True)
class Month:
    """A month as it was read: its own item, and what its runs add up to. Cents.

    `by_runs` is what the readable runs hold. `at_most` counts the damaged ones too, as the dearest case; no reservation may go by
    less, but it is not written down: what is written stays, and a damaged item may yet be mended.
    """

    name: str
    as_read: Raw | None
    by_item: int
    by_runs: int
    at_most: int
    damaged: tuple[str, ...]

    @classmethod
    def of(cls, name: str, as_read: Raw | None, rows: Sequence[RunRow], cap_cents: int) -> Month:
        """Adds the runs up."""
        held = [(row, row.cents_in(name, cap_cents)) for row in rows]
        return cls(
            name,
            as_read,
            whole_number(as_read) or 0,
            sum(cents for row, cents in held if not row.is_damaged),
            sum(cents for _, cents in held),
            tuple(row.run for row, cents in held if row.is_damaged and cents),
        )

    @property
    def committed_cents(self) -> int:
        """What counts as committed: the item's word or the runs', whichever is more."""
        return max(self.by_item, self.at_most)

    def commit(self, table: Table, cents: int) -> dict[str, Any]:
        """The write that commits more, and repairs an item that says less than its runs. It holds while the month is as read."""
        values: dict[str, Raw] = {":new": {"N": str(max(self.by_item, self.by_runs) + cents)}}
        if self.as_read is not None:
            values[":as_read"] = self.as_read
        condition = "attribute_not_exists(committed_cents)" if self.as_read is None else "committed_cents = :as_read"
        return table.update(keys.of_month(self.name), "SET committed_cents = :new", condition, values)


def settlement(
    table: Table,
    item: RunItem,
    actual: Mapping[str, int],
    details: Mapping[str, str | int],
    now: datetime,
    exact: bool,
) -> list[dict[str, Any]]:
    """The writes that settle a run whose item was read, or none where that changes nothing.

    They hold only while the item is as it was read: `settlements` counts how often it was settled.
    """
    first = item["state"] == "reserved"
    booked = {m: int(item["reserved_cents"]) for m in item["months"].split(",")} if first else cents_by_month(item)
    floor = {} if first or exact else booked
    total = {month: max(actual.get(month, 0), floor.get(month, 0)) for month in sorted({*booked, *actual})}
    deltas = {month: cents - booked.get(month, 0) for month, cents in total.items()}
    if not first and not any(deltas.values()):
        return []
    facts: dict[str, str | int] = {
        "state": "settled",
        "actual_cents": sum(total.values()),
        "settlements": 1 if first else item["settlements"] + 1,
        "settled_at" if first else "settled_again_at": now.isoformat(timespec="seconds"),
        **{f"actual_cents_{month}": cents for month, cents in total.items() if month in actual or not first},
        **details,
    }
    clause, values, names = assignments(facts)
    seen: dict[str, str | int] = {":state": item["state"], **({} if first else {":count": item["settlements"]})}
    as_read = f"#state = :state AND {'attribute_not_exists(settlements)' if first else 'settlements = :count'}"
    closing = table.update(
        item["pk"], f"SET {clause}", as_read, {**values, **typed(seen)}, {**names, "#state": "state"}
    )
    return [*(add(table, month, delta) for month, delta in deltas.items() if first or delta), closing]


def add(table: Table, month: str, cents: int) -> dict[str, Any]:
    """The write that adds cents to what a month has committed; a negative amount gives back."""
    return table.update(
        keys.of_month(month),
        "SET committed_cents = if_not_exists(committed_cents, :zero) + :delta",
        None,
        typed({":zero": 0, ":delta": cents}),
    )


def written(moment: datetime | str) -> str:
    """A moment in the one form that texts can be compared in: UTC, whole seconds, rounded down."""
    given = from_iso(moment) if isinstance(moment, str) else moment
    return given.astimezone(UTC).isoformat(timespec="seconds")
