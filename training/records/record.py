"""The records of a training file, as Preflight's own reader reads them, and the tokens that the endpoint's server makes of each."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.records import ASSISTANT, Record, RecordsFaulty, hold_records, json_lines, read
from failure import TrainingFailure

IGNORED = -100  # label of a position that is not to be learnt: torch's own convention for cross entropy
CONTEXT, LEARNT, SCORED = 0, 1, 2  # of a token: only read; learnt too; an answer's own, and so scored too

Row = tuple[list[int], list[int]]  # token ids, and the token that is to follow each
Segment = tuple[str, int]  # a stretch of text, and what its tokens are marked


def read_records(path: Path) -> list[Record]:
    """The records of a .jsonl file. Raises TrainingFailure naming the lines that are malformed."""
    try:
        return read(list(json_lines(path.read_text(encoding="utf-8"))), path.name)
    except RecordsFaulty as fault:
        raise TrainingFailure(str(fault), "Start a new execution, which stages the records again.") from None


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


def tokens_of(record: Record, tokenizer: Any) -> Tokens:
    """The record's tokens with their marks. Raises TrainingFailure for a conversation that the model's chat template cannot hold."""
    if record.is_conversation:
        return _joined(_conversation(record, tokenizer), tokenizer)
    # As the server reads a prompt: with a start token only where the tokenizer itself puts one.
    start = tokenizer("")["input_ids"][:1] if tokenizer.bos_token_id is not None else []
    start = start if start == [tokenizer.bos_token_id] else []
    found = _joined([(record.prompt, CONTEXT), (record.completion, SCORED)], tokenizer)
    # The end is learnt, so that answers end; it is not scored, for a base model that never saw such records cannot know it.
    tokens, marks = (*start, *found.tokens, tokenizer.eos_token_id), (*[CONTEXT] * len(start), *found.marks, LEARNT)
    return Tokens(tokens, marks)


def _joined(segments: list[Segment], tokenizer: Any) -> Tokens:
    """The tokens of segments that follow each other.

    Read together, as some tokenizers put a space before a text's first word; where a token would reach across the border of two
    segments they are read apart, for the server too reads a prompt without its answer.
    """
    tokens: list[int] = []
    marks: list[int] = []
    before = ""
    for text, mark in segments:
        together = _plain(before + text, tokenizer)
        fits = together[: len(tokens)] == tokens
        added = together[len(tokens) :] if fits else _plain(text, tokenizer)
        tokens += added
        marks += [mark] * len(added)
        before += text
    return Tokens(tuple(tokens), tuple(marks))


def _plain(text: str, tokenizer: Any) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _conversation(record: Record, tokenizer: Any) -> list[Segment]:
    """The conversation as the chat template writes it, cut before and after each answer."""
    whole = _render(record, len(record.turns), tokenizer)
    segments: list[Segment] = []
    place = 0
    for number, message in enumerate(record.messages):
        if message["role"] != ASSISTANT:
            continue
        before = _render(record, number, tokenizer, asks=True)
        after = _render(record, number + 1, tokenizer)
        if not (whole.startswith(after) and after.startswith(before)):
            raise TrainingFailure(
                f"The model's chat template renders the record {record.id} differently when it continues, so its answers cannot be separated.",
                "Use records with one answer each.",
            )
        answer = after[len(before) :]
        start = answer.find(message["content"])
        if start < 0:
            raise TrainingFailure(
                f"The model's chat template changes an answer of the record {record.id}.",
                "Remove the template's own markers from its answers.",
            )
        end = start + len(message["content"])
        # The blank before an answer belongs to its first token; the mark after it ends it, and white space after that says nothing.
        stop = answer[end:].rstrip()
        segments += [(whole[place : len(before)], CONTEXT), (answer[:end], SCORED), (stop, LEARNT)]
        place = len(before) + end + len(stop)
    return [(text, mark) for text, mark in segments if text]


def _render(record: Record, count: int, tokenizer: Any, *, asks: bool = False) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise TrainingFailure(
            "The base model has no chat template, so it cannot be trained on conversations.",
            "Choose a chat model as base_model, or use records with prompt and completion.",
        )
    messages = record.messages[:count]
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asks))
    except Exception as error:  # a template is a program of its own, and says no in its own words
        raise TrainingFailure(
            f"The model's chat template rejects the record {record.id}: {' '.join(str(error).split())[:300]}.",
            "Write the conversation as the template requires: an optional system message first, then user and assistant in turn.",
        ) from None
