"""Outages of a service, or of two at once, of minutes to thirty hours, at every moment of a run: what was spent beyond what was reserved.

Removal needs SageMaker and Lambda. While one of them is away nothing can end an endpoint, nor while two are away of which one
could stand in for the other: the table says what that costs at most. Everything else may be away for as long as it likes.
"""

import random
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from fractions import Fraction
from functools import partial
from itertools import combinations
from typing import Self

from common.ledger import keys
from rehearsal.step_functions.executions import Execution
from verification.simulation import Result, runs
from verification.simulation.account import Account, calm
from verification.simulation.audit import OVERBOOKED
from verification.simulation.faults import outage
from verification.simulation.lambdas import installed
from verification.simulation.parameters import RunParameters
from verification.simulation.price_list import hourly_cents
from verification.simulation.services.dynamodb import number
from verification.simulation.world import NOON, SERVICES, Process

LENGTHS = (900, 3600, 6 * 3600, 30 * 3600)
TRIALS = 18  # each of six moments, refusing and hanging, and half of them once more
# Without these nothing can be removed, whoever asks for it.
NEEDED = ("SageMaker", "Lambda")
# Without these two nothing starts a removal: the event, the schedule and the sweeper are all in need of one of them. Or nobody can tell,
# without the ledger, that a run is over before its endpoint is older than any may be: one that hangs goes on past its deadline.
TOGETHER = (
    "EventBridge + Scheduler",
    "EventBridge + Step Functions",
    "EventBridge + TearDown's function",
    "ledger + Scheduler",
    "ledger + Step Functions",
    "ledger + TearDown's function",
)
PAIR_SECONDS, PAIR_TRIALS = 12 * 3600, 8
# After the outage: what was waiting is tried again, and the sweeper comes by, which is a quarter of an hour and a little.
AFTERWARDS_SECONDS = 2400
# The longest that a trial is looked at after its start. A tear-down that still tries by then has given up for a person.
DAYS = 10
# A tear-down that waits for days goes on asking: a few cents of Lambda and Step Functions that no reservation holds. What a month
# costs beside its runs is set aside apart from them, and this is far below it.
WAITING_CENTS = 6
# What is broken where money was spent that nothing could have held back. Everything else has to hold even then.
MONEY = (" used ", " spent ", OVERBOOKED)
# What no outage excuses: whatever was spent has to be booked, but for what a tear-down that waits may cost.
UNBOOKED = (" and recorded ", "spent more than the ledger")


@dataclass
class Outcome:
    """What became of one trial, or of many. Cents are of the run that went furthest beyond its reservation."""

    runs: int = 0
    struck: int = 0  # trials in which something called a service that was away
    reserved: int = 0
    over_cents: Fraction = Fraction(0)
    # The most that a run did cost beyond what is booked for it.
    unbooked_cents: Fraction = Fraction(0)
    # The most that was booked beyond what was spent: too careful, and no money.
    overbooked_cents: Fraction = Fraction(0)
    # The most of that which a look had known better: nothing, for what a look has seen reaches the ledger.
    unlooked_cents: Fraction = Fraction(0)
    leaks: int = 0
    gave_up: int = 0
    wrong: list[str] = field(default_factory=list)
    money: list[str] = field(default_factory=list)

    def add(self, other: Self) -> None:
        """Takes in another outcome: the furthest of its cents, and the sum of the rest."""
        for one in fields(self):
            ours, theirs = getattr(self, one.name), getattr(other, one.name)
            setattr(self, one.name, max(ours, theirs) if one.name.endswith("_cents") else ours + theirs)


# Whether the moment has come, of a run and its account.
Moment = Callable[[Account, Execution], bool]


def _job_runs(account: Account, execution: Execution) -> bool:
    return any(job.started for job in account.sagemaker.jobs)


