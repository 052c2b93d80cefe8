"""Comparison prompts for a corpus that came without any: openings of held-out sentences that a person can read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from common import words
from preflight.texts import Document

# How many words of a sentence are shown, and how long the sentence must be for the model to have something to go on with.
OPENING_WORDS = (6, 10)
_LEAST_SENTENCE_WORDS = 2 * OPENING_WORDS[0]
_PLAIN_OPENING_WORDS = 7
_SHORT_WORD = 3
_SENTENCE_END = re.compile(r"[.!?][\"'”’)]*(?=\s|$)|[\u3002\uff01\uff1f\u0964]")
_PLAIN_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*[,;:]?")
_PAIRS = ("()", "[]", "{}", "“”", "„“", "«»")
# A break inside a line, a cell of a table or a list item: what stands around it is no sentence.
_NOT_RUNNING = re.compile(r"[|\t•·]|\s{3,}|^\s*(?:[-*–]|\d+[.)])\s")


@dataclass(frozen=True)
class _Opening:
    text: str
    readability: float  # the share of its words that are plain ones, at most 1


def from_held_out(held_out: list[Document], limit: int, maximum_bytes: int) -> list[dict[str, Any]]:
    """Openings of at most `limit` held-out sentences, spread over the text, the most readable ones first.

    They have no key facts: only the answers are shown. A text without sentences gives the first words of its paragraphs.
    """
    found = [opening for part in held_out for opening in _sentences(part.text)] or list(_paragraphs(held_out))
    short = [opening for opening in found if len(opening.text.encode("utf-8")) <= maximum_bytes]
    # One of each stretch of the text: the most readable ones of the whole may all stand in one place.
    stretches = min(limit, len(short))
    best = [
        max(
            short[number * len(short) // stretches : (number + 1) * len(short) // stretches],
            key=lambda one: one.readability,
        )
        for number in range(stretches)
    ]
    ordered = sorted(best, key=lambda one: -one.readability)
    different = list(dict.fromkeys(one.text for one in ordered))
    return [
        {"id": f"opening-{number}", "kind": "starter", "prompt": text, "facts": []}
        for number, text in enumerate(different, 1)
    ]


def _sentences(text: str) -> Iterator[_Opening]:
    for paragraph in re.split(r"\n\s*\n", text):
        start = 0
        for end in (match.end() for match in _SENTENCE_END.finditer(paragraph)):
            sentence, start = paragraph[start:end].strip(), end
            if not _NOT_RUNNING.search(sentence) and _begins_well(sentence):
                yield from _opening_of(" ".join(sentence.split()))


def _opening_of(sentence: str) -> Iterator[_Opening]:
    opening = _cut(sentence)
    if opening and words.count(sentence) >= _LEAST_SENTENCE_WORDS:
        yield _Opening(opening, _readability(opening))


def _begins_well(sentence: str) -> bool:
    first = sentence.lstrip("\"'“„«‘(¿¡")[:1]
    return first.isalpha() and not first.islower()


def _cut(sentence: str) -> str:
    """The first six to ten words: up to a comma among them, else eight or so, and never inside brackets or quotes."""
    low, high = OPENING_WORDS
    places = [end for end in words.ends(sentence)[low - 1 : high] if _is_closed(sentence[:end])]
    at_comma = [end for end in places if sentence[end - 1] in ",;:" or sentence[end : end + 1] in "，；、"]
    middle = places[len(places) // 2 :]
    # Not after an article or a preposition, which are short in most languages.
    chosen = at_comma or [end for end in middle if len(sentence[:end].split()[-1]) > _SHORT_WORD] or middle
    return sentence[: chosen[0]].rstrip(" ,;:") if chosen else ""


def _is_closed(text: str) -> bool:
    return all(text.count(pair[0]) == text.count(pair[1]) for pair in _PAIRS) and text.count('"') % 2 == 0


def _readability(opening: str) -> float:
    """Which share of the words is plain: letters only, and neither capitals throughout nor a capital inside the sentence."""
    said = opening.split()
    plain = [
        word
        for place, word in enumerate(said)
        if _PLAIN_WORD.fullmatch(word) and (word.islower() or place == 0 or not (word.isupper() or word.istitle()))
    ]
    return len(plain) / len(said)


def _paragraphs(held_out: list[Document]) -> Iterator[_Opening]:
    """The first words of each paragraph that goes on for longer, or of each document where none does."""
    paragraphs = [part for document in held_out for part in re.split(r"\n\s*\n", document.text)]
    long = [paragraph for paragraph in paragraphs if words.count(paragraph) > 3 * _PLAIN_OPENING_WORDS]
    for text in long or [document.text for document in held_out]:
        opening = " ".join(words.opening(text, _PLAIN_OPENING_WORDS).split())
        yield _Opening(opening, _readability(opening) if opening else 0.0)
