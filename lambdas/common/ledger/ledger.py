"""The ledger: what may be spent this month, what is set aside for running runs, and what settled runs did cost.

One item a run (`RUN#captune-…`) holds its reservation and, later, its settlement. One item a month (`MONTH#2026-11`) holds
`committed_cents`: the reservations of running runs plus the actual cost of settled ones. The runs are the truth: each reservation
adds them up again, so a month item that was deleted opens nothing, and is put right by the next reservation. The month item is what
makes two executions agree: it is written with every change of a run's money.

Two rules hold everything. *Writing* is one function: items are read, made anew, and put whole in one transaction, which holds only
while every seal is the one that was read. So two can never both take the last dollars, a repeated call changes nothing, and nobody's
change is lost. *Reading*: an item whose seal does not fit counts as the whole cap, whatever it says, until a person has looked at it.
The cap is compared at the moment of writing: a new cap counts at once.

A run whose deadline lies in the next month sets its worst case aside in both months, because AWS may bill in either.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from common.clock import start_after
from common.errors import BudgetExceeded, ExtensionRefused, RunNameTaken, TooManyStarts
from common.ledger import keys
from common.ledger.changes import Booking, Change, Month, extension, settlement
from common.ledger.rows import Row, RunItem
from common.ledger.seal import Item
from common.ledger.table import CONFLICT_ATTEMPTS, Table, busy
from common.outside import sleep
from common.pricing.costs import cap_for
from common.text import listed

T = TypeVar("T")

# The most that budget_usd may be, in cents: what a damaged item counts as where no cap is told.
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
        return f"Set budget_usd in cdk.json to at least {cap_for(needed_cents)} and run make deploy."
    full = max(month for month, cents in committed.items() if cents + needed_cents > cap_cents)
    return (
        "Wait until a run in flight ends, raise budget_usd in cdk.json and run make deploy, or start a new execution on "
        f"{start_after(full).date().isoformat()}."
    )


def damage_note(items: Iterable[str]) -> str:
    """A sentence about damaged items, for a refusal to which they contribute; empty without any."""
    named = listed(sorted(items), most=3)
    return f" The ledger items of {named} are damaged and count as the whole cap: see captune ledger." if named else ""


class Ledger:
    """The ledger table. `pause` waits between attempts at a transaction that collided with another one (seconds)."""

    def __init__(self, dynamodb: Any, table: str, pause: Callable[[float], None] = sleep) -> None:
        self._table = Table(dynamodb, table, pause)

    def committed_cents(self, month: str, cap_cents: int = HIGHEST_CAP_CENTS) -> int:
        """What is set aside or spent in a month, by its own item or by its runs, whichever is more. A damaged item counts as the whole cap."""
        return self._months(Change(self._table), [month], cap_cents)[month].committed_cents

    def damaged(self, months: Sequence[str]) -> list[str]:
        """The runs and keys of damaged items that may have cost something in these months."""
        found = self._months(Change(self._table), months, HIGHEST_CAP_CENTS).values()
        return sorted({one for month in found for one in month.damaged})

    def run(self, run: str) -> Any:
        """The ledger item of a run (RunItem), or None. Raises LedgerDamaged."""
        return Change(self._table).item(keys.of_run(run))

    def items(self) -> list[Row]:
        """Every item, each read by itself: a damaged one is a row without content, and hides no other."""
        return [Row.from_raw(raw) for raw in self._table.scan()]

    def rows(self) -> list[Row]:
        """The items of all runs."""
        return [row for row in self.items() if row.run]

    def count_start(self, month: str, bound: int) -> int:
        """Counts an execution that is about to be looked at; answers how many the month has had.

        A look costs a little that no reservation covers, so every look counts, a repeated one of the same execution too.
        Raises TooManyStarts beyond the bound, and counts no further then; LedgerDamaged where the count cannot be read.
        """

        def make(change: Change) -> int:
            key = keys.of_starts(month)
            starts: int = (change.item(key) or {"starts": 0})["starts"] + 1
            if starts > bound:
                raise TooManyStarts(
                    f"{bound} executions started in {month}, the maximum that the cap reserves money for. Stop the program that starts them. Then wait until "
                    f"{start_after(month).date().isoformat()}, or delete the item {key} of the ledger table to reset the count."
                )
            change.put({"pk": key, "starts": starts})
            return starts

        return self._change(make)

    def reserve(self, reservation: Reservation, cap_cents: int, now: datetime) -> RunItem:
        """Sets the worst case of a run aside, or refuses it. Returns the run's item; calling again changes nothing.

        Raises BudgetExceeded when a month's cap does not cover it, RunNameTaken when another execution or a finished run has
        the name, LedgerDamaged when the run's own item cannot be read, ServiceUnreachable when trying again later is right.
        """

        def make(change: Change) -> RunItem:
            existing = change.item(keys.of_run(reservation.run))
            if existing is not None:
                return _same(reservation, existing)
            months = self._months(change, reservation.months, cap_cents)
            _refuse_too_much("This run", reservation.cents, cap_cents, months)
            for month in months.values():
                month.commit(change, reservation.cents)
            item = _reserved(reservation, now)
            change.put(item)
            return item

        return self._change(make)

    def extend(self, run: str, seconds: int, cap_cents: int, now: datetime) -> RunItem:
        """Sets aside what a kept endpoint may cost that stays for longer, and moves its end in the ledger; answers the run's item.

        As with a reservation, one transaction does both, and only while the months are as they were read. Raises BudgetExceeded,
        ExtensionRefused, LedgerDamaged and ServiceUnreachable; none of them has changed anything.
        """

        def make(change: Change) -> RunItem:
            item = change.item(keys.of_run(run))
            if item is None:
                raise ExtensionRefused(f"{run} has reserved nothing. Take a run's name from captune ledger.")
            longer = extension(item, seconds, now)
            cents = longer["reserved_cents"] - item["reserved_cents"]
            months = self._months(change, item["months"].split(","), cap_cents)
            _refuse_too_much("The longer stay of this endpoint", cents, cap_cents, months)
            for month in months.values():
                month.commit(change, cents)
            change.put({**item, **longer})
            return {**item, **longer}

        return self._change(make)

    def settle(self, run: str, book: Callable[[RunItem], Booking], now: datetime) -> Any:
        """Replaces a reservation, or an earlier booking, by what the run did cost in each month, and returns the run's item.

        `book` adds it up from the item as it is at that moment, again where another has changed it meanwhile: no settlement goes by less
        than is noted. A run that was never reserved has no item: None is returned and nothing changes. The same settlement made twice
        changes nothing the second time.
        """

        def make(change: Change) -> Any:
            item = change.item(keys.of_run(run))
            if item is None:
                return None
            closed, more = settlement(item, book(item), now)
            for month, cents in more.items():
                change.add(month, cents)
            change.put(closed)
            return closed

        return self._change(make)

    def update(self, run: str, make: Callable[[RunItem], Mapping[str, Any]]) -> Any:
        """Makes a run's item anew from the one that is there, and answers it. A missing item is left missing: None. Raises LedgerDamaged.

        Not for what a month holds: its cents would not follow.
        """

        def once(change: Change) -> Any:
            item = change.item(keys.of_run(run))
            if item is None:
                return None
            made = {**make(item)}
            change.put(made)
            return made

        return self._change(once)

    def accept(self, key: str, make: Callable[[Row | None], Item]) -> Item:
        """Puts what a person says in the place of an item, damaged or not."""

        def once(change: Change) -> Item:
            item = make(change.row(key))
            change.put(item)
            return item

        return self._change(once)

    def _change(self, make: Callable[[Change], T]) -> T:
        """The one way of writing: reads items, makes them anew, and puts them whole while all of them are as they were read."""
        for attempt in range(CONFLICT_ATTEMPTS):
            change = Change(self._table)
            made = make(change)
            if change.write():
                return made
            # Somebody else has written one of them at this very moment: they are read again.
            self._table.pause(attempt)
        raise busy()

    def _months(self, change: Change, names: Sequence[str], cap_cents: int) -> dict[str, Month]:
        """The months as they are. Their items are read before the runs: what a run changes after that changes its month too."""
        read = {name: change.row(keys.of_month(name)) for name in names}
        rows = self.rows()
        return {name: Month.added_up(name, read[name], rows, cap_cents) for name in names}


def _same(reservation: Reservation, item: RunItem) -> RunItem:
    """The reservation that this execution has made already. Raises RunNameTaken."""
    if (item["execution_arn"], item["state"]) != (reservation.execution_arn, "reserved"):
        raise RunNameTaken(
            f"Another execution already uses the run name {reservation.run}. Start a new execution, and keep the name that the console "
            "generates, or choose one with other letters and digits."
        )
    return item


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


def _refuse_too_much(what: str, cents: int, cap_cents: int, months: Mapping[str, Month]) -> None:
    committed = {name: month.committed_cents for name, month in months.items()}
    left = cap_cents - max(committed.values())
    if cents <= left:
        return
    damaged = {one for month in months.values() for one in month.damaged}
    raise BudgetExceeded(
        f"{what} may cost up to {dollars(cents)}, but {dollars(max(0, left))} of the cap's {dollars(cap_cents)} for runs is left in "
        f"{' and '.join(months)}: {dollars(cents - left)} is missing. {way_out(cents, cap_cents, committed)}{damage_note(damaged)}"
    )
