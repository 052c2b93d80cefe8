"""Thousands of months of trouble: random runs against one cap, by the definitions themselves and whole Lambdas.

python -m proof.simulation.months --months 3000 --seed 1        the whole of it, on two processes
python -m proof.simulation.months --only 4711                    one month again, by the seed that a failure printed
"""

from __future__ import annotations

import argparse
import calendar
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from proof.choice import positive
from proof.result import Result
from proof.simulation.audit import Audit
from proof.simulation.aws.orchestration import MACHINE, PriceList, Scheduler, StepFunctions
from proof.simulation.aws.price_list import HOURLY_USD
from proof.simulation.aws.table import Table
from proof.simulation.cleanup import TearDown, killing, sweeping
from proof.simulation.cloud import Cloud
from proof.simulation.runs import FineTuning
from proof.simulation.wishes import Wishes
from proof.simulation.world import Execution, Process, World

# What is still there, or still billed, after all is settled.
LEAKS = ("is still reserved", "left something behind", "still billed", "were never reserved")
INSTANCE_TYPES = (
    ("ml.g5.2xlarge",), ("ml.g5.2xlarge",), ("ml.g5.2xlarge", "ml.g6.2xlarge"), ("ml.g6.2xlarge", "ml.g5.12xlarge", "ml.g5.2xlarge"),
    ("ml.g5.12xlarge",), ("ml.g5.2xlarge", "ml.unheard.of"),
)  # fmt: skip


