"""Outages of a service, or of two at once, of minutes to half a day, at every moment of a run: what was spent beyond what was reserved.

Removal needs SageMaker and Lambda. While one of them is away nothing can end an endpoint, nor while two are away of which one
could stand in for the other: the table says what that costs at most. Everything else may be away for as long as it likes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from concurrent.futures import Executor
from datetime import timedelta
from fractions import Fraction
from functools import partial
from itertools import combinations

from verification.simulation import runs
from verification.simulation.account import calm
from verification.simulation.audit import OVERBOOKED
from verification.simulation.price_list import hourly_cents
from verification.simulation.trial import (
    MOMENTS,
    WAITING_CENTS,
    Outcome,
    Result,
    dollars,
    finish,
    together,
    unended,
    usual,
    when,
)
from verification.simulation.world import SERVICES, Outage

LENGTHS = (600, 3600, 7200, 6 * 3600, 12 * 3600)
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
# Without these nobody can tell afterwards when an endpoint went.
UNNOTED = ("Step Functions", "ledger", "TearDown's function")
# After the outage: what was waiting is tried again, and the sweeper comes by, which is a quarter of an hour and a little.
AFTERWARDS_SECONDS = 2400


def pairs() -> list[str]:
    """Every two services that are not needed by themselves."""
    names = [name for name in SERVICES.values() if name not in NEEDED]
    return [" + ".join(sorted(pair, key=str.lower)) for pair in combinations(names, 2)]


def trial(services: str, seconds: int, seed: int) -> Outcome:
    """One run with one outage, of one service or of two: every second one hangs."""
    account, dice = calm(seed), random.Random(seed)
    moment = sorted(MOMENTS)[seed % len(MOMENTS)]
    execution = runs.start(account, "one", usual(dice, moment))
    hangs = seed // len(MOMENTS) % 2 == 1

    def act() -> None:
        now, away = account.world.now, services.split(" + ")
        account.world.outages += [Outage(one, now, now + timedelta(seconds=seconds), hangs) for one in away]

    when(account, execution, moment, act)
    outcome = finish(account, f"outage {services}/{seconds}/{seed} ({moment}{', hanging' if hangs else ''})")
    outcome.struck = int(account.world.missed >= set(services.split(" + ")))
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
        # Without some nobody hears or can note when an endpoint went, so it may be booked for longer than it was there: never for less.
        unnoted = set(service.split(" + ")) & set(UNNOTED)
        wrong += [words for words in outcome.money if not unnoted or OVERBOOKED not in words]
    name, allowed = f"{service} away for {seconds} s", most_cents(service, seconds)
    if outcome.over_cents > allowed:
        over, most = float(outcome.over_cents), float(allowed)
        wrong.append(f"{name}: {over:.0f} cents beyond the reservation, {most:.0f} at most")
    return wrong + unended(name, outcome)


def unmet(service: str, outcomes: list[Outcome]) -> list[str]:
    """That nothing called a service while it was away: then its row says nothing."""
    return [] if any(outcome.struck for outcome in outcomes) else [f"{service} away: no run met it"]


def prove(pool: Executor) -> Result:
    """The outages as a part of the proof: a row for each service and a column for each length, then the pairs."""
    services = list(SERVICES.values())
    cells = [(service, seconds) for service in services for seconds in LENGTHS]
    found = dict(zip(cells, pool.map(cell, *zip(*cells, strict=True)), strict=True))
    outcomes = list(found.values())
    by_service = {service: [found[service, seconds] for seconds in LENGTHS] for service in services}
    met = [f"{service} {sum(one.struck for one in row)}" for service, row in by_service.items()]
    careful, unbooked = (max(getattr(one, f"{what}_cents") for one in outcomes) for what in ("overbooked", "unbooked"))
    lines = [
        ("beyond what was reserved, at most", _columns(map(_length, LENGTHS))),
        *((f"  {name} away", _columns(dollars(one.over_cents) for one in row)) for name, row in by_service.items()),
        ("  the most that it can cost", _columns(dollars(most_cents(NEEDED[0], seconds)) for seconds in LENGTHS)),
        ("  cannot be held", f"{', '.join(NEEDED)}: nothing can delete an endpoint without them"),
        (
            "booked beyond a reservation that was kept",
            f"{dollars(careful)} at most, by the absence of {' or '.join(UNNOTED)}",
        ),
        ("waiting, beside what is booked", f"{float(unbooked):.1f} cents at most, {WAITING_CENTS} allowed"),
        ("runs", f"{sum(one.runs for one in outcomes):,}"),
        ("  that met the outage", ", ".join(met)),
        ("leaks", f"{sum(one.leaks for one in outcomes)}"),
        ("tear-downs that gave up", f"{sum(one.gave_up for one in outcomes)}"),
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
        ("two services away for 12 h", f"{len(names)} pairs, {struck} runs met both"),
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
