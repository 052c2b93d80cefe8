"""How often a text states what the prompts ask, as their patterns read it: what a corpus must teach, and what it must not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[3] / "data"
# data/README.md: what makes a fact central, and that every other fact of the corpus stands in it.
NEEDED = {"central": 4, "completion": 1, "question": 1}
OUTSIDE = "outside"


@dataclass(frozen=True)
class Support:
    """One fact of a prompt, and how often the text states it."""

    prompt: str
    kind: str
    fact: str
    found: int

    def __str__(self) -> str:
        return f"{self.prompt} ({self.kind}): {self.fact}, stated {self.found} times, needed {NEEDED.get(self.kind, 0)}"


def prompts_of(domain: str) -> list[dict[str, Any]]:
    """The prompts that come with the project for a domain."""
    return [json.loads(line) for line in (DATA / f"{domain}prompts.jsonl").read_text("utf-8").splitlines()]


def support(prompts: Sequence[Mapping[str, Any]], text: str) -> list[Support]:
    """How often the text states each fact of these prompts, in the order of the prompts."""
    return [
        Support(prompt["id"], prompt["kind"], fact["name"], len(re.findall(fact["pattern"], text, re.IGNORECASE)))
        for prompt in prompts
        for fact in prompt["facts"]
    ]


def lacking(prompts: Sequence[Mapping[str, Any]], text: str) -> list[Support]:
    """The facts that the text should teach and states too seldom, rarest first."""
    taught = [prompt for prompt in prompts if prompt["kind"] in NEEDED]
    short = [row for row in support(taught, text) if row.found < NEEDED[row.kind]]
    return sorted(short, key=lambda row: row.found - NEEDED[row.kind])


def spoiled(prompts: Sequence[Mapping[str, Any]], text: str) -> list[Support]:
    """The facts from outside the corpus that the text states after all."""
    return [row for row in support([prompt for prompt in prompts if prompt["kind"] == OUTSIDE], text) if row.found]


def as_lines(rows: Sequence[Support]) -> str:
    """One line for each fact, for a message that names them all."""
    return "\n".join(["", *map(str, rows)])
