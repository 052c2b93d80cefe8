"""Why a surviving mutant may survive. Reasons are written down in reasons.toml; one that no longer holds is an error."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from code_mutations.mutant import SURVIVED, Mutant

FILE = Path(__file__).with_name("reasons.toml")
WORDING = "Only the letters of a sentence or a label for a person differ: facts are tested, capitals are not."


@dataclass(frozen=True)
class Reason:
    """Some changes of one line, and why none of them has to be noticed."""

    place: str
    line: str
    becomes: tuple[str, ...]
    why: str


def read(text: str) -> list[Reason]:
    """The reasons of a file.

    Raises:
        ValueError: an entry lacks something, says nothing, or repeats another one.
    """
    reasons, seen = list[Reason](), set[tuple[str, str, str]]()
    for entry in tomllib.loads(text).get("survivor", []):
        if set(entry) != {"place", "line", "becomes", "why"} or not all(entry.values()):
            raise ValueError(f"a survivor has place, line, becomes and why: {entry}")
        reason = Reason(entry["place"], entry["line"], tuple(entry["becomes"]), entry["why"])
        for after in reason.becomes:
            if (reason.place, reason.line, after) in seen:
                raise ValueError(f"given twice: {reason.place}: {after}")
            seen.add((reason.place, reason.line, after))
        reasons.append(reason)
    return reasons


@dataclass(frozen=True)
class Judgement:
    """Survivors that nobody has given a reason for, and reasons that no survivor needs any more."""

    unexplained: tuple[Mutant, ...]
    stale: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether every survivor has a reason, and every reason a survivor."""
        return not self.unexplained and not self.stale


def judge(
    mutants: Iterable[Mutant], reasons: Iterable[Reason], files: Iterable[str], sampled: Iterable[str] = ()
) -> Judgement:
    """Compares the survivors of some measured files with the reasons that are given for these files.

    Of `sampled` files not every mutant was tried, so none of their reasons can be called stale.
    """
    alive = [mutant for mutant in mutants if mutant.fate == SURVIVED and not mutant.is_wording]
    measured = set(files)
    given = {
        (reason.place, reason.line, after)
        for reason in reasons
        if reason.place.split(" ")[0] in measured
        for after in reason.becomes
    }
    keys = {(one.place, one.before, one.after) for one in alive}
    partly = set(sampled)
    return Judgement(
        tuple(one for one in alive if (one.place, one.before, one.after) not in given),
        tuple(
            f"{place}: {before} -> {after}"
            for place, before, after in sorted(given - keys)
            if place.split(" ")[0] not in partly
        ),
    )
