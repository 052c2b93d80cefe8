"""Text of sixteen words for models of a few thousand weights."""

from __future__ import annotations

WORDS = [
    "the",
    "cell",
    "gene",
    "virus",
    "protein",
    "binds",
    "copies",
    "breaks",
    "repairs",
    "one",
    "two",
    "of",
    "in",
    "and",
    "a",
    "strand",
]


def prose(number: int, words: int) -> str:
    """Sentences that differ from document to document and can be learnt."""
    return " ".join(WORDS[(number * 7 + place * place) % len(WORDS)] for place in range(words)) + "."
