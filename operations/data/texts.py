"""Counts the texts of data/, so that the datasheet need not be believed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from operations.data import facts
from operations.data import index as text_index
from preflight.texts.text_file import documents

DATA = Path(__file__).resolve().parents[2] / "data"


def count(folder: Path = DATA) -> Iterator[str]:
    """Words and documents of each text, prompts by kind, words by register and area of each text with an index, and last, for it takes seconds, how often core facts are stated.

    Yields a line, or a table, at a time.
    """
    for file in sorted(folder.glob("*.txt")):
        text = file.read_text("utf-8")
        yield f"{file.name:<24} {len(text.split()):>7,} words {len(documents(text, file.stem)):>4} documents"
    for file in sorted(folder.glob("*prompts.jsonl")):
        kinds = Counter(json.loads(line)["kind"] for line in file.read_text("utf-8").splitlines())
        total = sum(kinds.values())
        yield f"{file.name:<24} {total:>7,} prompts: " + ", ".join(f"{kind} {n}" for kind, n in kinds.most_common())
    for domain in domains(folder):
        rows = text_index.pairs(folder, domain)
        for split, ending in text_index.FILES.items():
            yield f"\n{domain}{ending} by register and area"
            yield text_index.table(rows, split)
    for file in sorted(folder.glob(f"*{facts.LISTED}")):
        yield f"\n{file.name}, looked for in every sentence of its corpus, which takes ten seconds or more …"
        yield facts.summary(facts.in_corpus(file))


def domains(folder: Path = DATA) -> list[str]:
    """The domains whose documents are listed in an index."""
    return [file.name.removesuffix("index.jsonl") for file in sorted(folder.glob("*index.jsonl"))]
