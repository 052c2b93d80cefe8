"""Outages of a service, or of two at once, of minutes to half a day, at every moment of a run: what was spent beyond what was reserved.

Removal needs SageMaker and Lambda. While one of them is away nothing can end an endpoint, nor while two are away of which one
could stand in for the other: the table says what that costs at most. Everything else may be away for as long as it likes.
"""

from __future__ import annotations

import random
from concurrent.futures import Executor
from fractions import Fraction
from itertools import combinations

from verification.simulation import runs
from verification.simulation.account import Account, calm
from verification.simulation.audit import OVERBOOKED
from verification.simulation.price_list import hourly_cents
from verification.simulation.result import Result
from verification.simulation.trial import MOMENTS, WAITING_CENTS, Outcome, finish, taking_away, usual, when
from verification.simulation.world import SERVICES

LENGTHS = (600, 3600, 7200, 6 * 3600, 12 * 3600)
TRIALS = 18  # each of six moments, refusing and hanging, and half of them once more
# Without these nothing can be removed, whoever asks for it.
NEEDED = ("SageMaker", "Lambda")
# Without these two nothing starts a removal: the event, the schedule and the sweeper are all in need of one of them. Or nobody can tell,
# without the ledger, that a run is over before its endpoint is older than any may be.
TOGETHER = (
    "EventBridge + Scheduler",
    "EventBridge + Step Functions",
    "EventBridge + TearDown's function",
    "ledger + Step Functions",
    "ledger + TearDown's function",
)
PAIR_SECONDS, PAIR_TRIALS = 12 * 3600, 6
# Without these nobody can tell afterwards when an endpoint went.
UNNOTED = ("Step Functions", "ledger", "TearDown's function")
# After the outage: what was waiting is tried again, and the sweeper comes by, which is a quarter of an hour and a little.
AFTERWARDS_SECONDS = 2400


def pairs() -> list[str]:
    """Every two services that are not needed by themselves."""
    names = [name for name in SERVICES.values() if name not in NEEDED]
    return [" + ".join(sorted(pair, key=str.lower)) for pair in combinations(names, 2)]


def begin(services: str, seconds: int, seed: int) -> tuple[Account, str]:
    """An account with one run and one outage to come, of one service or of two, and what that is in words: every second hangs."""
    account, dice = calm(seed), random.Random(seed)
    moment = sorted(MOMENTS)[seed % len(MOMENTS)]
    execution = runs.start(account, "one", usual(dice, moment))
    hangs = seed // len(MOMENTS) % 2 == 1
    when(account, execution, moment, taking_away(account, services.split(" + "), seconds, hangs))
    return account, f"outage {services}/{seconds}/{seed} ({moment}{', hanging' if hangs else ''})"


def trial(service: str, seconds: int, seed: int) -> Outcome:
    """One run with one outage."""
    account, words = begin(service, seconds, seed)
    outcome = finish(account, words)
    outcome.struck = int(account.world.missed >= set(service.split(" + ")))
    return outcome


def cell(service: str, seconds: int, trials: int = TRIALS, first_seed: int = 1) -> Outcome:
    """All trials of one service and length."""
    together = Outcome()
    for seed in range(first_seed, first_seed + trials):
        together.add(trial(service, seconds, seed))
    return together


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
    allowed = most_cents(service, seconds)
    if outcome.over_cents > allowed:
        words = f"{float(outcome.over_cents):.0f} cents beyond the reservation, {float(allowed):.0f} at most"
        wrong.append(f"{service} away for {seconds} s: {words}")
    if outcome.leaks:
        wrong.append(f"{service} away for {seconds} s: {outcome.leaks} leaks")
    if outcome.gave_up:
        wrong.append(f"{service} away for {seconds} s: {outcome.gave_up} tear-downs gave up")
    return wrong


def unmet(service: str, outcomes: list[Outcome]) -> list[str]:
    """That nothing called a service while it was away: then its row says nothing."""
    return [] if any(outcome.struck for outcome in outcomes) else [f"{service} away: no run met it"]


def _cell(key: tuple[str, int, int]) -> Outcome:
    return cell(*key)


def _by_pairs(pool: Executor) -> tuple[list[tuple[str, str]], list[str]]:
    """The lines of the pairs that cost something, and what no pair held."""
    names = pairs()
    outcomes = list(pool.map(_cell, [(name, PAIR_SECONDS, PAIR_TRIALS) for name in names]))
    wrong = [words for name, one in zip(names, outcomes, strict=True) for words in broken(name, PAIR_SECONDS, one)]
    lines = [("two services away for 12 h", f"{len(names)} pairs, {sum(one.struck for one in outcomes)} runs met both")]
    for name, one in zip(names, outcomes, strict=True):
        if name in TOGETHER:
            most = _dollars(most_cents(name, PAIR_SECONDS))
            lines.append((f"  {name}", f"{_dollars(one.over_cents)}, {most} at most: cannot be held"))
    return [*lines, ("  every other pair", "$0.00")], wrong


def prove(pool: Executor, trials: int = TRIALS) -> Result:
    """The outages as a part of the proof: a row for each service and a column for each length."""
    services = list(SERVICES.values())
    keys = [(service, seconds, trials) for service in services for seconds in LENGTHS]
    outcomes = list(pool.map(_cell, keys))
    wrong: list[str] = []
    met: list[str] = []
    lines = [("beyond what was reserved, at most", " ".join(f"{_length(seconds):>8}" for seconds in LENGTHS))]
    for service in services:
        found = [outcome for key, outcome in zip(keys, outcomes, strict=True) if key[0] == service]
        lines.append((f"  {service} away", " ".join(f"{_dollars(one.over_cents):>8}" for one in found)))
        met.append(f"{service} {sum(one.struck for one in found)}")
        wrong += unmet(service, found)
        for seconds, outcome in zip(LENGTHS, found, strict=True):
            wrong += broken(service, seconds, outcome)
    most = [_dollars(most_cents(NEEDED[0], seconds)) for seconds in LENGTHS]
    lines.append(("  the most that it can cost", " ".join(f"{one:>8}" for one in most)))
    lines.append(("  cannot be held", f"{', '.join(NEEDED)}: nothing can delete an endpoint without them"))
    unbooked = max((one.unbooked_cents for one in outcomes), default=Fraction(0))
    careful = max((one.overbooked_cents for one in outcomes), default=0)
    lines.append(
        (
            "booked beyond a reservation that was kept",
            f"{_dollars(Fraction(careful))} at most, by the absence of {' or '.join(UNNOTED)}",
        )
    )
    waited = f"{float(unbooked):.1f} cents at most, {WAITING_CENTS} allowed"
    lines.append(("waiting, beside what is booked", waited))
    lines.append(("runs", f"{sum(one.runs for one in outcomes):,}"))
    lines.append(("  that met the outage", ", ".join(met)))
    lines.append(("leaks", f"{sum(one.leaks for one in outcomes)}"))
    lines.append(("tear-downs that gave up", f"{sum(one.gave_up for one in outcomes)}"))
    by_pairs, broken_by_pairs = _by_pairs(pool)
    return Result("Outages", lines + by_pairs, wrong + broken_by_pairs)


def _length(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds < 3600 else f"{seconds // 3600} h"


def _dollars(cents: Fraction) -> str:
    return f"${float(cents) / 100:.2f}"
