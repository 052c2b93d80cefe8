"""What people and chance do to a run beside outages: a deploy in its middle, damaged ledger items, images that come slowly."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

from captune.ledger import NotAccepted, accepted
from common.errors import CaptuneError
from common.ledger import keys
from common.ledger.seal import SEAL
from verification.simulation import runs
from verification.simulation.account import Account, calm
from verification.simulation.audit import OVERBOOKED
from verification.simulation.price_list import HOURLY_USD
from verification.simulation.trial import (
    MOMENTS,
    OVERBOOKED_LINE,
    Outcome,
    Result,
    dollars,
    finish,
    together,
    unended,
    usual,
    when,
)
from verification.simulation.world import Process

TRIALS = 8
# A type that costs 25 times as much as the one that runs are reserved for.
DEARER = "ml.p4d.24xlarge"
# A person reads the alarm and puts a damaged item right within a day.
REPAIRED_SECONDS = 86400
Attributes = dict[str, Any]
# What an item can look like that the ledger did not write so: what cannot be read, what cannot be, and what could have been reserved.
DAMAGES: dict[str, Callable[[Attributes], None]] = {
    "a BOOL": lambda row: row.update(note={"BOOL": True}),
    "a text for a number": lambda row: row.update(training_instances={"S": "1"}),
    "no state": lambda row: row.pop("state", None),
    "another month": lambda row: row.update(months={"S": "2031-01"}),
    "half the price": lambda row: row.update(hosting_prices={"S": "ml.g5.2xlarge=0.76"}),
}


def deploy(moment: str, seed: int) -> Outcome:
    """Dearer types and longer times come or go at a moment of a run, which may only use what was reserved for it."""
    account, dice = calm(seed, 10_000), random.Random(seed)
    account.price_list.hourly_usd[DEARER] = HOURLY_USD[DEARER]
    given = usual(dice, moment)
    changed = replace(given, instance_types=(DEARER,), training_seconds=21600, deadline_seconds=14400)
    if seed % 4 > 1:
        # The dear settings are taken back: what began with them must not go on with them.
        given, changed = changed, given
    execution = runs.start(account, "one", given)

    def change() -> bool:
        account.deployed[execution.arn] = changed
        return execution.stop is None

    when(account, execution, moment, change, spread=3 if moment == "before it reserves" else 300)
    if seed % 2:
        # The next run begins with the new settings, while the first one may still go on.
        runs.start(account, "two", changed, delay=dice.uniform(0, 7200))
    return finish(account, f"accident deploy, {moment}/{seed}")


def damage(kind: str, seed: int) -> Outcome:
    """The item of one run is damaged while it and another run go on, and put right a day later."""
    account, dice, moment = calm(seed), random.Random(seed), _later_moment(seed)
    first = runs.start(account, "one", usual(dice, moment))
    runs.start(account, "two", usual(dice), delay=dice.uniform(0, 30_000))

    when(account, first, moment, lambda: harm(account, keys.of_run("captune-one"), kind))
    return finish(account, f"accident ledger item with {kind}/{seed}")


def harm(account: Account, key: str, kind: str, after: float = REPAIRED_SECONDS) -> bool:
    """Damages an item, which a person puts right later; answers whether there was one."""
    row = account.table.rows.get(key)
    if row is None or SEAL not in row:
        return False
    whole = dict(row)
    DAMAGES[kind](row)
    right = {name: str(next(iter(value.values()))) for name, value in whole.items() if name not in ("pk", SEAL)}
    changes = {**dict.fromkeys(row.keys() - whole.keys(), ""), **right}

    def repair() -> Process:
        while key in account.table.rows and account.world.outage("dynamodb") is not None:
            yield 600.0, False
        with suppress(NotAccepted, CaptuneError):
            accepted(account.ledger(), key, changes, account.world.cap_cents)
        return
        yield 0.0, False

    account.world.spawn(repair(), after)
    return True


def _later_moment(seed: int) -> str:
    """One of the moments at which the ledger holds something."""
    later = sorted(set(MOMENTS) - {"before it reserves"})
    return later[seed % len(later)]


def month_deleted(_: str, seed: int) -> Outcome:
    """The month's own item is deleted while runs are reserved, and more runs want what it held."""
    account, dice, moment = calm(seed, 1500), random.Random(seed), _later_moment(seed)
    first = runs.start(account, "one", usual(dice, moment))
    for number in range(3):
        runs.start(account, f"later-{number}", usual(dice), delay=dice.uniform(600, 20_000))

    def delete() -> bool:
        months = [key for key in account.table.rows if keys.month_in(key)]
        for key in months:
            del account.table.rows[key]
        return bool(months)

    when(account, first, moment, delete)
    outcome = finish(account, f"accident the month's item deleted/{seed}")
    # The item is put right by the next reservation; what counts is that no reservation believed it before.
    outcome.wrong = [words for words in outcome.wrong if " says " not in words and "is negative" not in words]
    return outcome


