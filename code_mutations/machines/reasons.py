"""Why a mutant may live: reasons.yaml, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import yaml

FILE = Path(__file__).parent / "reasons.yaml"


class Reason(NamedTuple):
    """Names of mutants, as a regular expression that has to fit a whole name, and why no test but the snapshot minds them."""

    mutants: str
    reason: str

    def fits(self, name: str) -> bool:
        """Whether it is the reason of a mutant."""
        return re.fullmatch(self.mutants, name) is not None


def read(path: Path = FILE) -> list[Reason]:
    """The reasons of a file: a list of {mutants, reason}."""
    return [Reason(**entry) for entry in yaml.safe_load(path.read_text(encoding="utf-8")) or []]


def stale(reasons: Collection[Reason], noticed: Collection[str], living: Collection[str]) -> list[str]:
    """What is wrong with reasons: for mutants that a test notices, and for none that there is."""
    wrong = []
    for reason in reasons:
        wrong += [f"a test notices {name}, for which a reason is given" for name in noticed if reason.fits(name)]
        if not any(reason.fits(name) for name in living):
            wrong.append(f"no living mutant is called {reason.mutants}")
    return wrong
