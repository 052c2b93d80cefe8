"""Held-out text made from a corpus that came without any: whole documents, or blocks of paragraphs, never trained on."""

from __future__ import annotations

import re
from collections.abc import Iterator

from common import words
from preflight.texts import Document, documents, without_titles

# report/verdict.py shows nothing with fewer documents than this, because no sign-flip p can reach 0.05.
MINIMUM_DOCUMENTS = 6
# With ten documents an effect is seen although one or two of them go the other way. They are held out where they are a fifth at most.
_ENOUGH_DOCUMENTS = 10
_LARGEST_SHARE = 5
# A corpus with fewer documents is cut into blocks first, at most eighty: so ten of them are a fifth of it from about 4,000 words on.
_WHOLE_DOCUMENTS = 20
_BLOCKS = 80
_BLOCK_WORDS = (50, 150)
_BLOCK = "block-"  # how the id of a block begins
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f\u0964])\s*")


def split(text: str) -> tuple[list[Document], list[Document]]:
    """Training and held-out documents: a tenth is held out, or ten where they are a fifth at most, or six of twelve and more.

    They are spread over the text. What says the same as another part is never held out; its neighbour is.
    """
    parts = documents(text, "corpus")
    if len(parts) < _WHOLE_DOCUMENTS:
        parts = blocks(text)
    enough = min(_ENOUGH_DOCUMENTS, len(parts) // _LARGEST_SHARE)
    wanted = min(max(MINIMUM_DOCUMENTS, enough, len(parts) // 10), len(parts) // 2)
    chosen = _spread(len(parts), wanted, _repeated(parts))
    return (
        [part for place, part in enumerate(parts) if place not in chosen],
        [part for place, part in enumerate(parts) if place in chosen],
    )


def _spread(places: int, wanted: int, repeated: set[int]) -> set[int]:
    """So many places at even distances, each moved to the nearest one that says what no other does, while there is one left."""
    free = [place for place in range(places) if place not in repeated]
    chosen: set[int] = set()
    for number in range(min(wanted, len(free))):
        ideal = (2 * number + 1) * places // (2 * wanted)
        nearest = min(free, key=lambda place: (abs(place - ideal), place))
        free.remove(nearest)
        chosen.add(nearest)
    return chosen


def _repeated(parts: list[Document]) -> set[int]:
    """The places of the parts that share a run of eight words with another part."""
    first: dict[int, int] = {}
    found: set[int] = set()
    for place, part in enumerate(parts):
        for run, _ in words.runs(words.composed(f"{part.title}\n{part.text}").lower()):
            owner = first.setdefault(hash(run), place)
            if owner != place:
                found |= {owner, place}
    return found


def blocks(text: str) -> list[Document]:
    """A text as at most eighty blocks of whole paragraphs or sentences, each of 50 to 150 words at least, by the length of the text."""
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
    filled = [block for block in found if block]
    return [
        Document(f"{_BLOCK}{number:03d}", f"Block {number}", "\n\n".join(block))
        for number, block in enumerate(filled, 1)
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
        kept.setdefault(" ".join(words.each(part.text.lower())), part)
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
    for end in [*(match.end() for match in _SENTENCE_END.finditer(line)), len(line)]:
        sentence, start = line[start:end], end
        stops = words.ends(sentence)
        cut = 0
        for place in range(size, len(stops), size):
            yield sentence[cut : stops[place - 1]], size
            cut = stops[place - 1]
        yield sentence[cut:], len(stops) - (len(stops) - 1) // size * size if stops else 0
