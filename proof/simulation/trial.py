"""One run in a world where something goes wrong at a chosen moment, and what became of it: money, leaks, tear-downs that gave up."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from fractions import Fraction

from common.ledger import keys
from proof.simulation.audit import OVERBOOKED
from proof.simulation.aws.orchestration import MACHINE
from proof.simulation.aws.outages import Outage
from proof.simulation.cleanup import sweeping
from proof.simulation.cloud import Cloud
from proof.simulation.months import build
from proof.simulation.runs import FineTuning
from proof.simulation.wishes import Wishes
from proof.simulation.world import NOON, Execution, Process

# The longest that a trial is looked at after its start. A tear-down that still tries by then has given up for a person.
DAYS = 10
# A tear-down that waits for days goes on asking: a few cents of Lambda and Step Functions that no reservation holds. What a month
# costs beside its runs is set aside apart from them, and this is far below it.
WAITING_CENTS = 6
# What is broken where money was spent that nothing could have held back. Everything else has to hold even then.
MONEY = (" used ", " spent ", OVERBOOKED)
# What no outage excuses: whatever was spent has to be booked, but for what a tear-down that waits may cost.
UNBOOKED = (" and booked ", "spent more than the ledger")
# In the tally: what was to go wrong did.
STRUCK = "struck"


@dataclass
class Outcome:
    """What became of one trial, or of many. Cents are of the run that went furthest beyond its reservation."""

    runs: int = 0
    # The trials in which the trouble met what it was made for: where it never did, nothing was tried.
    struck: int = 0
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
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, other: Outcome) -> Outcome:
        """Takes in another outcome."""
        self.runs, self.reserved = self.runs + other.runs, self.reserved + other.reserved
        self.struck += other.struck
        self.over_cents = max(self.over_cents, other.over_cents)
        self.unbooked_cents = max(self.unbooked_cents, other.unbooked_cents)
        self.overbooked_cents = max(self.overbooked_cents, other.overbooked_cents)
        self.leaks, self.gave_up = self.leaks + other.leaks, self.gave_up + other.gave_up
        self.wrong, self.money = (self.wrong + other.wrong)[:50], (self.money + other.money)[:50]
        for what, count in other.counts.items():
            self.counts[what] = self.counts.get(what, 0) + count
        return self


# Whether the moment has come, of a run and its cloud.
Moment = Callable[[Cloud, Execution], bool]


def _job_runs(cloud: Cloud, execution: Execution) -> bool:
    return any(job.start and job.start <= cloud.world.now for job in cloud.world.sagemaker.jobs.values())


def _deadline_near(cloud: Cloud, execution: Execution) -> bool:
    for one in cloud.world.sagemaker.endpoints.values():
        if cloud.world.owners.get(one.owner) == execution.arn:
            # As it was reserved: a run with little left of the cap gets less than it wished.
            seconds = int(cloud.table.rows[keys.of_run(one.owner)]["endpoint_deadline_seconds"]["N"])
            return one.created + timedelta(seconds=seconds - 300) < cloud.world.now
    return False


MOMENTS: dict[str, Moment] = {
    "before it reserves": lambda cloud, execution: True,
    "reserved": lambda cloud, execution: any(keys.run_in(key) for key in cloud.table.rows),
    "training": _job_runs,
    "endpoint": lambda cloud, execution: bool(cloud.world.sagemaker.endpoints),
    "deadline": _deadline_near,
    "ended": lambda cloud, execution: execution.stop is not None,
}


def usual(dice: random.Random, moment: str = "") -> Wishes:
    """A run of the delivered settings, which goes well, hangs, or lasts as long as AWS allows. It has to come to its moment."""
    wishes = Wishes(
        7200, 3600, dice.choice([0, 0, 0, 1800]), ("ml.g5.2xlarge",), failing=dice.choice([0.0, 0.0, 0.3]),
        hanging=dice.choice([0.0, 1.0]), extreme=dice.choice([0.0, 0.9]),
    )  # fmt: skip
    # Only a run that hangs is still there at its deadline.
    return replace(wishes, hanging=1.0) if moment == "deadline" else wishes


def calm_cloud(seed: int, cap_cents: int = 2500) -> Cloud:
    """A cloud in which nothing goes wrong but what is made to, at noon in the middle of the month."""
    cloud, _ = build(seed)
    world = cloud.world
    world.random, world.now, world.cap_cents = random.Random(seed), NOON, cap_cents
    world.lost_events = world.late_events = world.troubled = 0.0
    return cloud


def begin(cloud: Cloud, name: str, wishes: Wishes, delay: float = 0.0) -> Execution:
    """Starts one run, and the sweeper's rule with it."""
    world = cloud.world
    arn = f"{MACHINE.replace(':stateMachine:', ':execution:')}:{name}"
    execution = Execution(name, arn, world.now + timedelta(seconds=delay))
    world.executions[arn] = execution
    world.spawn(FineTuning(cloud, execution, wishes).process(), delay, execution)
    world.spawn(sweeping(cloud), delay)
    return execution


