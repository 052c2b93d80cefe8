"""What changes in the ledger when a run is settled, for the first time or again, and how moments are written into it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from common.clock import from_iso
from common.ledger_rows import MONTH
from common.ledger_table import Table, assignments, typed


def settlement(
    table: Table,
    item: Mapping[str, Any],
    actual: Mapping[str, int],
    details: Mapping[str, str | int],
    now: datetime,
    exact: bool,
) -> list[dict[str, Any]]:
    """The writes that settle a run whose item was read, or none where that changes nothing.

    They hold only while the item is as it was read: `settlements` counts how often it was settled. An item that an earlier
    deployment settled does not have it.
    """
    first = item["state"] == "reserved"
    booked = {m: int(item["reserved_cents"]) for m in item["months"].split(",")} if first else _actual(item)
    floor = {} if first or exact else booked
    total = {month: max(actual.get(month, 0), floor.get(month, 0)) for month in sorted({*booked, *actual})}
    deltas = {month: cents - booked.get(month, 0) for month, cents in total.items()}
    if not first and not any(deltas.values()):
        return []
    count = item.get("settlements")
    facts: dict[str, str | int] = {
        "state": "settled",
        "actual_cents": sum(total.values()),
        "settlements": 1 if first else (count or 1) + 1,
        "settled_at" if first else "settled_again_at": now.isoformat(timespec="seconds"),
        **{f"actual_cents_{month}": cents for month, cents in total.items() if month in actual or not first},
        **details,
    }
    clause, values, names = assignments(facts)
    seen: dict[str, str | int] = {":state": item["state"], **({":count": count} if count else {})}
    as_read = f"#state = :state AND {'settlements = :count' if count else 'attribute_not_exists(settlements)'}"
    closing = table.update(
        item["pk"], f"SET {clause}", as_read, {**values, **typed(seen)}, {**names, "#state": "state"}
    )
    return [*(add(table, month, delta) for month, delta in deltas.items() if first or delta), closing]


def add(table: Table, month: str, cents: int) -> dict[str, Any]:
    """The write that adds cents to what a month has committed; a negative amount gives back."""
    return table.update(
        f"{MONTH}{month}",
        "SET committed_cents = if_not_exists(committed_cents, :zero) + :delta",
        None,
        typed({":zero": 0, ":delta": cents}),
    )


def _actual(item: Mapping[str, Any]) -> dict[str, int]:
    """What a settled run's item has booked in each month."""
    prefix = "actual_cents_"
    return {name.removeprefix(prefix): int(cents) for name, cents in item.items() if name.startswith(prefix)}


def written(moment: datetime | str) -> str:
    """A moment in the one form that texts can be compared in: UTC, whole seconds, rounded down."""
    given = from_iso(moment) if isinstance(moment, str) else moment
    return given.astimezone(UTC).isoformat(timespec="seconds")
