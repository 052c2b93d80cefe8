"""What the model knows, asked by choice: of a right end and near misses, which does a prompt make likelier than other prompts do?

An end has a likelihood of its own, whatever it is asked after: a model that learns how the field writes likes its words more, and would seem to
know. So each end is scored after its own prompt and after the prompts of other items, and the report takes the second from the first: the
pointwise mutual information of prompt and end (as PMI_DC in Holtzman et al. 2021, "Surface Form Competition", with the prompts of other
items in place of one neutral prompt). Items with the same ends are scored after each other's prompts, so what an end is worth by itself cancels.
"""

import dataclasses
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.records import Record
from failure import TrainingFailure
from records.record import SCORED, Tokens, tokens_of
from text import Document

OTHERS = 3  # prompts of other items, where no items share their ends
MOST_RECORDS = 400  # held-out ones that become items, from all over the file
OF_A_SET = 4  # held-out records, at most, that are compared with each other's answers
LIKE_LENGTH = 1.6  # of the longest answer of a set to the shortest, in characters
# Of a record's answer: its opening decides, and a long one would cost as much as all held-out text.
MOST_ANSWER_TOKENS = 64
_QUOTED_CHARACTERS = 240  # of a prompt and of its correct option, in the report
FROM_PROMPTS, FROM_RECORDS = "prompts", "held-out records"


@dataclasses.dataclass(frozen=True)
class Item:
    """A prompt and its ends as records, the right one first; `cluster` is of items that are known or missed together."""

    id: str
    kind: str
    cluster: str
    ends: tuple[Record, ...]


@dataclasses.dataclass(frozen=True)
class Choices:
    """All items, and the pairs of prompt and end that are scored for them as documents."""

    source: str
    items: tuple[Item, ...]
    pairs: tuple[Document, ...]
    own: tuple[tuple[int, ...], ...]  # of each item: the pair of each end with the item's own prompt
    others: tuple[tuple[tuple[int, ...], ...], ...]  # and of each end, its pairs with other items' prompts

    def described(self, base: Sequence[float], tuned: Sequence[float] | None) -> dict[str, Any]:
        """As metrics.json holds it: log-probabilities in nats of each end after its own prompt, and their mean after others'."""
        return {
            "source": self.source,
            "items": [
                {
                    "id": item.id,
                    "kind": item.kind,
                    "cluster": item.cluster,
                    "prompt": _quoted(_prompt(item.ends[0])),
                    "correct": _quoted(item.ends[0].reference),
                    "tokens": [len(self.pairs[pair].tokens) for pair in own],
                    "base": _scores(base, own, others),
                    "tuned": None if tuned is None else _scores(tuned, own, others),
                }
                for item, own, others in zip(self.items, self.own, self.others, strict=True)
            ],
        }


def _scores(nll: Sequence[float], own: Sequence[int], others: Sequence[Sequence[int]]) -> dict[str, list[float]]:
    return {
        "own": [-nll[pair] for pair in own],
        "other": [-sum(nll[pair] for pair in pairs) / len(pairs) for pairs in others],
    }


def _prompt(record: Record) -> str:
    return record.turns[-2][1] if len(record.turns) > 1 else record.prompt


def _quoted(text: str) -> str:
    return textwrap.shorten(text, _QUOTED_CHARACTERS, placeholder=" …")


def read_items(path: Path) -> list[Item]:
    """The items of a .jsonl file; [] where there is none. Raises TrainingFailure naming the line that is malformed."""
    items = []
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            identifier, prompt = str(row["id"]), str(row["prompt"]).rstrip()
            ends = tuple(Record(identifier, identifier, prompt=prompt, completion=f" {end}") for end in row["choices"])
            items.append(Item(identifier, str(row["kind"]), str(row.get("cluster", "")), ends))
        except (ValueError, KeyError, TypeError):
            raise TrainingFailure(
                f"Line {number} of {path.name} is not an item with choices.",
                "Start a new execution.",
            ) from None
    return items


def items_of(documents: Sequence[Document]) -> list[Item]:
    """Held-out records with one answer in sets of up to four with different answers of like length: each has the others' as distractors.

    Records of one group are alike, so only the first of each is taken. A record that finds no other is left out.
    """
    records = [
        document.records[0] for document in documents if document.records and len(document.records[0].answers) == 1
    ]
    sets: list[list[Record]] = []
    for record in sorted(records[:: -(-len(records) // MOST_RECORDS) or 1], key=lambda one: len(one.reference)):
        found = next((members for members in sets if _fits(record, members)), None)
        if found is None:
            sets.append(found := [])
        found.append(record)
    items = []
    for number, members in enumerate((members for members in sets if len(members) > 1), 1):
        for place, record in enumerate(members):
            answers = [member.reference for member in (record, *members[:place], *members[place + 1 :])]
            ends = tuple(_with_answer(record, answer) for answer in answers)
            items.append(Item(record.id, FROM_RECORDS, f"records {number}", ends))
    return items


def _fits(record: Record, members: Sequence[Record]) -> bool:
    answers = [member.reference for member in members]
    return (
        len(members) < OF_A_SET
        and record.reference not in answers
        and len(record.reference) <= LIKE_LENGTH * len(answers[0])
    )


def _with_answer(record: Record, answer: str) -> Record:
    if record.is_conversation:
        return dataclasses.replace(record, turns=(*record.turns[:-1], (record.turns[-1][0], answer)))
    return dataclasses.replace(record, completion=f" {answer}")


def choices_of(items: Sequence[Item], source: str, tokenizer: Any) -> Choices:
    """The pairs of prompts and ends that the items need, each once."""
    found: dict[tuple[str, str], int] = {}
    pairs: list[Document] = []

    def pair(item: Item, end: Record) -> int:
        key = item.id, end.reference
        if key not in found:
            found[key] = len(pairs)
            read = _opening(tokens_of(_with_answer(item.ends[0], end.reference), tokenizer))
            pairs.append(Document(f"{item.id} {len(pairs)}", "", end.reference, tokens=read.scored, read=(read,)))
        return found[key]

    asked = [(item, other) for item, other in zip(items, _others(items), strict=True) if other]
    own = tuple(tuple(pair(item, end) for end in item.ends) for item, _ in asked)
    others = tuple(tuple(tuple(pair(one, end) for one in other) for end in item.ends) for item, other in asked)
    return Choices(source, tuple(item for item, _ in asked), tuple(pairs), own, others)


def _others(items: Sequence[Item]) -> list[list[Item]]:
    """Of each item those after whose prompts its ends are scored too: the ones with the same ends, or else the next ones in the file."""
    sets: dict[frozenset[str], list[Item]] = {}
    for item in items:
        sets.setdefault(_ends(item), []).append(item)
    found = []
    for place, item in enumerate(items):
        alike = [one for one in sets[_ends(item)] if one is not item]
        found.append(alike or [*items[place + 1 : place + 1 + OTHERS], *items[:place]][:OTHERS])
    return found


def _ends(item: Item) -> frozenset[str]:
    return frozenset(end.reference for end in item.ends)


def _opening(read: Tokens) -> Tokens:
    """A record up to the first tokens of its answer."""
    scored = [place for place, mark in enumerate(read.marks) if mark == SCORED]
    end = scored[:MOST_ANSWER_TOKENS][-1] + 1 if scored else len(read.tokens)
    return Tokens(read.tokens[:end], read.marks[:end])
