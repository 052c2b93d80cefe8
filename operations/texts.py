"""Counts the texts of data/, so that the datasheet need not be believed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from preflight.texts import documents

DATA = Path(__file__).resolve().parent.parent / "data"


def count(folder: Path = DATA) -> str:
    """Words and documents of each text, prompts by kind."""
    lines = []
    for file in sorted(folder.glob("*.txt")):
        text = file.read_text("utf-8")
        lines.append(f"{file.name:<24} {len(text.split()):>7,} words {len(documents(text, file.stem)):>4} documents")
    for file in sorted(folder.glob("*.jsonl")):
        kinds = Counter(json.loads(line)["kind"] for line in file.read_text("utf-8").splitlines())
        total = sum(kinds.values())
        lines.append(
            f"{file.name:<24} {total:>7,} prompts: " + ", ".join(f"{kind} {n}" for kind, n in kinds.most_common())
        )
    return "\n".join(lines)