def when(cloud: Cloud, execution: Execution, moment: str, act: Callable[[], bool], spread: float = 600) -> None:
    """Does something a little after a moment of a run, if that moment ever comes. It answers whether it met anything, which counts."""

    def waiting() -> Process:
        until = cloud.world.now + timedelta(days=2)
        while not MOMENTS[moment](cloud, execution):
            if cloud.world.now > until or (execution.stop and moment != "ended"):
                return
            yield 20.0, False
        yield cloud.world.random.uniform(0, spread), False
        if act():
            cloud.tally.add(STRUCK)

    cloud.world.spawn(waiting(), 0)


def taking_away(cloud: Cloud, service: str, seconds: float, hangs: bool = False) -> Callable[[], bool]:
    """What begins an outage of a service, for `when`."""

    def act() -> bool:
        now = cloud.world.now
        cloud.world.outages.append(Outage(service, now, now + timedelta(seconds=seconds), hangs))
        return True

    return act


def finish(cloud: Cloud, what: str) -> Outcome:
    """Runs a trial to its end and counts it."""
    end = cloud.world.now + timedelta(days=DAYS)
    while cloud.world.now < end and cloud.world.step():
        pass
    cloud.audit.close(cloud.table)
    outcome = Outcome(runs=len(cloud.world.executions), counts=dict(cloud.tally.counts))
    outcome.struck = int(STRUCK in outcome.counts)
    outcome.gave_up = cloud.tally.counts.get("tear-downs that gave up", 0)
    for key, row in cloud.table.rows.items():
        run = keys.run_in(key)
        if run is None:
            continue
        reserved = int(row["reserved_cents"]["N"])
        outcome.reserved += 1
        spent = sum(cloud.audit.truth(run).values(), Fraction(0))
        outcome.over_cents = max(outcome.over_cents, spent - reserved)
        booked = int(row.get("actual_cents", {"N": "0"})["N"])
        outcome.unbooked_cents = max(outcome.unbooked_cents, spent - booked)
        if spent <= reserved:
            outcome.overbooked_cents = max(outcome.overbooked_cents, booked - reserved)
    left = [
        run
        for run in {job.owner for job in cloud.world.sagemaker.jobs.values()}
        if cloud.world.sagemaker.still_there(run)
    ]
    outcome.leaks = len(left) + len(cloud.world.sagemaker.endpoints)
    waited = outcome.unbooked_cents <= WAITING_CENTS
    for words in cloud.audit.wrong:
        unbooked = any(sign in words for sign in UNBOOKED)
        if unbooked and waited and " on " not in words:
            continue
        excusable = not unbooked and any(sign in words for sign in MONEY)
        (outcome.money if excusable else outcome.wrong).append(f"{what}: {words}")
    return outcome
