"""One record of a training file, and the tokens that it becomes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

IGNORED = -100  # label of a position that is not to be learnt: torch's own convention for cross entropy
CONTEXT, LEARNT, SCORED = 0, 1, 2  # of a token: only read; learnt too; an answer's own, and so scored too

Row = tuple[list[int], list[int]]  # token ids, and the token that is to follow each


@dataclasses.dataclass(frozen=True)
class Record:
    """A prompt and its completion, or the messages of a conversation."""

    id: str
    group: str
    prompt: str = ""
    completion: str = ""
    messages: tuple[Mapping[str, str], ...] = ()

    @property
    def answers(self) -> list[str]:
        """What is to be learnt of it."""
        said = [message["content"] for message in self.messages if message["role"] == "assistant"]
        return said if self.messages else [self.completion]


def of_entry(entry: Any) -> Record | None:
    """The record of a line's JSON, None for a line of another kind. Raises ValueError, KeyError or TypeError for a damaged one."""
    if not isinstance(entry, dict) or not {"completion", "messages"} & entry.keys():
        return None
    identifier, group = str(entry["id"]), str(entry["group"])
    if "messages" not in entry:
        return Record(identifier, group, str(entry["prompt"]), str(entry["completion"]))
    messages = tuple({"role": str(one["role"]), "content": str(one["content"])} for one in entry["messages"])
    if messages[-1]["role"] != "assistant":
        raise ValueError("the conversation ends without an answer")
    return Record(identifier, group, messages=messages)


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
