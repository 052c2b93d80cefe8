"""Prompts made from the held-out text, for a corpus that came without any: beginnings of its sentences, the most readable first."""

from __future__ import annotations

import re
from itertools import islice, zip_longest
from typing import Any

from common.errors import PromptsRejected
from common.text import sentences, words
from preflight.prompts.prompt_file import MAXIMUM_PROMPT_BYTES, can_be_asked
from preflight.texts.text_file import Document

LIMIT = 20
FEWEST = 6  # with fewer sentences than this, what reads badly is asked too
OPENING_WORDS = 7
HARD_TO_READ = 3.0  # what reads harder is asked only where nothing better is there
_LOOKED_AT = 40  # sentences of a document


def from_held_out(held_out: list[Document], limit: int = LIMIT) -> list[dict[str, Any]]:
    """Up to `limit` different beginnings of held-out sentences from all over the text. They have no key facts: only the answers are shown.

    Raises PromptsRejected where there is none that can be asked.
    """
    spread = held_out[:: max(1, len(held_out) // limit)]
    turns = list(dict.fromkeys(found for turn in zip_longest(*map(_beginnings, spread)) for found in turn if found))
    good = [found for found in turns if found[0] < HARD_TO_READ][:limit]
    if len(good) < FEWEST:
        good = (good + [found for found in turns if found[0] >= HARD_TO_READ])[:FEWEST]
    # A sort keeps the order of what reads alike.
    chosen = [text for _, text in sorted(good, key=lambda found: found[0])]
    if len(chosen) < FEWEST:
        others = (text for text in _first_words(held_out, limit) if not any(asked.startswith(text) for asked in chosen))
        chosen += list(dict.fromkeys(others))
    if not chosen:
        raise PromptsRejected(
            f"No beginning of the held-out text can be asked: each has more than {MAXIMUM_PROMPT_BYTES:,} bytes. Give `prompts` of your own."
        )
    return [
        {"id": f"opening-{number}", "kind": "starter", "prompt": text, "facts": []}
        for number, text in enumerate(chosen[:limit], 1)
    ]


def _beginnings(document: Document) -> list[tuple[float, str]]:
    """How hard it reads and the text, of each sentence that may be cut; the most readable first."""
    every = (sentence for part in sentences.prose(document.text) for sentence in sentences.split(part))
    cut = (opening for sentence in islice(every, _LOOKED_AT) if (opening := sentences.opening(sentence)))
    kept = dict.fromkeys(opening for opening in cut if can_be_asked(opening))
    return sorted(((sentences.reading_difficulty(opening), opening) for opening in kept), key=lambda found: found[0])


def _first_words(held_out: list[Document], limit: int) -> list[str]:
    """The first words of paragraphs, whatever they are, for a text without sentences."""
    paragraphs = [part for document in held_out for part in re.split(r"\n\s*\n", document.text)]
    # Where the opening is most of a paragraph, the model has nothing to go on with.
    long = [paragraph for paragraph in paragraphs if words.count(paragraph) > 3 * OPENING_WORDS]
    chosen = long or [document.text for document in held_out]
    step = max(1, len(chosen) // limit)
    openings = (" ".join(words.opening(paragraph, OPENING_WORDS).split()) for paragraph in chosen[::step][:limit])
    return [opening for opening in openings if opening and can_be_asked(opening)]
