"""Thousands of months of trouble: random runs against one cap, by the definitions themselves and the real Lambda handlers."""

import calendar
import random
import re
from collections import Counter
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Self

from common.pricing.durations import MINIMUM_DEADLINE_SECONDS
from rehearsal.step_functions.executions import Execution
from verification.simulation import Result, mischief, outages, runs
from verification.simulation.account import Account
from verification.simulation.audit import OVERBOOKED
from verification.simulation.lambdas import installed
from verification.simulation.parameters import RunParameters
from verification.simulation.price_list import HOURLY_USD
from verification.simulation.services.orchestration import MACHINE, execution_arn
from verification.simulation.world import SERVICES, Process, World, at_once

# What is still there, or still billed, after all is settled.
LEAKS = ("is still reserved", "left something behind", "still billed", "were never reserved")
INSTANCE_TYPES = (
    ("ml.g5.2xlarge",),
    ("ml.g5.2xlarge",),
    ("ml.g5.2xlarge",),
    ("ml.g5.2xlarge", "ml.g6.2xlarge"),
    ("ml.g6.2xlarge", "ml.g5.12xlarge", "ml.g5.2xlarge"),
    ("ml.g5.12xlarge",),
    ("ml.g5.2xlarge", "ml.unheard.of"),
)
DEARER = "ml.p4d.24xlarge"  # 25 times as dear as the others
# How many runs a month has, and how often its sweeper comes (seconds): more seldom than deployed is a harder month, and a faster one.
RUNS = (1, 1, 1, 2, 2, 3)
SWEEPS = (900, 1800, 3600)
_SIZE = 50  # months that one process plays in a row


@dataclass
class Outcome:
    """What became of one month, or of many."""

    months: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    spent_cents: Fraction = Fraction(0)
    cap_cents: int = 0
    closest: Fraction = Fraction(0)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Self) -> None:
        """Takes in the outcome of other months; the dearest month stays."""
        self.months += other.months
        self.counts.update(other.counts)
        if other.spent_cents > self.spent_cents:
            self.spent_cents, self.cap_cents = other.spent_cents, other.cap_cents
        self.closest = max(self.closest, other.closest)
        self.wrong = (self.wrong + other.wrong)[:200]


def simulate(seed: int) -> Outcome:
    """One month, wholly decided by its seed."""
    account = build(seed)
    world, dice = account.world, account.world.random
    first = world.now
    starts = _starts(dice, first)
    for number, moment in enumerate(starts):
        world.spawn(_begin(account, number, dice.choice([0, 0, 0, 0, 0, 1])), (moment - first).total_seconds())
    for _ in range(dice.randint(0, 6)):
        seconds = (dice.choice(starts) - first).total_seconds() + dice.choice([20, 600, 20000]) * dice.random()
        world.spawn(_change(account), seconds)
    mischief.spawn(account, starts)
    if dice.random() < 0.05:
        world.spawn(account.kill_switch(), (dice.choice(starts) - first).total_seconds() + dice.uniform(0, 7200))
    with installed():
        ended = world.run()
    return _close(account, seed, ended)


def build(seed: int) -> Account:
    """An empty account at the beginning of a random month."""
    dice = random.Random(seed)
    first = datetime(dice.randint(2025, 2032), dice.randint(1, 12), 1, tzinfo=UTC)
    world = World(dice, first, dice.choice([100, 500, 1000, 2500, 2500, 2500, 4000, 10000]))
    if dice.random() < 0.2:
        world.lost_events, world.late_events, world.troubled = 0.4, 0.4, 0.15
    greedy, at_once = dice.random() < 0.2, dice.random() < 0.5
    return Account(world, greedy=greedy, at_once=at_once, sweep_seconds=dice.choice(SWEEPS))


def _close(account: Account, seed: int, ended: bool) -> Outcome:
    """Counts the month and collects what went wrong, with the seed that repeats it."""
    truth: dict[str, Fraction] = {}
    try:
        truth = account.audit.close(account.table)
    except (KeyError, ValueError) as error:
        account.audit.add(f"the ledger holds an uncountable item: {type(error).__name__} {error}")
    wrong = [words for words in account.audit.wrong if not _is_excused(account, words)]
    wrong += [] if ended else ["the month did not end"]
    outcome = Outcome(1, Counter(account.counts), wrong=[f"month {seed}: {words}" for words in wrong])
    outcome.counts["runs"] = len(account.executions)
    outcome.counts["leaks"] = sum(any(sign in words for sign in LEAKS) for words in wrong)
    for month, cents in truth.items():
        cap = account.audit.cap_at_last_reservation.get(month, 0)
        outcome.closest = max(outcome.closest, cents / cap if cap else Fraction(0))
        if cents > outcome.spent_cents:
            outcome.spent_cents, outcome.cap_cents = cents, cap
    return outcome


def _is_excused(account: Account, words: str) -> bool:
    """Whether a service that was away, or damage, explains it: a tear-down that waits for days costs a few cents that nobody reserved, and what
    could not be noted in a damaged item is booked for longer than it was there."""
    away = {one.place for one in account.world.faults} & {*SERVICES.values()}
    if OVERBOOKED in words:
        return bool(account.counts["damaged items"] or account.counts["late calls"])
    if not (away or account.counts["damaged items"]) or " on " in words or " used " in words:
        return False
    found = re.search(r"([\d.]+) (?:besides .*|of|and recorded|spent under a cap of) .*?(\d+)", words)
    return found is not None and float(found[1]) - int(found[2]) <= outages.WAITING_CENTS


