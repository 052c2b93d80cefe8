"""The ledger: what may be spent this month, what is set aside for running runs, and what settled runs did cost.

One item a run (`RUN#captune-…`) holds its reservation and, later, its settlement. One item a month (`MONTH#2026-11`) holds
`committed_cents`: the reservations of running runs plus the actual cost of settled ones. The runs are the truth: each reservation
adds them up again, so a month item that was deleted or lowered opens nothing, and is put right by the next reservation. The month
item is what makes two executions agree: a reservation is one DynamoDB transaction that holds only while the month is as it was
read before the runs were, so two can never both take the last dollars, a repeated call changes nothing, and a settlement releases
a reservation exactly once. The cap is compared at the moment of writing: a new cap counts at once.

A run whose deadline lies in the next month sets its worst case aside in both months, because AWS may bill in either.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.clock import start_after
from common.errors import BudgetExceeded, ExtensionRefused, LedgerDamaged, RunNameTaken, TooManyStarts
from common.ledger import keys
from common.ledger.changes import Month, extend, extension, settlement, written
from common.ledger.rows import RunItem, RunRow, read_row, whole_number
from common.ledger.table import CONFLICT_ATTEMPTS, Raw, Table, assignments, busy, typed
from common.pricing.costs import cap_for

# The most that budget_usd may be, in cents: what an item counts as that cannot be read, where no cap is told.
HIGHEST_CAP_CENTS = 100_000


@dataclass(frozen=True)
class Reservation:
    """What a run asks for before anything bills."""

    run: str
    execution_arn: str
    cents: int
    months: tuple[str, ...]
    details: RunItem


def dollars(cents: int) -> str:
    """Cents as a person reads them: `$12.34`."""
    sign = "-" if cents < 0 else ""
    return f"{sign}${abs(cents) // 100}.{abs(cents) % 100:02d}"


def way_out(needed_cents: int, cap_cents: int, committed: Mapping[str, int]) -> str:
    """What a person can do about a run that needs more than the cap leaves in one of its months (month → committed cents)."""
    if needed_cents > cap_cents:
        return f"Set budget_usd in cdk.json to at least {cap_for(needed_cents)} and deploy."
    full = max(month for month, cents in committed.items() if cents + needed_cents > cap_cents)
    return (
        "Wait for a run in flight to be settled, raise budget_usd in cdk.json and deploy, or start again on "
        f"{start_after(full).date().isoformat()}."
    )


def damage_note(runs: Iterable[str]) -> str:
    """A sentence about the runs whose items cannot be read, for a refusal to which they contribute; empty without any."""
    named = sorted(runs)
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return (
        f" The ledger's items of {', '.join(named[:3])}{more} cannot be read and count as the dearest case; see captune ledger."
        if named
        else ""
    )


class Ledger:
    """The ledger table. `pause` waits between attempts at a transaction that collided with another one (seconds)."""

    def __init__(self, dynamodb: Any, table: str, pause: Callable[[float], None] = time.sleep) -> None:
        self._table = Table(dynamodb, table, pause)

    def committed_cents(self, month: str, cap_cents: int = HIGHEST_CAP_CENTS) -> int:
        """What is set aside or spent in a month, by its own item or by its runs, whichever is more.

        A damaged run counts as its reservation, or as the whole cap where not even that can be read.
        """
        return self._months([month], cap_cents)[month].committed_cents

    def damaged_runs(self, months: Sequence[str]) -> list[str]:
        """The runs whose items cannot be read and that may have cost something in these months."""
        found = self._months(months, HIGHEST_CAP_CENTS).values()
        return sorted({run for month in found for run in month.damaged})

    def run(self, run: str) -> RunItem | None:
        """The ledger item of a run, or None. Raises LedgerDamaged for an item that cannot be read."""
        raw = self._table.read(keys.of_run(run))
        if raw is None:
            return None
        row = read_row(raw)
        if row.is_damaged:
            raise LedgerDamaged(
                f"The ledger's item {keys.of_run(run)} cannot be read: {'; '.join(row.problems)}. Until that is put right it counts as "
                "the dearest case; captune ledger shows it."
            )
        return row.item

    def rows(self) -> list[RunRow]:
        """Every run, each read by itself: an item that cannot be read is a row with problems, and hides no other."""
        return [read_row(raw) for raw in self._table.scan() if keys.run_in(raw["pk"]["S"]) is not None]

    def count_start(self, month: str, bound: int) -> int:
        """Counts an execution that is about to be looked at; answers how many the month has had.

        A look costs a little that no reservation covers, so every look counts, a repeated one of the same execution too.
        Raises TooManyStarts beyond the bound, and counts no further then.
        """
        counted = self._table.change(
            keys.of_starts(month),
            "SET starts = if_not_exists(starts, :none) + :one",
            "attribute_not_exists(starts) OR starts < :bound",
            typed({":none": 0, ":one": 1, ":bound": bound}),
            {},
        )
        if not counted:
            raise TooManyStarts(
                f"{bound} executions were looked at in {month}, more than the cap sets money aside for, so no further one is. Stop "
                f"what starts them; the count begins anew on {start_after(month).date().isoformat()}, or when the item "
                f"{keys.of_starts(month)} of the ledger is deleted."
            )
        return whole_number((self._table.read(keys.of_starts(month)) or {}).get("starts")) or 1

    def reserve(self, reservation: Reservation, cap_cents: int, now: datetime) -> RunItem:
        """Sets the worst case of a run aside, or refuses it. Returns the run's item; calling again changes nothing.

        Raises BudgetExceeded when a month's cap does not cover it, RunNameTaken when another execution or a finished run has
        the name, LedgerDamaged when the run's own item cannot be read, ServiceUnreachable when trying again later is right.
        """
        for attempt in range(CONFLICT_ATTEMPTS):
            existing = self._existing(reservation)
            if existing is not None:
                return existing
            months = self._months(reservation.months, cap_cents)
            room = cap_cents - reservation.cents
            if all(month.committed_cents <= room for month in months.values()):
                item = _reserved(reservation, now)
                writes = [month.commit(self._table, reservation.cents) for month in months.values()]
                if self._table.transact([*writes, self._table.put_new(item)]):
                    return item
            elif all(self._as_read(name) == month.as_read for name, month in months.items()):
                raise _too_much("This run", reservation.cents, cap_cents, months)
            # Another run was reserved or settled at this very moment: the books are read again.
            self._table.pause(attempt)
        raise busy()

    def extend(self, run: str, seconds: int, cap_cents: int, now: datetime) -> RunItem:
        """Sets aside what a kept endpoint may cost that stays for longer, and moves its end in the ledger; answers the run's item.

        As with a reservation, one transaction does both, and only while the months are as they were read. Raises BudgetExceeded,
        ExtensionRefused, LedgerDamaged and ServiceUnreachable; none of them has changed anything.
        """
        for attempt in range(CONFLICT_ATTEMPTS):
            item = self.run(run)
            if item is None:
                raise ExtensionRefused(f"{run} has reserved nothing, so it keeps no endpoint.")
            longer = extension(item, seconds, now)
            cents = longer["reserved_cents"] - item["reserved_cents"]
            months = self._months(item["months"].split(","), cap_cents)
            if all(month.committed_cents <= cap_cents - cents for month in months.values()):
                writes = [month.commit(self._table, cents) for month in months.values()]
                if self._table.transact([*writes, extend(self._table, item, longer)]):
                    return {**item, **longer}
            elif all(self._as_read(name) == month.as_read for name, month in months.items()):
                raise _too_much("The longer stay of this endpoint", cents, cap_cents, months)
            self._table.pause(attempt)
        raise busy()

    def settle(
        self,
        run: str,
        actual: Mapping[str, int],
        details: Mapping[str, str | int],
        now: datetime,
        *,
        exact: bool = False,
    ) -> RunItem | None:
        """Replaces a reservation by what the run did cost in each month, and returns the run's item.

        `actual` maps a month to cents. A run that was never reserved has no item: None is returned and nothing changes. A run
        that is settled already gets only what came later: each month the difference, and never less than was booked, unless the
        amounts are said to be exact. The same settlement made twice changes nothing the second time.
        """
        for attempt in range(CONFLICT_ATTEMPTS):
            item = self.run(run)
            if item is None:
                return None
            writes = settlement(self._table, item, actual, details, now, exact)
            if not writes:
                return item
            if self._table.transact(writes):
                return self.run(run)
            # Another settlement of this run was faster: what it has booked is booked.
            self._table.pause(attempt)
        raise busy()

    def note(self, run: str, facts: Mapping[str, str | int]) -> None:
        """Writes facts about a run into its item, each only once: what was seen first stays. A missing item is left missing."""
        if not facts:
            return
        clause, values, names = assignments(facts, "{name} = if_not_exists({name}, {value})")
        self._table.change(keys.of_run(run), f"SET {clause}", "attribute_exists(pk)", values, names)

    def note_endpoint(
        self,
        run: str,
        created_at: datetime | str,
        gone_at: datetime | str | None = None,
        *,
        instance_type: str = "",
        instance_count: int = 0,
    ) -> None:
        """Keeps the life of a run's endpoint in its item; the earliest creation and the first end stay. A missing item is left missing."""
        created = written(created_at)
        self._table.change(
            keys.of_run(run),
            "SET #created = :created",
            "attribute_exists(pk) AND attribute_not_exists(#created) OR #created > :created",
            typed({":created": created}),
            {"#created": "endpoint_created_at"},
        )
        facts: dict[str, str | int] = {}
        if gone_at:
            facts["endpoint_gone_at"] = written(gone_at)
        if instance_type:
            facts["endpoint_instance_type"] = instance_type
        if instance_count:
            facts["endpoint_instance_count"] = instance_count
        self.note(run, facts)

    def _existing(self, reservation: Reservation) -> RunItem | None:
        """The reservation, where this execution has made it already."""
        item = self.run(reservation.run)
        if item is None or (item["execution_arn"], item["state"]) == (reservation.execution_arn, "reserved"):
            return item
        raise RunNameTaken(
            f"The run name {reservation.run} was used before. Start a new execution and leave its name to the console, "
            "or choose one that differs in its letters and digits."
        )

    def _months(self, names: Sequence[str], cap_cents: int) -> dict[str, Month]:
        """The months as they are. Their items are read before the runs: what a run changes after that changes its month too."""
        as_read = {name: self._as_read(name) for name in names}
        rows = self.rows()
        return {name: Month.of(name, as_read[name], rows, cap_cents) for name in names}

    def _as_read(self, month: str) -> Raw | None:
        return (self._table.read(keys.of_month(month)) or {}).get("committed_cents")


def _reserved(reservation: Reservation, now: datetime) -> RunItem:
    """The item of a run that is reserved."""
    return {
        "pk": keys.of_run(reservation.run),
        "state": "reserved",
        "execution_arn": reservation.execution_arn,
        "reserved_cents": reservation.cents,
        "months": ",".join(reservation.months),
        "reserved_at": now.isoformat(timespec="seconds"),
        **reservation.details,
    }


def _too_much(what: str, cents: int, cap_cents: int, months: Mapping[str, Month]) -> BudgetExceeded:
    committed = {name: month.committed_cents for name, month in months.items()}
    left = cap_cents - max(committed.values())
    damaged = {run for month in months.values() for run in month.damaged}
    return BudgetExceeded(
        f"{what} may cost up to {dollars(cents)}, and {dollars(max(0, left))} of the cap's {dollars(cap_cents)} for runs is left in "
        f"{' and '.join(months)}: {dollars(cents - left)} is missing. {way_out(cents, cap_cents, committed)}{damage_note(damaged)}"
    )
