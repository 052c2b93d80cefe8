"""A run in an account where something goes wrong at a chosen moment, and what became of it: money, leaks, tear-downs that gave up.

And what each part of the proof hands to the table.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from fractions import Fraction

from common.ledger import keys
from verification.simulation.account import Account
from verification.simulation.audit import OVERBOOKED
from verification.simulation.lambdas import installed
from verification.simulation.parameters import RunParameters
from verification.simulation.services.dynamodb import number
from verification.simulation.world import Execution, Process

# The longest that a trial is looked at after its start. A tear-down that still tries by then has given up for a person.
DAYS = 10
# A tear-down that waits for days goes on asking: a few cents of Lambda and Step Functions that no reservation holds. What a month
# costs beside its runs is set aside apart from them, and this is far below it.
WAITING_CENTS = 6
# What is broken where money was spent that nothing could have held back. Everything else has to hold even then.
MONEY = (" used ", " spent ", OVERBOOKED)
# What no outage excuses: whatever was spent has to be booked, but for what a tear-down that waits may cost.
UNBOOKED = (" and booked ", "spent more than the ledger")


@dataclass
class Outcome:
    """What became of one trial, or of many. Cents are of the run that went furthest beyond its reservation."""

    runs: int = 0
    struck: int = 0  # trials in which something called a service that was away
    reserved: int = 0
    over_cents: Fraction = Fraction(0)
    # The most that a run did cost beyond what is booked for it.
    unbooked_cents: Fraction = Fraction(0)
    # The most that was booked beyond a reservation of which no more was spent: too careful, and no money.
    overbooked_cents: int = 0
    leaks: int = 0
    gave_up: int = 0
    wrong: list[str] = field(default_factory=list)
    money: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Takes in another outcome: the furthest of its cents, and the sum of the rest."""
        for one in fields(self):
            ours, theirs = getattr(self, one.name), getattr(other, one.name)
            setattr(self, one.name, max(ours, theirs) if one.name.endswith("_cents") else ours + theirs)


# Whether the moment has come, of a run and its account.
Moment = Callable[[Account, Execution], bool]


def _job_runs(account: Account, execution: Execution) -> bool:
    return any(job.start and job.start <= account.world.now for job in account.sagemaker.jobs.values())


def _deadline_near(account: Account, execution: Execution) -> bool:
    for one in account.sagemaker.endpoints.values():
        if account.owners.get(one.owner) == execution.arn:
            # As it was reserved: a run with little left of the cap gets less than it wished.
            seconds = int(account.table.rows[keys.of_run(one.owner)]["endpoint_deadline_seconds"]["N"])
            return one.created + timedelta(seconds=seconds - 300) < account.world.now
    return False


MOMENTS: dict[str, Moment] = {
    "before it reserves": lambda account, execution: True,
    "reserved": lambda account, execution: any(keys.run_in(key) for key in account.table.rows),
    "training": _job_runs,
    "endpoint": lambda account, execution: bool(account.sagemaker.endpoints),
    "deadline": _deadline_near,
    "ended": lambda account, execution: execution.stop is not None,
}


def usual(dice: random.Random, moment: str = "") -> RunParameters:
    """A run of the delivered settings, which goes well, hangs, or lasts as long as AWS allows. It has to come to its moment."""
    given = RunParameters(
        keep_seconds=dice.choice([0, 0, 0, 1800]),
        failing=dice.choice([0.0, 0.0, 0.3]),
        hanging=dice.choice([0.0, 1.0]),
        extreme=dice.choice([0.0, 0.9]),
    )
    # Only a run that hangs is still there at its deadline.
    return replace(given, hanging=1.0) if moment == "deadline" else given


def when(account: Account, execution: Execution, moment: str, act: Callable[[], None]) -> None:
    """Does something a little after a moment of a run, if that moment ever comes."""

    def waiting() -> Process:
        until = account.world.now + timedelta(days=2)
        while not MOMENTS[moment](account, execution):
            if account.world.now > until or (execution.stop and moment != "ended"):
                return
            yield 20.0, False
        yield account.world.random.uniform(0, 600), False
        act()

    account.world.spawn(waiting(), 0)


def finish(account: Account, what: str) -> Outcome:
    """Runs a trial to its end and counts it."""
    with installed():
        account.world.run(account.world.now + timedelta(days=DAYS))
    account.audit.close(account.table)
    outcome = Outcome(runs=len(account.executions))
    outcome.gave_up = account.counts["tear-downs that gave up"]
    for run, row in account.runs().items():
        reserved = int(row["reserved_cents"]["N"])
        outcome.reserved += 1
        spent = sum(account.audit.truth(run).values(), Fraction(0))
        outcome.over_cents = max(outcome.over_cents, spent - reserved)
        booked = number(row, "actual_cents")
        outcome.unbooked_cents = max(outcome.unbooked_cents, spent - booked)
        if spent <= reserved:
            outcome.overbooked_cents = max(outcome.overbooked_cents, booked - reserved)
    left = [run for run in {job.owner for job in account.sagemaker.jobs.values()} if account.sagemaker.still_there(run)]
    outcome.leaks = len(left) + len(account.sagemaker.endpoints)
    waited = outcome.unbooked_cents <= WAITING_CENTS
    for words in account.audit.wrong:
        unbooked = any(sign in words for sign in UNBOOKED)
        if unbooked and waited and " on " not in words:
            continue
        excusable = not unbooked and any(sign in words for sign in MONEY)
        (outcome.money if excusable else outcome.wrong).append(f"{what}: {words}")
    return outcome


def together(make: Callable[[int], Outcome], trials: int, first_seed: int = 1) -> Outcome:
    """What became of trials with one seed after the other."""
    whole = Outcome()
    for seed in range(first_seed, first_seed + trials):
        whole.add(make(seed))
    return whole


def unended(name: str, outcome: Outcome) -> list[str]:
    """What trials left behind, and the tear-downs that left it."""
    counted = ((outcome.leaks, "leaks"), (outcome.gave_up, "tear-downs gave up"))
    return [f"{name}: {count} {what}" for count, what in counted if count]


def dollars(cents: Fraction | int) -> str:
    """An amount as it is printed."""
    return f"${float(cents) / 100:.2f}"


@dataclass(frozen=True)
class Result:
    """One part of the proof. It holds when nothing is in `broken`."""

    title: str
    lines: list[tuple[str, str]]
    broken: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The part as it is printed, its figures in one column."""
        width = max((len(name) for name, _ in self.lines), default=0)
        rows = [f"  {name:<{width}}  {value}" for name, value in self.lines]
        broken = [f"  BROKEN  {words}" for words in self.broken[:20]]
        more = [f"  BROKEN  and {len(self.broken) - 20} more"] if len(self.broken) > 20 else []
        return "\n".join([f"{self.title}: {'holds' if not self.broken else 'BROKEN'}", *rows, *broken, *more])
