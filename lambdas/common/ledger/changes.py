"""What changes in the ledger: one change of items that were read, a month that commits more, a run that is settled or kept longer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from common.clock import from_iso, month_of, written
from common.endpoint_lives import has_unbooked
from common.errors import ExtensionRefused
from common.ledger import keys
from common.ledger.rows import Row, RunItem, booked, cents_by_month, prices_of
from common.ledger.seal import Item
from common.ledger.table import Table
from common.pricing.costs import asking_cents
from common.pricing.durations import LONGEST_KEEP_SECONDS, LONGEST_RESERVATION_SECONDS, TEAR_DOWN_ALLOWANCE_SECONDS
from common.pricing.prices import dearest


class Change:
    """The items that one change has read, and what it puts in their places. All of it holds, or nothing of it is written."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._read: dict[str, Row | None] = {}
        self._put: dict[str, Item] = {}

    def row(self, key: str) -> Row | None:
        """An item as it was read first, or None."""
        if key not in self._read:
            raw = self._table.read(key)
            self._read[key] = None if raw is None else Row.from_raw(raw)
        return self._read[key]

    def item(self, key: str) -> Any:
        """An item, or None. Raises LedgerDamaged."""
        row = self.row(key)
        return None if row is None else row.sound()

    def put(self, item: Mapping[str, Any]) -> None:
        """Puts an item in the place of the one that was read. One that is as it was read is not written."""
        before = self.row(item["pk"])
        if before is None or before.item != item:
            self._put[item["pk"]] = dict(item)

    def add(self, month: str, cents: int) -> None:
        """Adds cents to what a month has committed; a negative amount gives back. Raises LedgerDamaged.

        A month to which nothing is added is written too: so a settlement is refused, and made again, where its month has changed since it was read.
        """
        key = keys.of_month(month)
        before = self.item(key) or {}
        self._put[key] = {"pk": key, "committed_cents": max(0, before.get("committed_cents", 0) + cents)}

    def write(self) -> bool:
        """Writes what was put; answers whether everything was still as it was read."""
        as_read = {key: row.raw if row else None for key, row in self._read.items()}
        return not self._put or self._table.replace((item, as_read[key]) for key, item in self._put.items())


@dataclass(frozen=True)
class Month:
    """A month as it was read: its own item, and what its runs add up to. Cents.

    `by_runs` is what the undamaged runs hold. `at_most` counts each damaged one as the whole cap; no reservation may go by less, but it
    is not written down: a damaged item may yet be put right. `by_item` is None where the month has no item.
    """

    name: str
    by_item: int | None
    by_runs: int
    at_most: int
    damaged: tuple[str, ...]

    @classmethod
    def added_up(cls, name: str, row: Row | None, rows: Sequence[Row], cap_cents: int) -> Self:
        """Adds the runs up."""
        damaged = [one for one in (row, *rows) if one is not None and one.is_damaged]
        by_runs = sum(one.cents_in(name) for one in rows if not one.is_damaged)
        return cls(
            name,
            None if row is None else row.item.get("committed_cents", cap_cents),
            by_runs,
            by_runs + cap_cents * sum(one.is_damaged for one in rows),
            tuple(one.run or one.key for one in damaged),
        )

    @property
    def committed_cents(self) -> int:
        """What counts as committed: the item's word or the runs', whichever is more."""
        return max(self.by_item or 0, self.at_most)

    def commit(self, change: Change, cents: int) -> None:
        """Commits more, and repairs an item that says less than its runs. Raises LedgerDamaged."""
        change.add(self.name, max(0, self.by_runs - (self.by_item or 0)) + cents)


@dataclass(frozen=True)
class Booking:
    """What a run did cost: cents by month, and what else its item keeps of that.

    One that is `complete` is made from all that ever was known of the run, so it takes the place of an earlier one even where it comes to less.
    """

    by_month: Mapping[str, int]
    details: Mapping[str, str | int] = field(default_factory=dict)
    complete: bool = True


def settlement(item: RunItem, booking: Booking, now: datetime) -> tuple[Item, dict[str, int]]:
    """The item of a run once it is settled, and the cents that each month gains. Settled again, a month loses some only to a complete booking."""
    first, actual, details = item["state"] == "reserved", booking.by_month, booking.details
    before = dict.fromkeys(item["months"].split(","), item["reserved_cents"]) if first else cents_by_month(item)
    floor = {} if first or booking.complete else before
    total = {month: max(actual.get(month, 0), floor.get(month, 0)) for month in sorted({*before, *actual})}
    deltas = {month: cents - before.get(month, 0) for month, cents in total.items()}
    if not first and not any(deltas.values()):
        known = {
            name: value
            for name, value in details.items()
            if booking.complete or name in ("endpoint_seen", "training_jobs")
        }
        # The sweeper has it settled again until its last settlement is younger than each endpoint.
        again = {"settled_again_at": written(now)} if has_unbooked({**item, **known}) else {}
        return {**item, **known, **again}, {}
    return {
        **item,
        "state": "settled",
        "actual_cents": sum(total.values()),
        "settled_at" if first else "settled_again_at": written(now),
        **booked({month: cents for month, cents in total.items() if month in actual or not first}),
        **details,
    }, {month: cents for month, cents in deltas.items() if first or cents}


def extension(item: RunItem, seconds: int, now: datetime) -> RunItem:
    """What changes in a run's item where its kept endpoint stays for longer: its end, its seconds, and what they may cost more.

    Raises ExtensionRefused for an endpoint that is not kept now, and beyond the longest that one is kept or the months that were reserved.
    """
    run = keys.run_in(item["pk"])
    until = from_iso(item["keep_until"]) if item["state"] == "reserved" and "keep_until" in item else None
    if until is None or until <= now:
        raise ExtensionRefused(
            f"{run} keeps no endpoint now: it is {'over' if until or item['state'] == 'settled' else 'not in service yet, or has keepEndpointMinutes 0'}. "
            f"Check it with captune ledger, or start another endpoint: captune serve {run}"
        )
    later, kept = until + timedelta(seconds=seconds), item["keep_endpoint_seconds"] + seconds
    months = item["months"].split(",")
    ends = from_iso(item["reserved_at"]) + timedelta(seconds=LONGEST_RESERVATION_SECONDS)
    if kept > LONGEST_KEEP_SECONDS or later > ends:
        raise ExtensionRefused(
            f"The endpoint of {run} is kept for {item['keep_endpoint_seconds'] // 60} minutes. {seconds // 60} more exceed the maximum of "
            f"{LONGEST_KEEP_SECONDS // 60}, or the run's longest life. Extend it by less, or start another endpoint later: captune serve {run}"
        )
    if month_of(later + timedelta(seconds=TEAR_DOWN_ALLOWANCE_SECONDS)) not in months:
        raise ExtensionRefused(
            f"{run} has reserved money only for {' and '.join(months)}, but would end in the next month. Extend it by less, or start another endpoint next month: captune serve {run}"
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


def ending(item: RunItem, now: datetime) -> dict[str, Any]:
    """A run's item once somebody ends it: it keeps its endpoint no longer, so that nobody extends what is being deleted.

    Its end moves back to its beginning: an extension compares it with a moment before its own read, which may lie before this end.
    """
    if item["state"] != "reserved":
        return {**item}
    return {**item, "keep_until": min(item.get("keep_until", written(now)), item["reserved_at"])}
