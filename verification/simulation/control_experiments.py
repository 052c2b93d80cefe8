"""What a control experiment is: one line of defence is taken away, and something has to notice. A check that never failed proves nothing.

Nothing is edited on disk: a control replaces an attribute or a definition for as long as it lasts.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from verification.simulation import months, outages, rows
from verification.simulation.lambdas import loaded
from verification.simulation.world import DEFENCES

# Months until a control has to be noticed: some need damage, an outage and a moment to meet.
PATIENCE = 2000
HOURS = 6 * 3600
_LAST_HOURS = datetime(2026, 11, 30, 15, tzinfo=UTC)  # so late that a whole run is just over before the month is
Patch = Callable[[], AbstractContextManager[None]]


def random_months(first_seed: int = 1) -> str:
    """Looks for a broken promise in random months, one after the other: the first that was seen, with the month's seed."""
    seeds = range(first_seed, first_seed + PATIENCE)
    return next((words for seed in seeds for words in months.simulate(seed).wrong), "")


def from_month(seed: int) -> Callable[[], str]:
    """The random months from one on: for a control that the first hundreds do not notice, to save the proof its time."""
    return lambda: random_months(seed)


@dataclass(frozen=True)
class Control:
    """What is taken away, and what has to notice. `caught()` answers what it saw broken; nothing is a miss."""

    name: str
    removed: Patch
    caught: Callable[[], str] = random_months


@contextmanager
def everywhere(original: Any, value: Any) -> Iterator[None]:
    """Replaces a function in every module of the Lambdas that imported it by its name."""
    name = original.__name__
    with ExitStack() as stack:
        for module in loaded():
            if vars(module).get(name) is original:
                stack.enter_context(patch.object(module, name, value))
        yield


def replacing(owner: Any, attribute: str, value: Any) -> Patch:
    """Replaces an attribute of a module, class or object for a while, to be begun later."""
    return lambda: patch.object(owner, attribute, value)


def together(*removed: Patch) -> Patch:
    """Takes several things away at once."""

    @contextmanager
    def all_of_them() -> Iterator[None]:
        with ExitStack() as stack:
            for one in removed:
                stack.enter_context(one())
            yield

    return all_of_them


def without(defence: str) -> Patch:
    """Takes one of the machinery's defences away."""
    return replacing(DEFENCES, defence, False)


def row(name: str) -> Callable[[], str]:
    """What a row of the table of failures finds wrong."""
    return lambda: next(iter(rows.check(rows.table()[name])), "")


def outage(service: str, seconds: int = HOURS, trials: int = 12) -> Callable[[], str]:
    """What an outage of one service, or of two, breaks."""
    return lambda: next(iter(outages.broken(service, seconds, outages.cell(service, seconds, trials))), "")


def at_a_months_end() -> str:
    """What an outage of Step Functions breaks that lasts from the last hours of a month into the next one."""
    trials = (outages.trial("Step Functions", 10 * 3600, seed, _LAST_HOURS) for seed in range(1, 61))
    return next((words for outcome in trials for words in outcome.wrong), "")
