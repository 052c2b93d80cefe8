"""Texts, prompts and records that nobody wrote, in any amount, for tests of what checks them."""

import csv
import io
import json
import random
from collections.abc import Iterable
from functools import cache
from typing import Any

GOOD: dict[str, Any] = {
    "id": "q-1",
    "kind": "question",
    "prompt": "Which gene encodes the protein p53?",
    "facts": [{"name": "gene", "pattern": r"\bTP53\b"}],
}


def prose(words: int, seed: int = 0) -> str:
    """Text of `words` words in sentences and paragraphs, of which no two passages are alike."""
    chance = random.Random(seed)
    sentences, left = [], words
    while left > 0:
        length = min(left, chance.randint(8, 16))
        sentences.append(" ".join(chance.choices(_vocabulary(), k=length)).capitalize() + ".")
        left -= length
    return "\n\n".join(" ".join(sentences[place : place + 6]) for place in range(0, len(sentences), 6))


@cache
def _vocabulary() -> list[str]:
    chance = random.Random(7)
    return ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 9))) for _ in range(2000)]


def pairs(count: int, groups: int = 0) -> list[dict[str, Any]]:
    """Prompts with completions that share no run of eight words, in `groups` groups in turn, or without groups."""
    made = []
    for number in range(count):
        words = prose(60, 900 + number).split()
        pair = {"prompt": f"{' '.join(words[:20])}?", "completion": " ".join(words[20:60])}
        made.append({**pair, "group": f"clinic {number % groups}"} if groups else pair)
    return made


def conversations(count: int) -> list[dict[str, Any]]:
    """The same as messages."""
    return [
        {"messages": [{"role": "user", "content": one["prompt"]}, {"role": "assistant", "content": one["completion"]}]}
        for one in pairs(count)
    ]


def lines(entries: Iterable[Any]) -> bytes:
    """A file of JSON lines. An entry that is a text is a line as it stands."""
    texts = (one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in entries)
    return "".join(f"{text}\n" for text in texts).encode()


def table(records: list[dict[str, Any]], delimiter: str = ",", **names: str) -> bytes:
    """The same as CSV, the columns called by `names`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [names.get(key, key) for key in records[0]], delimiter=delimiter)
    writer.writeheader()
    writer.writerows({names.get(key, key): value for key, value in record.items()} for record in records)
    return text.getvalue().encode()
