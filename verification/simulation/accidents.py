"""What people and chance do to a run beside outages: a deploy in its middle, damaged ledger items, images that come slowly."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

from common.ledger import keys
from verification.simulation import runs
from verification.simulation.account import calm
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

TRIALS = 8
# A type that costs 25 times as much as the one that runs are reserved for.
DEARER = "ml.p4d.24xlarge"
# A person reads the alarm and puts a damaged item right within a day.
REPAIRED_SECONDS = 86400
Attributes = dict[str, Any]
# What an item can look like that no code of ours wrote.
DAMAGES: dict[str, Callable[[Attributes], None]] = {
    "a BOOL": lambda row: row.update(note={"BOOL": True}),
    "a NULL": lambda row: row.update(keep_until={"NULL": True}),
    "a map": lambda row: row.update(status={"M": {"a": {"S": "b"}}}),
    "a decimal": lambda row: row.update(reserved_cents={"N": "587.5"}),
    "no state": lambda row: row.pop("state", None),
    "no date": lambda row: row.update(reserved_at={"S": "yesterday"}),
    "no months": lambda row: row.pop("months", None),
    # What can be read, and cannot be true.
    "a year to keep": lambda row: row.update(keep_endpoint_seconds={"N": "31536000"}),
    "a reservation of 2036": lambda row: row.update(reserved_at={"S": "2036-11-10T12:00:00+00:00"}),
    "a hundredth of the price": lambda row: row.update(hosting_prices={"S": "ml.g5.2xlarge=0.01515"}),
    # What could be true by itself, and is not what was reserved.
    "half the price": lambda row: row.update(hosting_prices={"S": "ml.g5.2xlarge=0.76"}),
    "no small items": lambda row: row.update(other_cents={"N": "0"}),
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

    def harm() -> bool:
        row = account.table.rows.get(keys.of_run("captune-one"))
        if row is None:
            return False
        whole = dict(row)
        DAMAGES[kind](row)
        harmed = dict(row)

        def repair() -> Any:
            # What the code has written since then stays; what was damaged is put back.
            now = account.table.rows[keys.of_run("captune-one")]
            for name in {**whole, **harmed}:
                if now.get(name) == harmed.get(name) and whole.get(name) != harmed.get(name):
                    now.pop(name, None) if name not in whole else now.update({name: whole[name]})
            return
            yield 0.0, False

        account.world.spawn(repair(), REPAIRED_SECONDS)
        return True

    when(account, first, moment, harm)
    return finish(account, f"accident ledger item with {kind}/{seed}")


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
