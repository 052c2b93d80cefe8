"""Held-out text made from a corpus that came without any: whole documents, or blocks of paragraphs, never trained on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from common.text import words
from preflight.texts.text_file import Document, documents, without_titles

# report/findings/verdict.py shows nothing with fewer documents than this, because no sign-flip p can reach 0.05.
MINIMUM_DOCUMENTS = 6
# A corpus with fewer documents is cut into blocks of paragraphs first.
WHOLE_DOCUMENTS = 20
# Of some 4,000 words on, so many blocks are made at least and so many held out: ten are left for the verdict where two of them say what
# stands in the training text, too. From 9,600 words on the blocks are as long as they get, and there are more of them.
_BLOCKS, PASSAGES = 64, 12
_BLOCK_WORDS = (50, 150)
# Of a large text no more is held out than can be scored in two minutes, before and after: so many documents, by their openings where they
# are long. A short interval needs no more.
MOST_DOCUMENTS, MOST_WORDS = 400, 50_000
_BLOCK = "block-"  # how the id of a block begins
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f\u0964])\s*")


def split(text: str) -> tuple[list[Document], list[Document]]:
    """Training and held-out documents: about a tenth is held out, spread over the text, and never fewer than six of twelve.

    Of a text that is cut into blocks, up to a third is held out where that makes it `PASSAGES` of them.
    """
    parts, least = documents(text, "corpus"), MINIMUM_DOCUMENTS
    if len(parts) < WHOLE_DOCUMENTS:
        parts = blocks(text)
        least = max(least, min(PASSAGES, len(parts) // 3))
    wanted = min(max(least, len(parts) // 10), len(parts) // 2, MOST_DOCUMENTS)
    # As far apart as they can be.
    held = {(2 * number + 1) * len(parts) // (2 * wanted) for number in range(wanted)}
    return (
        [part for place, part in enumerate(parts) if place not in held],
        _openings([part for place, part in enumerate(parts) if place in held]),
    )


def _openings(parts: list[Document]) -> list[Document]:
    """The documents; where they have too many words to be scored, their beginnings."""
    if sum(words.count(part.text) for part in parts) <= MOST_WORDS:
        return parts
    return [replace(part, text=words.opening(part.text, MOST_WORDS // len(parts))) for part in parts]


def blocks(text: str) -> list[Document]:
    """A text as blocks of whole paragraphs of 150 words or more each, or of fewer where the text is short."""
    body = without_titles(text)
    low, high = _BLOCK_WORDS
    size = max(low, min(high, words.count(body) // _BLOCKS))
    found: list[list[str]] = [[]]
    held = 0
    for piece, length in _pieces(body, size):
        if held >= size:
            found.append([])
            held = 0
        found[-1].append(piece)
        held += length
    filled = [pieces for pieces in found if pieces]
    return [
        Document(f"{_BLOCK}{number:03d}", f"Block {number}", "\n\n".join(pieces))
        for number, pieces in enumerate(filled, 1)
    ]


def are_passages(parts: list[Document]) -> bool:
    """Whether these were cut from longer documents by `blocks`."""
    return any(part.id.startswith(_BLOCK) for part in parts)


def different(parts: list[Document]) -> tuple[list[Document], int]:
    """The parts without those that have the same words as an earlier one, and how many were left out.

    Two copies of a document are one observation: counted as two they would make a verdict look surer than it is.
    """
    kept: dict[str, Document] = {}
    for part in parts:
        kept.setdefault(words.plain(part.text), part)
    return list(kept.values()), len(parts) - len(kept)


def _pieces(body: str, size: int) -> Iterator[tuple[str, int]]:
    """Paragraphs with their length in words; one that is much longer than a block is cut at the ends of its sentences."""
    for paragraph in re.split(r"\n\s*\n", body):
        line = " ".join(paragraph.split())
        length = words.count(line)
        if not length:
            continue
        if 3 * length <= 4 * size:
            yield line, length
            continue
        gathered, held = "", 0
        for sentence, count in _sentences(line, size):
            gathered, held = gathered + sentence, held + count
            if held >= size:
                yield gathered.strip(), held
                gathered, held = "", 0
        if held:
            yield gathered.strip(), held


def _sentences(line: str, size: int) -> Iterator[tuple[str, int]]:
    """The sentences of a paragraph with their length; what goes on without an end is cut between words."""
    start = 0
    for end in [*(match.end() for match in SENTENCE_END.finditer(line)), len(line)]:
        sentence, start = line[start:end], end
        stops = words.ends(sentence)
        cut = 0
        for place in range(size, len(stops), size):
            yield sentence[cut : stops[place - 1]], size
            cut = stops[place - 1]
        yield sentence[cut:], len(stops) - (len(stops) - 1) // size * size if stops else 0
