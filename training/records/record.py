"""The records of a training file, as Preflight's own reader reads them, and the tokens that each becomes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from common.records import Record, RecordsFaulty, hold_records, read
from failure import TrainingFailure

IGNORED = -100  # label of a position that is not to be learnt: torch's own convention for cross entropy
CONTEXT, LEARNT, SCORED = 0, 1, 2  # of a token: only read; learnt too; an answer's own, and so scored too

Row = tuple[list[int], list[int]]  # token ids, and the token that is to follow each


def read_records(path: Path) -> list[Record]:
    """The records of a .jsonl file. Raises TrainingFailure naming the lines that are malformed."""
    try:
        return read(path.read_text(encoding="utf-8"), path.name)[0]
    except RecordsFaulty as fault:
        raise TrainingFailure(str(fault), "Stage the records again with a new run.") from None


def holds_records(path: Path) -> bool:
    """Whether a .jsonl file holds records and not documents, as its first line says."""
    with path.open(encoding="utf-8") as lines:
        return hold_records(next((line for line in lines if line.strip()), ""))


@dataclasses.dataclass(frozen=True)
class Tokens:
    """A record's tokens, and for each whether it is `CONTEXT`, `LEARNT` or `SCORED`."""

    tokens: tuple[int, ...]
    marks: tuple[int, ...]

    @property
    def scored(self) -> tuple[int, ...]:
        """The answers' own tokens."""
        return tuple(token for token, mark in zip(self.tokens, self.marks, strict=True) if mark == SCORED)


def pieces(sequence: Tokens, length: int, least: int) -> list[Row]:
    """(inputs, labels) of at most `length` tokens that hold every token marked `least` or more as a label exactly once.

    A sequence that fits is one piece. A longer one is cut so that what is learnt first in a piece has half a piece of context
    before it; stretches of context alone are in no piece.
    """
    inputs = list(sequence.tokens[:-1])
    labels = [
        token if mark >= least else IGNORED for token, mark in zip(sequence.tokens[1:], sequence.marks[1:], strict=True)
    ]
    if len(inputs) <= length:
        return [(inputs, labels)]
    found: list[Row] = []
    done = 0
    while (first := _next_label(labels, done)) is not None:
        begin = max(0, min(first - length // 2, len(inputs) - length))
        end = min(len(inputs), begin + length)
        found.append((inputs[begin:end], [IGNORED] * (first - begin) + labels[first:end]))
        done = end
    return found


def _next_label(labels: Sequence[int], start: int) -> int | None:
    return next((place for place in range(start, len(labels)) if labels[place] != IGNORED), None)
