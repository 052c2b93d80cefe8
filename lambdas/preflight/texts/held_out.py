"""What is held out of a corpus: documents, passages, or groups of records, never trained on; and what of it the training text gives away."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from common.errors import HeldOutLeaks
from common.records import Record
from common.text import (
    BLOCK_ID,
    MINIMUM_DOCUMENTS,
    composed,
    count_words,
    encoded,
    opening,
    placed_runs,
    plain,
    runs,
    word_ends,
)
from preflight.texts.forms import are_rows
from preflight.texts.text_file import Document, documents, titled, without_titles

# A corpus with fewer documents is cut into blocks of paragraphs first.
WHOLE_DOCUMENTS = 20
# From 4,000 words on: at least 64 blocks, 12 of them held out. From 9,600 words on the blocks have their full length, and there are more of
# them. Where fewer than 12 can be held out, the text is cut into blocks of half the length, and these again, down to one or two sentences.
_BLOCKS, PASSAGES = 64, 12
_BLOCK_WORDS, _SHORTEST_BLOCK = (50, 150), 25
# Of a large text no more is held out than can be scored in two minutes, before and after: 400 documents, of long ones the opening.
# A short interval needs no more.
MOST_DOCUMENTS, MOST_WORDS = 400, 50_000
# What is looked at to find so much that stands nowhere else: as hashes, 50 MiB.
_CANDIDATE_WORDS = 4 * MOST_WORDS
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f\u0964])\s*")
# Groups of records: as many as a text of usual length gives, and as many as one of the largest size gives in passages.
WANTED_GROUPS, MOST_GROUPS = 10, 400
# An answer is known where more of it stands in training answers; less may be a phrase that all answers share.
KNOWN_SHARE = 0.5


class Overlap:
    """The runs of eight words of a training text, as hashes, which fit the memory, to find out what else holds one."""

    def __init__(self, trainings: Iterable[str], asked: Iterable[str] | None = None) -> None:
        """Of the texts that are trained on; `asked` are the only texts that will be looked for, which spares memory."""
        wanted = None if asked is None else set[int]().union(*map(_hashes, asked))
        self._seen: set[int] = set()
        for training in trainings:
            self._seen.update(_hashes(training) if wanted is None else wanted.intersection(_hashes(training)))

    def first(self, text: str) -> tuple[int, str] | None:
        """The line and the words of the first run that the text shares with the training text, or None."""
        if self._seen.isdisjoint(_hashes(text)):
            return None
        lowered = composed(text).lower()
        for run, end in placed_runs(lowered):
            if hash(run) in self._seen:
                return lowered.count("\n", 0, end) + 1, " ".join(run)
        return None

    def share(self, text: str) -> float:
        """The share of a text's runs that the training text has too; 0 for a text shorter than a run."""
        found = [run in self._seen for run in _hashes(text)]
        return sum(found) / len(found) if found else 0.0

    def refuse(self, name: str, text: str) -> None:
        """Raises HeldOutLeaks when a held-out text shares a run with the training text."""
        shared = self.first(text)
        if shared:
            place = "" if are_rows(name) else f", line {shared[0]},"  # rows are texts by now, with other lines
            raise HeldOutLeaks(
                f"The held-out text {name}{place} shares “{shared[1]}” with the training text, so its loss would prove nothing. "
                "Rewrite or remove one of the two passages."
            )


def _hashes(text: str) -> Iterator[int]:
    return map(hash, runs(composed(text).lower()))


# Running text ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """Training and held-out documents, and how many of the `candidates` share a run of words with another part of the text, with an example."""

    training: list[Document]
    held_out: list[Document]
    candidates: int = 0
    shared: int = 0
    phrase: str = ""


