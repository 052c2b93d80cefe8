"""The auditor: sees every change of the ledger, knows what really ran, and counts the money by itself, in fractions of a cent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil

from common.ledger import keys
from common.pricing.costs import CHECKPOINT_KEPT_DAYS, OLD_CHECKPOINT_KEPT_DAYS
from rehearsal.step_functions.interpreter import Failure
from stacks.configuration.settings import Settings
from verification.simulation.definitions import functions
from verification.simulation.price_list import Use, small_cents
from verification.simulation.services.dynamodb import Change, Item, Table, number
from verification.simulation.services.sagemaker import SageMaker
from verification.simulation.world import World

_MICROSECOND = timedelta(microseconds=1)
# Words of their own: an outage excuses that too much was booked, and no other promise about a settlement.
OVERBOOKED = " is recorded at "


@dataclass
class Audit:
    """What is promised, checked at every change and at the end. `wrong` holds every breach, in words."""

    world: World
    sagemaker: SageMaker
    requested: Callable[[str], datetime | None] = lambda run: None
    # By run: when each of its tear-downs listed no endpoint.
    looks: dict[str, dict[str, list[datetime]]] = field(default_factory=dict)
    deleted_months: bool = False
    lost: dict[str, Item] = field(default_factory=dict)  # items of runs that a restored table does not hold
    # By run: the execution that reserved for it.
    owners: dict[str, str] = field(default_factory=dict)
    # How often a tear-down ended what belonged to another execution that was running.
    hurt: int = 0
    wrong: list[str] = field(default_factory=list)
    ledger_cents: dict[str, int] = field(default_factory=dict)
    cap_at_last_reservation: dict[str, int] = field(default_factory=dict)
    reserved_at: dict[str, datetime] = field(default_factory=dict)
    settled_at: dict[str, datetime] = field(default_factory=dict)
    written: dict[str, Item] = field(default_factory=dict)
    # The caps in force while calls to reserve were under way, a list for each call: its answer may go by any of them.
    caps: dict[str, list[list[int]]] = field(default_factory=dict)
    # By execution or run: GB-seconds of Lambda and state transitions.
    used: dict[str, tuple[float, int]] = field(default_factory=dict)

    def begin_reserve(self, run: str) -> None:
        """A call to reserve begins; a slow one of the same run may still be under way."""
        self.caps.setdefault(run, []).append([self.world.cap_cents])

    def cap_changed(self) -> None:
        """The cap was raised or lowered: calls under way may see the old or the new one, later ones only the new."""
        for calls in self.caps.values():
            for caps in calls:
                caps.append(self.world.cap_cents)

    def end_reserve(self, run: str) -> None:
        """A call to reserve has ended: the one that began last, for the others wait for it."""
        self.caps[run].pop()

    @contextmanager
    def using(self, who: str, function: str, seconds: float) -> Iterator[None]:
        """An execution runs a function for so long, or until it fails."""
        try:
            yield
        except Failure as failure:
            seconds = max(seconds, failure.seconds)
            raise
        finally:
            gigabytes = functions()[function][0] / 1024 if function in functions() else 0.0
            self._add(who, gigabytes * seconds, 0)

    def went_through(self, who: str, transitions: int) -> None:
        """An execution went through so many states."""
        self._add(who, 0.0, transitions)

    def _add(self, who: str, gb_seconds: float, transitions: int) -> None:
        before = self.used.get(who, (0.0, 0))
        self.used[who] = before[0] + gb_seconds, before[1] + transitions

    def observe(self, changes: list[Change]) -> None:
        """One committed transaction or update."""
        if self.world.lines is not None:
            for key, before, after in changes:
                if words := _difference(before or {}, after):
                    self.world.log(f"ledger {key}: {words}")
        months = {month: after for key, _, after in changes if (month := keys.month_in(key))}
        for key, before, after in changes:
            run = keys.run_in(key)
            if run is None:
                continue
            # As the ledger wrote it: a person may have damaged it since.
            before, self.written[run] = self.written.get(run), dict(after)
            old, new = (before["state"]["S"] if before else ""), after["state"]["S"]
            if not months:
                self._expect(old == new, f"{run} went from {old or 'nothing'} to {new} without its months")
                self.reserved_at.setdefault(run, self.world.now)
                continue
            if (old, new) == ("", "reserved"):
                self._reserved(run, after["months"]["S"].split(","), int(after["reserved_cents"]["N"]))
                self.owners[run] = after["execution_arn"]["S"]
                allowed = max((cap for caps in self.caps.get(run, []) for cap in caps), default=self.world.cap_cents)
                for month in after["months"]["S"].split(","):
                    self.cap_at_last_reservation[month] = allowed
                    # By the month's own item and by what its runs add up to, whichever is more.
                    committed = max(int(months[month]["committed_cents"]["N"]), self.ledger_cents.get(month, 0))
                    self._expect(committed <= allowed, f"{run} reserved up to {committed} of {allowed} in {month}")
            elif (old, new) == ("reserved", "reserved"):
                self._extended(run, before or {}, after)
            elif (old, new) == ("reserved", "settled"):
                self._settled(run, before or {}, after)
            elif (old, new) == ("settled", "settled"):
                self._settled_again(run, before or {}, after)
            else:
                self.add(f"{run} went from {old or 'nothing'} to {new} with money")
        for month, row in months.items():
            told, counted = int(row["committed_cents"]["N"]), self.ledger_cents.get(month, 0)
            # Where somebody has deleted it, it counts from nothing until the next reservation.
            same = told == counted or self.deleted_months
            self._expect(same, f"{month} says {told}, its runs add up to {counted}")
            self._expect(told >= 0, f"{month} is negative")

    def found_none(self, run: str, tear_down: str) -> None:
        """A look of a tear-down was told that a run has no endpoint."""
        self.looks.setdefault(run, {}).setdefault(tear_down, []).append(self.world.now)

    def seconds_beyond_looks(self, run: str, booked: int) -> Fraction:
        """How many of a run's booked endpoint seconds lie after the looks that found none."""
        unseen = self._seconds_unseen(run) if run in self.settled_at else None
        return Fraction(0) if unseen is None else max(Fraction(0), booked - unseen)

    def _seconds_unseen(self, run: str) -> Fraction | None:
        """The most seconds that an endpoint may be booked for: from its request or creation to the first look that found none,
        whichever tear-down made it. None where nobody looked."""
        settled, requested = self.settled_at[run], self.requested(run)
        lives = [one for one, course in self.sagemaker.endpoints.items() if course.run == run]
        spans = [(min(one.created, requested or one.created), one.deleted) for one in lives if one.deleted]
        early = [at for looks in self.looks.get(run, {}).values() for at in looks if requested and at < requested]
        if early and not spans:
            return None  # a look before the request bounds nothing, and it alone is kept
        seconds = Fraction(0)
        for begin, gone in spans or ([(requested, requested)] if requested else []):
            first = [
                min(after)
                for looks in self.looks.get(run, {}).values()
                if (after := [at for at in looks if gone <= at and (at <= settled or begin > settled)])
            ]
            if not first:
                return None
            seconds += Fraction((min(first) - begin) // _MICROSECOND, 1_000_000) + 2
        return seconds

    def restored(self, lost: dict[str, Item]) -> None:
        """The table was put back as it was before some runs: what they did cost counts on."""
        self.lost |= lost
        self.deleted_months = True

    def started(self, run: str, owner: str, table: Table) -> None:
        """Something that bills was started: it needs an open reservation of its own execution."""
        # By what this audit saw, not by the item, which may have been damaged since.
        is_open = run in self.reserved_at and run not in self.settled_at
        held = is_open and self.written[run]["execution_arn"]["S"] == owner
        self._expect(held, f"{run} started something that bills without a reservation")

    def close(self, table: Table) -> dict[str, Fraction]:
        """The end of the month: answers what was truly spent in each month, in cents."""
        truth: dict[str, Fraction] = {}
        held = {run: row for key, row in table.rows.items() if (run := keys.run_in(key))}
        for run, row in {**self.lost, **held}.items():
            self._expect(row["state"]["S"] == "settled", f"{run} is still reserved at the end")
            self._expect(not self.sagemaker.still_there(run), f"{run} left something behind")
            spent, reserved = self.truth(run), int(row["reserved_cents"]["N"])
            for what, seconds in self._seconds(run).items():
                most = int(row[f"max_{what}_seconds"]["N"])
                self._expect(seconds <= most, f"{run} used {float(seconds):.0f} of {most} {what} seconds")
            self._expect(sum(spent.values()) <= reserved, f"{run} spent {float(sum(spent.values())):.2f} of {reserved}")
            if "actual_cents" in row:
                actual = int(row["actual_cents"]["N"])
                self._expect(actual <= reserved, f"{run}{OVERBOOKED}{actual} of {reserved}")
                for what, cents in self.instances(run).items():
                    # By themselves, so that no small item hides a cent of them.
                    told = number(row, f"{what}_cents")
                    self._expect(cents <= told, f"{run} spent {float(cents):.3f} on {what} and recorded {told}")
                told, seconds = number(row, "endpoint_seconds"), self._seconds(run)["endpoint"]
                self._expect(seconds <= told, f"{run} used {float(seconds):.3f} and recorded {told} endpoint seconds")
                beyond = self.seconds_beyond_looks(run, told)
                words = f"{run} recorded {told} endpoint seconds, and looks bound them at {float(told - beyond):.0f}"
                self._expect(beyond == 0, words)
                small, told = self._small(run), number(row, "booked_other_cents")
                self._expect(small <= told, f"{run} spent {float(small):.3f} besides its instances and recorded {told}")
                for month in self._instance_cents(run).keys() - set(row["months"]["S"].split(",")):
                    self.add(f"{run} billed in {month}, for which it had reserved nothing")
                for month, cents in spent.items():
                    booked = int(row.get(f"actual_cents_{month}", {"N": "0"})["N"])
                    self._expect(cents <= booked, f"{run} spent {float(cents):.3f} and recorded {booked} in {month}")
            for month, cents in spent.items():
                truth[month] = truth.get(month, Fraction(0)) + cents
        self._expect(not self.hurt, "a teardown ended resources of another, running execution")
        unowned = {course.run for course in self.sagemaker.jobs.values()} - set(self.reserved_at)
        self._expect(not unowned, f"{unowned} billed and were never reserved")
        for month, cents in truth.items():
            cap = self.cap_at_last_reservation.get(month, 0)
            self._expect(cents <= cap, f"{month}: {float(cents):.2f} spent under a cap of {cap}")
            self._expect(
                cents <= self.ledger_cents.get(month, 0),
                f"{month}: spent more than the ledger knows, {float(cents):.2f} of {self.ledger_cents.get(month, 0)}",
            )
        return truth

    def truth(self, run: str) -> dict[str, Fraction]:
        """What a run truly cost in each month: each second in the month in which it was billed."""
        spent = self._instance_cents(run)
        small = self._small(run)
        start = self.reserved_at[run]
        _book(spent, start, max(self.settled_at.get(run, self.world.now), start + _MICROSECOND), small)
        return spent

    def _instance_cents(self, run: str) -> dict[str, Fraction]:
        """What its instances did cost in each month in which they billed."""
        spent: dict[str, Fraction] = {}
        for _, begin, end, cents in self._billed(run):
            _book(spent, begin, end, cents)
        return spent

    def _small(self, run: str) -> Fraction:
        """Everything beside the instances."""
        told = [self.used.get(who, (0.0, 0)) for who in (run, self.owners.get(run, ""))]
        # By the clock, whatever share of it bills: checkpoints are written by the clock.
        seconds = (
            job.trained_seconds(self.world.now) for job, course in self.sagemaker.jobs.items() if course.run == run
        )
        training = sum(map(ceil, seconds))
        use = Use(sum(one[0] for one in told), sum(one[1] for one in told), training)
        # Each day ends at the next midnight: of the current version, and of the old one that it becomes.
        days = 2 + CHECKPOINT_KEPT_DAYS + OLD_CHECKPOINT_KEPT_DAYS
        return small_cents(use, 60 * Settings().checkpoint_minutes, days)

    def _billed(self, run: str) -> Iterator[tuple[str, datetime, datetime, Fraction]]:
        """What billed of a run, from when to when, and what it did cost in cents."""
        for job, job_course in self.sagemaker.jobs.items():
            if job_course.run == run and job.started is not None:
                # What waited lies before what billed: so as much as can be is of the later month, which may take reservations still.
                ended = job.ended or self.world.now
                billed = job.billed_seconds(ended)
                yield (
                    "training",
                    max(job.started, ended - timedelta(seconds=billed)),
                    ended,
                    job_course.hourly_usd * 100 * billed / 3600,
                )
        for endpoint, course in self.sagemaker.endpoints.items():
            if course.run == run and course.billed_from is not None:
                gone = endpoint.deleted or self.world.now
                seconds = Fraction((gone - course.billed_from) // _MICROSECOND, 1_000_000)
                yield "endpoint", course.billed_from, gone, course.hourly_usd * 100 * seconds / 3600

    def instances(self, run: str) -> dict[str, Fraction]:
        """What training and endpoint did cost in cents, each by itself."""
        cents = dict.fromkeys(("training", "endpoint"), Fraction(0))
        for what, _, _, amount in self._billed(run):
            cents[what] += amount
        return cents

    def _seconds(self, run: str) -> dict[str, Fraction]:
        """How long a run's jobs and endpoints billed, a job on spot without what it waited."""
        seconds = dict.fromkeys(("training", "endpoint"), Fraction(0))
        for what, begin, end, _ in self._billed(run):
            seconds[what] += Fraction((end - begin) // _MICROSECOND, 1_000_000)
        return seconds

    def _reserved(self, run: str, months: list[str], cents: int) -> None:
        self.reserved_at[run] = self.world.now
        self._expect(f"{self.world.now:%Y-%m}" in months, f"{run} reserved after the last of its months, {months[-1]}")
        for month in months:
            self.ledger_cents[month] = self.ledger_cents.get(month, 0) + cents

    def _extended(self, run: str, before: Item, after: Item) -> None:
        """A kept endpoint stays for longer: more is set aside, in each of the same months, and below the cap."""
        more = number(after, "reserved_cents") - number(before, "reserved_cents")
        same = before["months"] == after["months"] and before["execution_arn"] == after["execution_arn"]
        self._expect(more > 0 and same, f"{run} was changed by {more} cents while it was reserved")
        for month in after["months"]["S"].split(","):
            self.ledger_cents[month] = self.ledger_cents.get(month, 0) + more
            self.cap_at_last_reservation[month] = cap = self.world.cap_cents
            self._expect(self.ledger_cents[month] <= cap, f"{run} was extended beyond {cap} in {month}")

    def _settled(self, run: str, before: Item, row: Item) -> None:
        self._expect(run not in self.settled_at, f"{run} was recorded twice")
        self.settled_at[run] = self.world.now
        left = [one.name for one in self.sagemaker.still_there(run)]
        self._expect(not left, f"{run} was recorded while {left} still billed")
        for month in row["months"]["S"].split(","):
            self.ledger_cents[month] -= int(before["reserved_cents"]["N"])
        for name, value in row.items():
            if name.startswith("actual_cents_"):
                month = name.removeprefix("actual_cents_")
                self.ledger_cents[month] = self.ledger_cents.get(month, 0) + int(value["N"])

    def _settled_again(self, run: str, before: Item, after: Item) -> None:
        for name in {name for name in {**before, **after} if name.startswith("actual_cents_")}:
            more = number(after, name) - number(before, name)
            month = name.removeprefix("actual_cents_")
            self.ledger_cents[month] = self.ledger_cents.get(month, 0) + more
            spent = self._instance_cents(run).get(month, Fraction(0))
            self._expect(more >= 0 or spent <= number(after, name), f"{run} got {-more} cents back that it had spent")

    def add(self, words: str) -> None:
        """A breach of a promise, which the log has at its moment."""
        self.wrong.append(words)
        self.world.log(f"BROKEN  {words}")

    def _expect(self, holds: bool, words: str) -> None:
        if not holds and len(self.wrong) < 50:
            self.add(words)


def _book(spent: dict[str, Fraction], start: datetime, end: datetime, cents: Fraction) -> None:
    """Spreads a cost evenly over an interval and adds each part to its calendar month. Written apart from the Lambdas' own way."""
    whole = (end - start) // _MICROSECOND
    year, month = start.year, start.month
    while whole and datetime(year, month, 1, tzinfo=UTC) < end:
        first = datetime(year, month, 1, tzinfo=UTC)
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        overlap = min(end, datetime(year, month, 1, tzinfo=UTC)) - max(start, first)
        name = first.strftime("%Y-%m")
        spent[name] = spent.get(name, Fraction(0)) + cents * (overlap // _MICROSECOND) / whole


def _difference(before: Item, after: Item) -> str:
    """What a change of an item changed, for a person."""
    changed = {name: next(iter(value.values())) for name, value in after.items() if before.get(name) != value}
    return ", ".join(f"{name}={str(value)[:60]}" for name, value in sorted(changed.items()) if name != "pk")
