"""Text that nobody wrote, in any amount, for tests of what checks texts."""

from __future__ import annotations

import random
from functools import cache


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
