"""Outages of one service at a time, of minutes to half a day, at every moment of a run: what was spent beyond what was reserved.

Removal needs SageMaker and Lambda. While one of them is away nothing can end an endpoint, and the table says
what that costs at most; everything else may be away for as long as it likes.
"""

from __future__ import annotations

import random
from concurrent.futures import Executor
from fractions import Fraction

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
# Without these nobody can tell afterwards when an endpoint went.
UNNOTED = ("Step Functions", "ledger", "TearDown's function")
# After the outage: what was waiting is tried again, and the sweeper comes by, which is a quarter of an hour and a little.
AFTERWARDS_SECONDS = 2400


def begin(service: str, seconds: int, seed: int) -> tuple[Account, str]:
    """An account with one run and one outage to come, and what that is in words: every second one hangs instead of refusing."""
    account, dice = calm(seed), random.Random(seed)
    moment = sorted(MOMENTS)[seed % len(MOMENTS)]
    execution = runs.start(account, "one", usual(dice, moment))
    hangs = seed // len(MOMENTS) % 2 == 1
    when(account, execution, moment, taking_away(account, service, seconds, hangs))
    return account, f"outage {service}/{seconds}/{seed} ({moment}{', hanging' if hangs else ''})"


def trial(service: str, seconds: int, seed: int) -> Outcome:
    """One run with one outage."""
    account, words = begin(service, seconds, seed)
    outcome = finish(account, words)
    outcome.struck = int(service in account.world.missed)
    return outcome


def cell(service: str, seconds: int, trials: int = TRIALS, first_seed: int = 1) -> Outcome:
    """All trials of one service and length."""
    together = Outcome()
    for seed in range(first_seed, first_seed + trials):
        together.add(trial(service, seconds, seed))
    return together


def most_cents(service: str, seconds: int) -> Fraction:
    """What an outage may cost beyond a reservation: the endpoint's price for as long as nothing can delete it."""
    if service not in NEEDED:
        return Fraction(0)
    return hourly_cents("ml.g5.2xlarge") * (seconds + AFTERWARDS_SECONDS) / 3600


def broken(service: str, seconds: int, outcome: Outcome) -> list[str]:
    """What a cell has to hold and did not."""
    wrong = list(outcome.wrong)
    if service in UNNOTED:
        # Nobody hears or can note when an endpoint went, so it may be booked for longer than it was there: never for less.
        wrong += [words for words in outcome.money if OVERBOOKED not in words]
    elif service not in NEEDED:
        wrong += outcome.money
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
    return Result("Outages", lines, wrong)


def _length(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds < 3600 else f"{seconds // 3600} h"


def _dollars(cents: Fraction) -> str:
    return f"${float(cents) / 100:.2f}"