def _starts(dice: random.Random, first: datetime) -> list[datetime]:
    """When the runs of a month start: spread over it, in bursts, or in its last hours and beyond."""
    length = calendar.monthrange(first.year, first.month)[1] * 86400
    number = dice.choice(RUNS)
    kind = dice.choice(["spread", "burst", "burst", "end of the month"])
    if kind == "spread":
        moments = [dice.uniform(0, length) for _ in range(number)]
    elif kind == "burst":
        bursts = [dice.uniform(0, length) for _ in range(dice.randint(1, 3))]
        moments = [
            dice.choice(bursts) + dice.choice([0, 0, dice.uniform(0, 5), dice.uniform(0, 7200)]) for _ in range(number)
        ]
    else:
        moments = [length + dice.choice([1, 3]) * dice.uniform(-14400, 7200) for _ in range(number)]
    return [first + timedelta(seconds=moment) for moment in sorted(max(0.0, moment) for moment in moments)]


@at_once
def _begin(account: Account, number: int, same_name: int) -> None:
    """Starts one execution, now and then with a name that reads like the one before it."""
    world, dice, greedy = account.world, account.world.random, account.greedy
    name = f"run-{number}" if not (same_name and number) else f"run.{number - 1}"
    if execution_arn(MACHINE, name) in account.executions:
        return
    # Some only serve, and then for a time.
    serves = dice.random() < 0.15
    given = RunParameters(
        training_seconds=dice.choice([1800, 3600, 7200, 7200, 21600]),
        deadline_seconds=dice.choice([MINIMUM_DEADLINE_SECONDS, 3600, 3600, 14400]),
        keep_seconds=dice.choice([0, 0, 0, 600, 3600, 14400][3 * serves :]),
        instance_types=dice.choice(INSTANCE_TYPES),
        failing=0.0 if greedy else dice.choice([0.0, 0.3, 1.0]),
        hanging=1.0 if greedy else dice.choice([0.0, 0.0, 0.3, 1.0]),
        extreme=0.95 if greedy else dice.choice([0.0, 0.1, 0.9]),
        spot=number % 3 == 2,  # of a burst, too, some are
        serves=serves,
        training_instances=dice.choice([1] * 12 + [2, 2, 3, 4]),
        pull_seconds=dice.choice([0.0] * 9 + [720.0]),
    )
    dear = replace(given, instance_types=(DEARER,), training_seconds=1800, deadline_seconds=MINIMUM_DEADLINE_SECONDS)
    before, after = dice.choice([(given, given)] * 18 + [(given, dear), (dear, given)])
    execution = runs.start(account, name, before)
    if after is not before:
        world.spawn(_deploy(account, execution, after), dice.choice([0, 5, 7200]) * dice.random())
    if dice.random() < 0.2 and not greedy:
        world.spawn(_abort(account, execution), dice.choice([60, 1800, 14400]) * dice.random())


@at_once
def _deploy(account: Account, execution: Execution, given: RunParameters) -> None:
    """Other settings are deployed while an execution goes on with the definition of those that it began with."""
    account.deployed[execution.arn] = given


@at_once
def _abort(account: Account, execution: Execution) -> None:
    """A person stops the execution."""
    if execution.status == "RUNNING":
        account.count("aborted")
    account.finish(execution, "ABORTED")


def _change(account: Account) -> Process:
    """The cap is raised or lowered, a price changes, the Price List goes out of reach or comes back; mostly while runs begin."""
    world, dice = account.world, account.world.random
    if dice.random() < 0.6:
        world.cap_cents = dice.choice([100, 700, 1500, 2500, 3000, 6000])
        account.audit.cap_changed()
    while account.planning:
        yield 5.0, False
    if dice.random() < 0.5:
        usd = account.market.prices
        # As far as prices move: AWS has halved some, and a list that names three times a known price is still believed.
        changed = dice.choice(sorted(usd))
        usd[changed] = f"{dice.uniform(0.5, 3) * float(HOURLY_USD[changed]):.4f}"
        # And a list that names less than the known price may be wrong.
        account.lies.discard(changed)
        if float(usd[changed]) < float(HOURLY_USD[changed]) and dice.random() < 0.5:
            account.lies.add(changed)
    account.price_list.answers = dice.random() < 0.8


def simulate_many(seeds: range) -> Outcome:
    """Several months, one after the other."""
    together = Outcome()
    for seed in seeds:
        together.add(simulate(seed))
    return together


def prove(pool: Executor, months: int, seed: int) -> Result:
    """The months as a part of the proof."""
    outcome = Outcome()
    parts = [range(at, min(at + _SIZE, seed + months)) for at in range(seed, seed + months, _SIZE)]
    for part in pool.map(simulate_many, parts):
        outcome.add(part)
    counts = outcome.counts
    lines = [
        ("months", f"{outcome.months:,} (seeds {seed} to {seed + months - 1})"),
        ("runs started", f"{counts['runs']:,}"),
        ("reserved", f"{counts['reserved']:,}"),
        ("clamped to what was left", f"{counts['clamped']:,}"),
        ("rejected for the budget", f"{counts['BudgetExceeded']:,}"),
        ("rejected for an unknown price", f"{counts['PriceUnknown']:,}"),
        ("rejected for a lost ledger", f"{counts['LedgerLost']:,}"),
        ("rejected for a name in use", f"{counts['RunNameTaken']:,}"),
        ("removed by the sweeper", f"{counts['swept']:,}"),
        ("maximum spend of a month", f"{float(outcome.spent_cents):,.2f} cents under a cap of {outcome.cap_cents:,}"),
        ("closest to its cap", f"{float(outcome.closest):.2%}"),
        ("leaks", f"{counts['leaks']}"),
    ]
    return Result("Months of trouble", lines, outcome.wrong)
