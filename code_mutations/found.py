"""What was found of each part the last time, so that the table can be put together without trying anything again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from code_mutations.mutant import Mutant
from code_mutations.workplace import FOLDER, CannotMutate


@dataclass(frozen=True)
class Found:
    """The mutants of a part that were tried. `is_sample` when these were not all."""

    mutants: Sequence[Mutant]
    is_sample: bool


def keep(part: str, found: Found) -> None:
    """Writes down what was found of a part."""
    kept = {"is_sample": found.is_sample, "mutants": [asdict(one) for one in found.mutants]}
    _file(part).write_text(json.dumps(kept), "utf-8")


def last(part: str) -> Found:
    """What was found of a part the last time. Raises CannotMutate when it was never tried."""
    if not _file(part).is_file():
        raise CannotMutate(f"{part} was not tried yet: make mutate-python ARGS={part}")
    kept = json.loads(_file(part).read_text("utf-8"))
    return Found([Mutant(**one) for one in kept["mutants"]], kept["is_sample"])


def _file(part: str) -> Path:
    return FOLDER / part / "found.json"