def split(text: str) -> Split:
    """Training and held-out documents: about a tenth is held out, spread over the text, and never fewer than six of twelve.

    Of a text that is cut into blocks, up to a third is held out where that makes it `PASSAGES` of them. A part that shares a run of words
    with another one is trained on, and the next one is held out. Where too few are left, smaller parts may be.
    """
    found = Split([], [])
    for parts, least in _cuts(text):
        one = _hold_out(parts, min(max(least, len(parts) // 10), len(parts) // 2, MOST_DOCUMENTS))
        found = one if not found.training or len(one.held_out) > len(found.held_out) else found
        if len(found.held_out) >= (PASSAGES if are_passages(parts) else least):
            break
    return found


def _cuts(text: str) -> Iterator[tuple[list[Document], int]]:
    """A text as documents, where it has enough of them, and as ever smaller blocks; how many of them to hold out at least."""
    if len(parts := documents(text, "corpus")) >= WHOLE_DOCUMENTS:
        yield parts, MINIMUM_DOCUMENTS
        if sum(count_words(part.text) for part in parts) > _CANDIDATE_WORDS:
            return  # smaller parts would take too long
    size = _block_words(text)
    while size >= _SHORTEST_BLOCK:
        parts = blocks(text, size)
        yield parts, max(MINIMUM_DOCUMENTS, min(PASSAGES, len(parts) // 3))
        size = size // 2 if len(parts) * size < _CANDIDATE_WORDS else 0


def _hold_out(parts: list[Document], wanted: int) -> Split:
    """Holds out so many parts that share no run of words with another one, or as many as there are."""
    if not wanted:
        return Split(parts, [])
    # First those that are as far apart as they can be, then their neighbours.
    places = [(2 * number + 1) * len(parts) // (2 * wanted) for number in range(wanted)]
    ordered = dict.fromkeys(
        place + step
        for distance in range(len(parts) // wanted + 1)
        for step in dict.fromkeys((distance, -distance))
        for place in places
        if 0 <= place + step < len(parts)
    )
    most = MOST_WORDS // wanted if sum(count_words(parts[place].text) for place in places) > MOST_WORDS else 0
    candidates: dict[int, Document] = {}
    words = 0
    for place in ordered:
        part = parts[place]
        candidates[place] = replace(part, text=opening(part.text, most)) if most else part
        words += count_words(candidates[place].text)
        if words > _CANDIDATE_WORDS and len(candidates) >= wanted:
            break
    held, phrase, shared = _alone(candidates, parts)
    chosen = dict(sorted(list(held.items())[:wanted]))
    training = [part for place, part in enumerate(parts) if place not in chosen]
    return Split(training, list(chosen.values()), len(candidates), shared, phrase)


def _alone(candidates: dict[int, Document], parts: list[Document]) -> tuple[dict[int, Document], str, int]:
    """The candidates of which no run of words stands in another part, the run that stands in most parts, and how many others there are."""
    own = {place: set(_hashes(part.text)) for place, part in candidates.items()}
    asked = set[int]().union(*own.values())
    times = Counter(run for part in parts for run in asked.intersection(_hashes(titled(part))))
    twice = {run for run, count in times.items() if count > 1}
    alone = {place: part for place, part in candidates.items() if twice.isdisjoint(own[place])}
    if not twice:
        return alone, "", 0
    most = max(times.values())
    said = (run for place in sorted(candidates) for run, _ in placed_runs(composed(candidates[place].text).lower()))
    return alone, next(" ".join(run) for run in said if times[hash(run)] == most), len(candidates) - len(alone)


def blocks(text: str, words: int = 0) -> list[Document]:
    """A text as blocks of whole paragraphs of so many words or more each: 150, or fewer where the text is short."""
    size = words or _block_words(text)
    return [
        Document(f"{BLOCK_ID}{number:03d}", f"Block {number}", block)
        for number, (block, _) in enumerate(_filled(_pieces(without_titles(text), size), size, "\n\n"), 1)
    ]


def _block_words(text: str) -> int:
    low, high = _BLOCK_WORDS
    return max(low, min(high, count_words(without_titles(text)) // _BLOCKS))


def are_passages(parts: list[Document]) -> bool:
    """Whether these were cut from longer documents by `blocks`."""
    return any(part.id.startswith(BLOCK_ID) for part in parts)


def different(parts: list[Document]) -> list[Document]:
    """The parts without copies of earlier ones: counted as two, they make a verdict look surer than it is."""
    kept: dict[str, Document] = {}
    for part in parts:
        kept.setdefault(plain(part.text), part)
    return list(kept.values())


def _filled(pieces: Iterable[tuple[str, int]], size: int, between: str) -> Iterator[tuple[str, int]]:
    """Pieces of a text, each with its number of words, joined to such as have `size` words or more; the last may have fewer."""
    gathered: list[str] = []
    held = 0
    for piece, length in pieces:
        gathered.append(piece)
        held += length
        if held >= size:
            yield between.join(gathered), held
            gathered, held = [], 0
    if held:
        yield between.join(gathered), held


def _pieces(body: str, size: int) -> Iterator[tuple[str, int]]:
    """Paragraphs; one that is much longer than a block is cut at the ends of its sentences."""
    for paragraph in re.split(r"\n\s*\n", body):
        line = " ".join(paragraph.split())
        length = count_words(line)
        if 3 * length > 4 * size:
            yield from ((piece.strip(), words) for piece, words in _filled(_sentences(line, size), size, ""))
        elif length:
            yield line, length


def _sentences(line: str, size: int) -> Iterator[tuple[str, int]]:
    """The sentences of a paragraph; what goes on without an end is cut between words."""
    for begin, end in pairwise([0, *(match.end() for match in SENTENCE_END.finditer(line)), len(line)]):
        sentence = line[begin:end]
        for start, stop in pairwise([0, *word_ends(sentence)[size - 1 : -1 : size], len(sentence)]):
            yield sentence[start:stop], count_words(sentence[start:stop])


# Records --------------------------------------------------------------------------------------------------------------


def groups(records: list[Record]) -> list[Document]:
    """The records of each group as one document, in the order of the file."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.group, []).append(record)
    return [
        Document(name, name, "\n\n".join(record.text for record in members), tuple(members))
        for name, members in found.items()
    ]


def different_records(records: list[Record]) -> list[Record]:
    """The records without those that say what an earlier one of the same group says.

    Records without a named group are groups of their own: of two that say the same, one would give the other away.
    """
    kept: dict[int, Record] = {}
    for record in records:
        kept.setdefault(hash((record.group if record.named_group else "", _said(record))), record)
    return list(kept.values())


def split_groups(parts: list[Document]) -> tuple[list[Document], list[Document]]:
    """Training and held-out groups: about a tenth is held out, ten groups at least where there are twenty, and 400 at most."""
    chosen = first_groups(parts, min(max(WANTED_GROUPS, len(parts) // 10), len(parts) // 2, MOST_GROUPS))
    held = {part.id for part in chosen}
    return [part for part in parts if part.id not in held], chosen


def first_groups(parts: list[Document], count: int) -> list[Document]:
    """So many groups by the hash of their name, or of their text without one: a growing file keeps the choice."""

    def place(part: Document) -> str:
        return hashlib.sha256(encoded(part.id if part.records[0].named_group else part.text)).hexdigest()

    chosen = {part.id for part in sorted(parts, key=place)[:count]}
    return [part for part in parts if part.id in chosen]


class Known:
    """What the training records say, to find the held-out ones that they give away."""

    def __init__(self, training: list[Document], held_out: list[Document]) -> None:
        """Of the training records; `held_out` are the only ones that will be looked for."""
        learned = [record for part in training for record in part.records]
        asked = (answer for part in held_out for record in part.records for answer in record.answers)
        self._same = {hash(_said(record)) for record in learned}
        self._answers = Overlap((answer for record in learned for answer in record.answers), asked)

    def holds(self, record: Record) -> bool:
        """Whether a training record says the same, or most of an answer stands in training answers."""
        return hash(_said(record)) in self._same or any(
            self._answers.share(answer) > KNOWN_SHARE for answer in record.answers
        )


def _said(record: Record) -> tuple[str, ...]:
    return tuple(plain(text) for text in record.texts)
