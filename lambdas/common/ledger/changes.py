"""What changes in the ledger: a month that commits more, a run that is settled for the first time or again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from common.clock import from_iso, month_of
from common.errors import ExtensionRefused
from common.ledger import keys
from common.ledger.rows import RunItem, RunRow, cents_by_month, prices_of, whole_number
from common.ledger.table import Raw, Table, assignments, typed
from common.pricing.costs import asking_cents
from common.pricing.durations import LONGEST_KEEP_SECONDS, LONGEST_RESERVATION_SECONDS, TEAR_DOWN_ALLOWANCE_SECONDS
from common.pricing.prices import dearest


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


def extension(item: RunItem, seconds: int, now: datetime) -> RunItem:
    """What changes in a run's item where its kept endpoint stays for longer: its end, its seconds, and what they may cost more.

    Raises ExtensionRefused for an endpoint that is not kept now, and beyond the longest that one is kept or the months that were reserved.
    """
    run = keys.run_in(item["pk"])
    until = from_iso(item["keep_until"]) if item["state"] == "reserved" and "keep_until" in item else None
    if until is None or until <= now:
        raise ExtensionRefused(
            f"{run} keeps no endpoint now: it is {'over' if until or item['state'] == 'settled' else 'not in service yet, or was not to be kept'}. "
            "captune ledger shows how it stands."
        )
    later, kept = until + timedelta(seconds=seconds), item["keep_endpoint_seconds"] + seconds
    months = item["months"].split(",")
    ends = from_iso(item["reserved_at"]) + timedelta(seconds=LONGEST_RESERVATION_SECONDS)
    if kept > LONGEST_KEEP_SECONDS or later > ends:
        raise ExtensionRefused(
            f"The endpoint of {run} may be kept for {LONGEST_KEEP_SECONDS // 60} minutes at most, extensions included, and is kept for "
            f"{item['keep_endpoint_seconds'] // 60}."
        )
    if month_of(later + timedelta(seconds=TEAR_DOWN_ALLOWANCE_SECONDS)) not in months:
        raise ExtensionRefused(
            f"{run} has reserved money of {' and '.join(months)} alone, and would be removed in the next month."
        )
    before = item["max_endpoint_seconds"]
    hosting = dearest(prices_of(item, "Hosting"))
    other = (asking_cents(before + seconds) - asking_cents(before)) * len(months)
    return {
        "reserved_cents": item["reserved_cents"] + hosting.cents(before + seconds) - hosting.cents(before) + other,
        "other_cents": item["other_cents"] + other,
        "keep_endpoint_seconds": kept,
        "max_endpoint_seconds": before + seconds,
        "keep_until": written(later),
    }


def extend(table: Table, item: RunItem, longer: RunItem) -> dict[str, Any]:
    """The write that extends a run. It holds only while the run is reserved and kept as it was read."""
    facts: dict[str, Any] = dict(longer)
    clause, values, names = assignments(facts)
    seen = {":state": "reserved", ":reserved": item["reserved_cents"], ":until": item["keep_until"]}
    as_read = "#state = :state AND reserved_cents = :reserved AND keep_until = :until"
    return table.update(item["pk"], f"SET {clause}", as_read, {**values, **typed(seen)}, {**names, "#state": "state"})


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