def _deadline_near(account: Account, execution: Execution) -> bool:
    for one in account.sagemaker.present:
        run = account.sagemaker.run_of(one)
        if account.owners.get(run) == execution.arn:
            # As it was reserved: a run with little left of the cap gets less than it wished.
            seconds = int(account.table.rows[keys.of_run(run)]["endpoint_deadline_seconds"]["N"])
            return one.created + timedelta(seconds=seconds - 300) < account.world.now
    return False


MOMENTS: dict[str, Moment] = {
    "before it reserves": lambda account, execution: True,
    "reserved": lambda account, execution: any(keys.run_in(key) for key in account.table.rows),
    "training": _job_runs,
    "endpoint": lambda account, execution: bool(account.sagemaker.present),
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
    outcome.gave_up = account.counts["teardowns that gave up"]
    for run, row in account.runs().items():
        reserved = int(row["reserved_cents"]["N"])
        outcome.reserved += 1
        spent = sum(account.audit.truth(run).values(), Fraction(0))
        outcome.over_cents = max(outcome.over_cents, spent - reserved)
        booked = number(row, "actual_cents")
        outcome.unbooked_cents = max(outcome.unbooked_cents, spent - booked)
        # What is beside the instances is booked as reserved, whatever it was.
        told = number(row, "training_cents") + number(row, "endpoint_cents")
        used = sum(account.audit.instances(run).values(), Fraction(0))
        outcome.overbooked_cents = max(outcome.overbooked_cents, told - used)
        unlooked = account.audit.seconds_beyond_looks(run, number(row, "endpoint_seconds"))
        outcome.unlooked_cents = max(outcome.unlooked_cents, unlooked * hourly_cents("ml.g5.2xlarge") / 3600)
    made = {course.run for course in account.sagemaker.jobs.values()}
    outcome.leaks = sum(bool(account.sagemaker.still_there(run)) for run in made) + len(account.sagemaker.present)
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
    counted = ((outcome.leaks, "leaks"), (outcome.gave_up, "teardowns gave up"))
    return [f"{name}: {count} {what}" for count, what in counted if count]


def dollars(cents: Fraction | int) -> str:
    """An amount as it is printed."""
    return f"${float(cents) / 100:.2f}"


def pairs() -> list[str]:
    """Every two services that are not needed by themselves."""
    names = [name for name in SERVICES.values() if name not in NEEDED]
    return [" + ".join(sorted(pair, key=str.lower)) for pair in combinations(names, 2)]


def trial(services: str, seconds: int, seed: int, at: datetime = NOON) -> Outcome:
    """One run, from a moment on, with one outage, of one service or of two: every second one hangs."""
    account, dice = calm(seed, at=at), random.Random(seed)
    moment = sorted(MOMENTS)[seed % len(MOMENTS)]
    execution = runs.start(account, "one", usual(dice, moment))
    hangs = seed // len(MOMENTS) % 2 == 1

    def act() -> None:
        now = account.world.now
        away = (outage(one, now, now + timedelta(seconds=seconds), hangs) for one in services.split(" + "))
        account.world.faults.extend(away)

    when(account, execution, moment, act)
    outcome = finish(account, f"outage {services}/{seconds}/{seed} ({moment}{', hanging' if hangs else ''})")
    faults = account.world.faults
    outcome.struck = int(bool(faults) and all(one.hits for one in faults))
    return outcome


def cell(service: str, seconds: int, trials: int = TRIALS) -> Outcome:
    """All trials of one service and length."""
    return together(partial(trial, service, seconds), trials)


def most_cents(service: str, seconds: int) -> Fraction:
    """What an outage may cost beyond a reservation: the endpoint's price for as long as nothing can delete it."""
    if service not in (*NEEDED, *TOGETHER):
        return Fraction(0)
    return hourly_cents("ml.g5.2xlarge") * (seconds + AFTERWARDS_SECONDS) / 3600


def broken(service: str, seconds: int, outcome: Outcome) -> list[str]:
    """What a cell has to hold and did not."""
    wrong = list(outcome.wrong)
    if service not in (*NEEDED, *TOGETHER):
        wrong += outcome.money
    name, allowed = f"{service} unavailable for {seconds} s", most_cents(service, seconds)
    if outcome.over_cents > allowed:
        over, most = float(outcome.over_cents), float(allowed)
        wrong.append(f"{name}: {over:.0f} cents beyond the reservation, {most:.0f} at most")
    return wrong + unended(name, outcome)


def unmet(service: str, outcomes: list[Outcome]) -> list[str]:
    """That nothing called a service while it was away: then its row says nothing."""
    return [] if any(outcome.struck for outcome in outcomes) else [f"{service} unavailable: no run met it"]


def prove(pool: Executor) -> Result:
    """The outages as a part of the proof: a row for each service and a column for each length, then the pairs."""
    services = list(SERVICES.values())
    cells = [(service, seconds) for service in services for seconds in LENGTHS]
    found = dict(zip(cells, pool.map(cell, *zip(*cells, strict=True)), strict=True))
    outcomes = list(found.values())
    by_service = {service: [found[service, seconds] for seconds in LENGTHS] for service in services}
    met = [f"{service} {sum(one.struck for one in row)}" for service, row in by_service.items()]
    unlooked, unbooked = (max(getattr(one, f"{what}_cents") for one in outcomes) for what in ("unlooked", "unbooked"))
    lines = [
        ("beyond what was reserved, at most", _columns(map(_length, LENGTHS))),
        *(
            (f"  {name} unavailable", _columns(dollars(one.over_cents) for one in row))
            for name, row in by_service.items()
        ),
        ("  worst-case cost", _columns(dollars(most_cents(NEEDED[0], seconds)) for seconds in LENGTHS)),
        ("  cannot be held", f"{', '.join(NEEDED)}: nothing can delete an endpoint without them"),
        ("recorded beyond what was used, at most", ""),
        *(
            (f"  {name} unavailable", _columns(dollars(one.overbooked_cents) for one in row))
            for name, row in by_service.items()
        ),
        ("  beyond the first look that found no endpoint", dollars(unlooked)),
        ("waiting, besides what is recorded", f"{float(unbooked):.1f} cents at most, {WAITING_CENTS} allowed"),
        ("runs", f"{sum(one.runs for one in outcomes):,}"),
        ("  that met the outage", ", ".join(met)),
        ("leaks", f"{sum(one.leaks for one in outcomes)}"),
        ("teardowns that gave up", f"{sum(one.gave_up for one in outcomes)}"),
    ]
    wrong = [words for service, row in by_service.items() for words in unmet(service, row)]
    wrong += [words for (service, seconds), one in found.items() for words in broken(service, seconds, one)]
    pairs_held = _pairs(pool)
    return Result("Outages", lines + pairs_held.lines, wrong + pairs_held.broken)


def _pairs(pool: Executor) -> Result:
    """The pairs that cost something, and what no pair held."""
    names = pairs()
    makes = partial(cell, seconds=PAIR_SECONDS, trials=PAIR_TRIALS)
    found = dict(zip(names, pool.map(makes, names), strict=True))
    most = dollars(most_cents(TOGETHER[0], PAIR_SECONDS))
    struck = sum(one.struck for one in found.values())
    lines = [
        ("two services unavailable for 12 h", f"{len(names)} pairs, {struck} runs met both"),
        *(
            (f"  {name}", f"{dollars(one.over_cents)}, {most} at most: cannot be held")
            for name, one in found.items()
            if name in TOGETHER
        ),
        ("  every other pair", "$0.00"),
    ]
    return Result("", lines, [words for name, one in found.items() for words in broken(name, PAIR_SECONDS, one)])


def _columns(cells: Iterable[str]) -> str:
    return " ".join(f"{cell:>8}" for cell in cells)


def _length(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds < 3600 else f"{seconds // 3600} h"