def another_tag(moment: str, seed: int) -> Outcome:
    """Somebody's program writes its own value into the tag `project` of everything that there is."""
    account = calm(seed)
    execution = runs.start(account, "one", usual(random.Random(seed), moment))
    sagemaker = account.sagemaker

    def tag() -> bool:
        found = [job.tags for job in sagemaker.jobs.values()] + [one.tags for one in sagemaker.endpoints.values()]
        found += [one["Tags"] for one in (*sagemaker.configurations.values(), *sagemaker.models.values())]
        for tags in found:
            tags[:] = [{"Key": "project", "Value": "theirs"}, *(one for one in tags if one["Key"] != "project")]
        return bool(found)

    when(account, execution, moment, tag)
    return finish(account, f"accident another tag, {moment}/{seed}")


def slow_pull(minutes: str, seed: int) -> Outcome:
    """The image takes its time before MaxRuntimeInSeconds begins to count, and is billed."""
    account = calm(seed)
    given = replace(usual(random.Random(seed)), pull_seconds=60.0 * int(minutes), extreme=0.9)
    runs.start(account, "one", given)
    outcome = finish(account, f"accident image pulled in {minutes} minutes/{seed}")
    outcome.struck = int(any(job.pull and job.seconds() > job.pull for job in account.sagemaker.jobs.values()))
    return outcome


# By the line of the table: which trial, and with what.
ROWS: dict[str, tuple[Callable[[str, int], Outcome], str]] = {
    **{f"deploy, {moment}": (deploy, moment) for moment in MOMENTS if moment != "ended"},
    **{f"ledger item with {kind}": (damage, kind) for kind in DAMAGES},
    **{f"another tag, {moment}": (another_tag, moment) for moment in ("training", "endpoint", "deadline")},
    "the month's item deleted": (month_deleted, ""),
    "image pulled in 12 minutes": (slow_pull, "12"),
}


def row(name: str, trials: int = TRIALS, first_seed: int = 1) -> Outcome:
    """All trials of one line."""
    make, what = ROWS[name]
    return together(partial(make, what), trials, first_seed)


def broken(name: str, outcome: Outcome) -> list[str]:
    """What a line has to hold and did not."""
    # While an item is damaged nobody can note in it when an endpoint went, so once it is put right the run may be booked for longer
    # than it lasted: never for less.
    careful = name.startswith("ledger item")
    wrong = [*outcome.wrong, *(words for words in outcome.money if not careful or OVERBOOKED not in words)]
    wrong += [] if outcome.struck else [f"{name}: no trial met it"]
    return wrong + unended(name, outcome)


def two_regions() -> tuple[str, str]:
    """What two deployments would spend together, which the account refuses: each ledger knows its own cap only."""
    spent = Fraction(0)
    for seed in (1, 2):
        account = calm(seed)
        for number in range(6):
            given = replace(usual(random.Random(seed)), hanging=1.0, extreme=1.0)
            runs.start(account, f"run-{number}", given, delay=43_200.0 * number)
        finish(account, "two regions")
        spent += sum((sum(account.audit.truth(run).values()) for run in account.audit.settled_at), Fraction(0))
    words = f"a second one is refused by the account; two would spend {dollars(spent)} under $25.00 each"
    return "two regions", words


def prove(pool: Executor) -> Result:
    """The accidents as a part of the proof."""
    regions = pool.submit(two_regions)
    found = dict(zip(ROWS, pool.map(row, ROWS), strict=True))
    most = dollars(max(one.overbooked_cents for one in found.values()))
    lines = [
        *((name, _told(one)) for name, one in found.items()),
        (OVERBOOKED_LINE, f"{most} at most, after a damaged item was put right"),
        regions.result(),
    ]
    return Result("Accidents", lines, [words for name, one in found.items() for words in broken(name, one)])


def _told(outcome: Outcome) -> str:
    """What became of the trials of one line, in words."""
    counted = (
        (outcome.reserved, "reserved"),
        (outcome.counts["DeployInProgress"], "refused in the middle of a deploy"),
        (outcome.counts["BudgetExceeded"], "refused for the budget"),
    )
    ended = ", ".join(f"{count} {what}" for count, what in counted if count)
    over = f"{dollars(outcome.over_cents)} beyond the reservation"
    return f"{outcome.runs} runs: {ended}; met in {outcome.struck} of {TRIALS} trials; {over}, {outcome.leaks} leaks"
