"""The index of a domain's texts: what each document is, and how many words each area and register has."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from captune.account import Refused
from preflight.texts.text_file import Document, documents

TRAIN, HELD_OUT = "train", "heldout"
FILES = {TRAIN: "dataset.txt", HELD_OUT: "heldout.txt"}
# By the plan and not by the text: in each register of each part, every eighth document from the fourth on is held out.
HELD_OUT_EVERY, HELD_OUT_FIRST = 8, 4
# Parts of the plan that state again what the others state: held out, a document of theirs would show nothing new.
RESTATING = "facts-"


@dataclass(frozen=True)
class Entry:
    """One line of an index. `part` and `number` are the document's place in the plan, within its register."""

    title: str
    area: str
    register: str
    split: str
    sources: str
    part: str
    number: int

    @property
    def planned_split(self) -> str:
        """The split that the rule gives this place in the plan. General prose, and what restates facts, is for training only."""
        measured = self.register != "general" and not self.part.startswith(RESTATING)
        held_out = measured and self.number % HELD_OUT_EVERY == HELD_OUT_FIRST
        return HELD_OUT if held_out else TRAIN


class IndexDiffers(Refused):
    """The index and the texts of a domain do not name the same documents in the same order."""


def read(file: Path) -> list[Entry]:
    """The entries of an index in file order. Raises TypeError for a line with other keys."""
    return [Entry(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]


def pairs(folder: Path, domain: str) -> list[tuple[Entry, Document]]:
    """Each entry of a domain's index with its document, the training text first. Raises IndexDiffers."""
    entries = read(folder / f"{domain}index.jsonl")
    found: list[tuple[Entry, Document]] = []
    for split, ending in FILES.items():
        chosen = [entry for entry in entries if entry.split == split]
        texts = documents((folder / f"{domain}{ending}").read_text("utf-8"), domain + split)
        named, there = [entry.title for entry in chosen], [document.title for document in texts]
        if named != there:
            place = next(
                (n for n, (a, b) in enumerate(zip(named, there, strict=False)) if a != b), min(len(named), len(there))
            )
            raise IndexDiffers(
                f"{domain}index.jsonl and {domain}{ending} differ from document {place + 1} on: "
                f"{(named[place:] or ['nothing'])[0]!r} stands in the index, {(there[place:] or ['nothing'])[0]!r} in the text."
            )
        found += zip(chosen, texts, strict=True)
    return found


def table(rows: list[tuple[Entry, Document]], split: str) -> str:
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
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    return "\n".join(f"  {row[0]:<{widths[0]}}  " + "  ".join(map(str.rjust, row[1:], widths[1:])) for row in grid)
