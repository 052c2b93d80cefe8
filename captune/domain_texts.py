"""The texts of a domain: what each document is, how many words each area and register has, and how often its core facts are stated."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import median

from captune.account import Refused
from preflight.texts.text_file import Document, documents

TRAIN, HELD_OUT = "train", "heldout"
FILES = {TRAIN: "dataset.txt", HELD_OUT: "heldout.txt"}
LISTED = "facts.jsonl"  # how the name of a domain's list ends
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n+")


@dataclass(frozen=True)
class Entry:
    """One line of an index. `part` and `number` are the document's place in the plan, within its register."""

    title: str
    area: str
    register: str
    split: str
    topic: str
    part: str
    number: int


class IndexDiffers(Refused):
    """The index and the texts of a domain do not name the same documents in the same order."""


def read_index(file: Path) -> list[Entry]:
    """The entries of an index in file order. Raises TypeError for a line with other keys."""
    return [Entry(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]


def pairs(folder: Path, domain: str) -> list[tuple[Entry, Document]]:
    """Each entry of a domain's index with its document, the training text first. Raises IndexDiffers."""
    entries = read_index(folder / f"{domain}index.jsonl")
    found: list[tuple[Entry, Document]] = []
    for split, ending in FILES.items():
        chosen = [entry for entry in entries if entry.split == split]
        texts = documents((folder / f"{domain}{ending}").read_text("utf-8"), domain + split)
        named, there = [entry.title for entry in chosen], [document.title for document in texts]
        if named != there:
            differing = enumerate(zip_longest(named, there, fillvalue="nothing"), 1)
            number, titles = next(one for one in differing if one[1][0] != one[1][1])
            raise IndexDiffers(
                f"{domain}index.jsonl and {domain}{ending} differ from document {number} on: "
                f"{titles[0]!r} is in the index, {titles[1]!r} in the text."
            )
        found += zip(chosen, texts, strict=True)
    return found


def words_table(rows: list[tuple[Entry, Document]], split: str) -> str:
    """Words by register and area of one split, titles not counted, for people."""
    chosen = [(entry, document) for entry, document in rows if entry.split == split]
    areas = list(dict.fromkeys(entry.area for entry, _ in sorted(chosen, key=lambda row: row[0].area)))
    registers = sorted({entry.register for entry, _ in chosen})
    words: Counter[tuple[str, str]] = Counter()
    count: Counter[str] = Counter()
    for entry, document in chosen:
        length = len(document.text.split())
        for key in ((entry.register, entry.area), (entry.register, ""), ("", entry.area), ("", "")):
            words[key] += length
        count[entry.register] += 1
        count[""] += 1
    grid = [["words", *areas, "all", "documents"]]
    for register in [*registers, ""]:
        cells = [f"{words[register, area]:,}" if words[register, area] else "–" for area in [*areas, ""]]
        grid.append([register or "all", *cells, f"{count[register]:,}"])
    return aligned(grid)


def aligned(grid: list[list[str]]) -> str:
    """A table with its first column to the left and all others to the right, for people."""
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    return "\n".join(f"  {row[0]:<{widths[0]}}  " + "  ".join(map(str.rjust, row[1:], widths[1:])) for row in grid)


@dataclass(frozen=True)
class Fact:
    """A core fact of a field. A sentence states it where both patterns are found in it.

    The patterns are in lower case, and so is the text that they are looked for in: twice as fast as ignoring the case.
    `source` is where it was read that the fact holds, "" where nothing was found.
    """

    fact: str
    subject: str
    object: str
    source: str

    def stated_in(self, sentences: list[str]) -> list[int]:
        """The places of the sentences, in lower case, that name both the subject and the object."""
        subject, says = (re.compile(pattern).search for pattern in (self.subject, self.object))
        return [place for place, sentence in enumerate(sentences) if subject(sentence) and says(sentence)]


@dataclass(frozen=True)
class Statements:
    """Where a text states one fact: the numbers of document and sentence."""

    fact: str
    places: frozenset[tuple[int, int]]

    @property
    def sentences(self) -> int:
        """How many sentences state it."""
        return len(self.places)

    @property
    def documents(self) -> int:
        """How many documents state it."""
        return len({document for document, _ in self.places})


def read_facts(file: Path) -> list[Fact]:
    """The facts of a JSON Lines file, in its order. Raises TypeError for a line with other keys."""
    return [Fact(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]


def facts_in_corpus(file: Path) -> list[Statements]:
    """How often the training text of a domain, which lies beside its list of facts, states each of them."""
    domain = file.name.removesuffix(LISTED)
    text = file.with_name(domain + FILES[TRAIN]).read_text("utf-8")
    return statements(read_facts(file), documents(text, domain))


def statements(facts: Iterable[Fact], texts: Iterable[Document]) -> list[Statements]:
    """Where these documents state each fact, in the order of the facts. Titles don't count."""
    split = [_SENTENCE_END.split(text.text.lower()) for text in texts]
    return [
        Statements(fact.fact, frozenset((n, place) for n, one in enumerate(split) for place in fact.stated_in(one)))
        for fact in facts
    ]


def facts_summary(found: list[Statements]) -> str:
    """One line on all of them. Takes at least one."""
    sentences = sorted(row.sentences for row in found)
    stated = f"{sentences[0]} to {sentences[-1]} sentences (median {median(sentences):.0f})"
    fewest = min(row.documents for row in found)
    return f"{len(found):,} core facts, each stated in {stated} of {fewest} documents or more"