@dataclass
class Outcome:
    """What became of one month, or of many."""

    months: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    spent_cents: Fraction = Fraction(0)
    cap_cents: int = 0
    closest: Fraction = Fraction(0)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Takes in the outcome of other months; the dearest month stays."""
        self.months += other.months
        for what, count in other.counts.items():
            self.counts[what] = self.counts.get(what, 0) + count
        if other.spent_cents > self.spent_cents:
            self.spent_cents, self.cap_cents = other.spent_cents, other.cap_cents
        self.closest = max(self.closest, other.closest)
        self.wrong = (self.wrong + other.wrong)[:200]


def simulate(seed: int) -> Outcome:
    """One month, wholly decided by its seed."""
    cloud, dice = build(seed)
    world = cloud.world
    first = world.now
    starts = _starts(dice, first)
    for number, start in enumerate(starts):
        world.spawn(_begin(cloud, number, dice.choice([0, 0, 0, 0, 0, 1])), (start - first).total_seconds())
    for _ in range(dice.randint(0, 6)):
        moment = (dice.choice(starts) - first).total_seconds() + dice.choice([20, 600, 20000]) * dice.random()
        world.spawn(_change(cloud), moment)
    if dice.random() < 0.05:
        world.spawn(killing(cloud), (dice.choice(starts) - first).total_seconds() + dice.uniform(0, 7200))
    limit = 200_000
    while world.step() and limit:
        limit -= 1
    return close(cloud, seed, limit)


def build(seed: int) -> tuple[Cloud, random.Random]:
    """An empty cloud at the beginning of a random month."""
    dice = random.Random(seed)
    first = datetime(dice.randint(2025, 2032), dice.randint(1, 12), 1, tzinfo=UTC)
    cap_cents = dice.choice([100, 500, 1000, 2500, 2500, 2500, 4000, 10000])
    world = World(dice, first, cap_cents)
    if dice.random() < 0.2:
        world.lost_events, world.late_events, world.troubled = 0.4, 0.4, 0.15
    table = Table(trouble=world.trouble, pause=world.interleave)
    audit = Audit(world)
    table.observe = audit.observe
    price_list = PriceList({name: HOURLY_USD[name] for name in ("ml.g5.2xlarge", "ml.g6.2xlarge", "ml.g5.12xlarge")})
    cloud = Cloud(world, table, audit, price_list, Scheduler(world), StepFunctions(world))
    cloud.greedy = dice.random() < 0.2
    world.start_tear_down = lambda event, name: TearDown(cloud, event, name).process()
    return cloud, dice


def close(cloud: Cloud, seed: int, limit: int = 1) -> Outcome:
    """Counts the month and collects what went wrong, with the seed that repeats it."""
    truth = cloud.audit.close(cloud.table)
    wrong = [*cloud.audit.wrong, *([] if limit else ["the month did not end"])]
    outcome = Outcome(1, dict(cloud.tally.counts), wrong=[f"seed {seed}: {words}" for words in wrong])
    outcome.counts["runs"] = len(cloud.world.executions)
    outcome.counts["leaks"] = sum(any(sign in words for sign in LEAKS) for words in wrong)
    for month, cents in truth.items():
        cap = cloud.audit.cap_at_last_reservation.get(month, 0)
        outcome.closest = max(outcome.closest, cents / cap if cap else Fraction(0))
        if cents > outcome.spent_cents:
            outcome.spent_cents, outcome.cap_cents = cents, cap
    return outcome


def _starts(dice: random.Random, first: datetime) -> list[datetime]:
    """When the runs of a month start: spread over it, in bursts, or in its last hours and beyond."""
    length = calendar.monthrange(first.year, first.month)[1] * 86400
    runs = dice.randint(1, 10)
    kind = dice.choice(["spread", "burst", "burst", "end of the month"])
    if kind == "spread":
        moments = [dice.uniform(0, length) for _ in range(runs)]
    elif kind == "burst":
        bursts = [dice.uniform(0, length) for _ in range(dice.randint(1, 3))]
        moments = [
            dice.choice(bursts) + dice.choice([0, 0, dice.uniform(0, 5), dice.uniform(0, 7200)]) for _ in range(runs)
        ]
    else:
        moments = [length + dice.choice([1, 2, 10]) * dice.uniform(-14400, 7200) for _ in range(runs)]
    return [first + timedelta(seconds=moment) for moment in sorted(max(0.0, moment) for moment in moments)]


def _begin(cloud: Cloud, number: int, same_name: int) -> Process:
    """Starts one execution, now and then with a name that reads like the one before it."""
    world, dice = cloud.world, cloud.world.random
    name = f"run-{number}" if not (same_name and number) else f"run.{number - 1}"
    execution = Execution(name, f"{MACHINE.replace(':stateMachine:', ':execution:')}:{name}", world.now)
    if execution.arn in world.executions:
        return
    world.executions[execution.arn] = execution
    world.spawn(sweeping(cloud), 0)
    wishes = Wishes(
        training_seconds=dice.choice([1800, 3600, 7200, 7200, 21600]),
        deadline_seconds=dice.choice([1200, 3600, 3600, 14400]),
        keep_seconds=dice.choice([0, 0, 0, 600, 3600, 14400]),
        instance_types=dice.choice(INSTANCE_TYPES),
        failing=0.0 if cloud.greedy else dice.choice([0.0, 0.3, 1.0]),
        hanging=1.0 if cloud.greedy else dice.choice([0.0, 0.0, 0.3, 1.0]),
        extreme=0.95 if cloud.greedy else dice.choice([0.0, 0.1, 0.9]),
        spot=number % 3 == 2,  # of a burst, too, some are
        # By dice of their own: a month's others fall as they always did.
        training_instances=random.Random(f"{world.now} {number}").choice([1] * 12 + [2, 2, 3, 4]),
    )
    world.spawn(FineTuning(cloud, execution, wishes).process(), 0, execution)
    if dice.random() < 0.2 and not cloud.greedy:
        world.spawn(_end(cloud, execution, "ABORTED"), dice.choice([60, 1800, 14400]) * dice.random())
    return
    yield 0.0, False


def _end(cloud: Cloud, execution: Execution, status: str) -> Process:
    """A person aborts the execution, or its time is over."""
    if execution.status == "RUNNING":
        cloud.tally.add(status.lower())
    cloud.world.finish(execution, status)
    return
    yield 0.0, False


def _change(cloud: Cloud) -> Process:
    """The cap is raised or lowered, a price changes, the Price List goes out of reach or comes back; mostly while runs begin."""
    world, dice = cloud.world, cloud.world.random
    if dice.random() < 0.6:
        world.cap_cents = dice.choice([100, 700, 1500, 2500, 3000, 6000])
        cloud.audit.cap_changed()
    while cloud.planning:
        yield 5.0, False
    if dice.random() < 0.5:
        usd = cloud.price_list.hourly_usd
        # As far as prices move: AWS has halved some, and a list that names three times a known price is still believed.
        changed = dice.choice(sorted(usd))
        usd[changed] = f"{dice.uniform(0.5, 3) * float(HOURLY_USD[changed]):.4f}"
    cloud.price_list.answers = dice.random() < 0.8


def simulate_many(seeds: range) -> Outcome:
    """Several months, one after the other."""
    together = Outcome()
    for seed in seeds:
        together.add(simulate(seed))
    return together


def run(months: int, seed: int = 1, processes: int = 2) -> Outcome:
    """Many months on several processes."""
    together, size = Outcome(), 100
    parts = [range(at, min(at + size, seed + months)) for at in range(seed, seed + months, size)]
    if processes == 1:
        parts_done = map(simulate_many, parts)
        for part in parts_done:
            together.add(part)
        return together
    with ProcessPoolExecutor(processes) as pool:
        for part in pool.map(simulate_many, parts):
            together.add(part)
    return together


def prove(months: int = 3_000, seed: int = 1, processes: int = 2) -> Result:
    """The months as a part of the table."""
    outcome = run(months, seed, processes)
    counts = outcome.counts
    lines = [
        ("months", f"{outcome.months:,} (seeds {seed} to {seed + months - 1})"),
        ("runs started", f"{counts.get('runs', 0):,}"),
        ("reserved", f"{counts.get('reserved', 0):,}"),
        ("clamped to what was left", f"{counts.get('clamped', 0):,}"),
        ("refused for the budget", f"{counts.get('BudgetExceeded', 0):,}"),
        ("refused for an unknown price", f"{counts.get('PriceUnknown', 0):,}"),
        ("refused for a name in use", f"{counts.get('RunNameTaken', 0):,}"),
        ("removed by the sweeper", f"{counts.get('swept', 0):,}"),
        ("maximum spend of a month", f"{float(outcome.spent_cents):,.2f} cents under a cap of {outcome.cap_cents:,}"),
        ("closest to its cap", f"{float(outcome.closest):.2%}"),
        ("leaks", f"{counts.get('leaks', 0)}"),
    ]
    return Result("Months of trouble", lines, outcome.wrong)


def main() -> int:
    """Prints the outcome; 1 when anything went wrong."""
    parser = argparse.ArgumentParser(description="Random months against one cap.")
    parser.add_argument("--months", type=positive, default=3_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="the seed of one month")
    parser.add_argument("--processes", type=positive, default=2)
    asked = parser.parse_args()
    result = prove(asked.months, asked.seed, asked.processes) if asked.only is None else prove(1, asked.only, 1)
    print(result.text())
    return 1 if result.broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
