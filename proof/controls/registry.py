"""The registry of the negative controls: what is taken away, for how long, and what has to notice."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proof.simulation import months
from proof.simulation.defences import DEFENCES

Broken = list[str]
# Months until a mutation has to be noticed, unless it says otherwise.
PATIENCE = 600


@dataclass(frozen=True)
class Mutation:
    """What is taken away, and what has to notice. `caught()` answers what it saw broken; an empty list is a miss."""

    name: str
    removed: Callable[[], AbstractContextManager[None]]
    caught: Callable[[], Broken]


@dataclass(frozen=True)
class Verdict:
    """Whether a mutation was noticed, and by which broken promise."""

    name: str
    noticed: bool
    words: str


MUTATIONS: list[Mutation] = []


def register(name: str, removed: Callable[[], AbstractContextManager[None]], caught: Callable[[], Broken]) -> None:
    """Adds a mutation to the registry."""
    MUTATIONS.append(Mutation(name, removed, caught))


@contextmanager
def replaced(owner: Any, attribute: str, value: Any) -> Iterator[None]:
    """Replaces an attribute of a module, class or object for a while."""
    missing = object()
    before = vars(owner).get(attribute, missing)
    setattr(owner, attribute, value)
    try:
        yield
    finally:
        if before is missing:
            # A built-in that the module's own name hid for a while.
            delattr(owner, attribute)
        else:
            setattr(owner, attribute, before)


@contextmanager
def everywhere(original: Any, value: Any) -> Iterator[None]:
    """Replaces a function in every module of the Lambdas that imported it by its name."""
    name, folder = original.__name__, str(Path(__file__).resolve().parents[2] / "lambdas")
    holders = [
        module
        for module in list(sys.modules.values())
        if str(getattr(module, "__file__", None) or "").startswith(folder) and vars(module).get(name) is original
    ]
    with ExitStack() as stack:
        for module in holders:
            stack.enter_context(replaced(module, name, value))
        yield


def replacing(owner: Any, attribute: str, value: Any) -> Callable[[], AbstractContextManager[None]]:
    """The same, to be begun later."""
    return lambda: replaced(owner, attribute, value)


def without(defence: str) -> Callable[[], AbstractContextManager[None]]:
    """Takes one of the workflow's defences away."""
    return replacing(DEFENCES, defence, False)


def random_months(count: int = PATIENCE, first_seed: int = 1) -> Callable[[], Broken]:
    """Looks for a broken promise in random months, one after the other."""

    def look() -> Broken:
        for seed in range(first_seed, first_seed + count):
            wrong = months.simulate(seed).wrong
            if wrong:
                return wrong
        return []

    return look
