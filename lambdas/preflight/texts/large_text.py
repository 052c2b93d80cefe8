"""Training and held-out text of a corpus that is too large to be held: read as a stream, in memory that does not grow with it.

What is learnt or measured is checked as in any corpus. The rest, which no run of this length could learn, is read for its form only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Any

from common.errors import DatasetChanged, DatasetRejected
from common.storage import Head, ObjectChanged
from common.text import words
from common.text.utf8 import encoded
from preflight.request import Request
from preflight.texts import holding_out, personal_data, stream, text_file, training_text
from preflight.texts.files import Files
from preflight.texts.overlap import Overlap
from preflight.texts.packed import Packed
from preflight.texts.prose import Prose
from preflight.texts.stream import Unit
from preflight.texts.text_file import Document

LARGEST_BYTES = 2**30
# What Preflight checks in its own time beside a whole reading of the largest corpus: python -m verification.experiments.large_corpus.
MOST_LEARNT_BYTES = 32 * 2**20
# As many as a text of 4 MiB has held out, in passages. Scored twice, as outside text, of which as much is measured.
MOST_HELD_OUT, MEASURED_WORDS = 400, 50_000
_ENDING = ".txt"
# By so much of a text it is known how many bytes its words take.
_SAMPLE_WORDS = 1000


@dataclass(frozen=True)
class Amount:
    """How much of a corpus may be taken: `words` as the setting corpus_words, `bytes` as the time of the run, and the seconds for reading it."""

    words: int = 0
    bytes: int = MOST_LEARNT_BYTES
    seconds: float = 3600


@dataclass
class _Taken:
    """What is taken from a corpus of so many bytes, and what was found in it."""

    size: int
    amount: Amount
    prose: Prose = field(default_factory=lambda: Prose(text_file.MINIMUM_WORDS))
    training: Packed = field(default_factory=Packed)
    held_out: list[Document] = field(default_factory=list)
    personal: list[tuple[int, str]] = field(default_factory=list)
    words: int = 0
    _seen: int = 0
    _kept: int = 0
    _sample_words: int = 0
    _sample_bytes: int = 0

    @property
    def most_bytes(self) -> int:
        """How much is to be learnt, as far as the sample tells."""
        wanted = (
            self.amount.words * self._sample_bytes // max(1, self._sample_words) if self.amount.words else self.size
        )
        return min(self.amount.bytes, wanted, self.size)

    def takes(self, unit: Unit) -> bool:
        """Whether a unit is learnt, so that what is learnt is spread evenly over the text."""
        self._seen += len(unit.text)
        if unit.text.isspace():
            return False
        if self.amount.words and self._sample_words < _SAMPLE_WORDS:
            self._sample_words += words.count(unit.text)
            self._sample_bytes += len(encoded(unit.text))
        most = self.most_bytes
        if most < self.size and (self._kept + len(unit.text) / 2) * self.size > most * self._seen:
            return False
        self._kept += len(unit.text)
        return True

    def learn(self, unit: Unit, part: Document) -> None:
        """Takes a unit, which is the document `part`, to be learnt."""
        self.check(unit)
        self.training.add(part)
        self.words += words.count(text_file.titled(part))

    def check(self, unit: Unit) -> None:
        """Looks through a unit that is learnt or measured."""
        self.prose.add(unit.text, unit.line)
        self.personal += personal_data.places(unit.text, unit.line)


def is_large(files: Files, request: Request) -> bool:
    """Whether the corpus is a text that has to be read as a stream."""
    key = request.corpus
    if key is None or not key.endswith(_ENDING):
        return False
    head = files.head(key)
    return head is not None and head.size > text_file.MAXIMUM_BYTES


def gather(
    files: Files,
    request: Request,
    amount: Amount,
    attempt: Callable[[Callable[[], Any]], Any],
    measured: list[Document],
) -> training_text.Texts | None:
    """Training and held-out text; None where `attempt` kept a fault. `measured` are the other texts that the run measures, to be compared."""
    assert request.corpus is not None, "a large corpus is a file of the user's"
    apart = None
    if request.held_out is not None:
        apart = attempt(lambda: files.text(request.held_out, "heldout.txt", text_file.MINIMUM_HELD_OUT_WORDS))
    read = attempt(lambda: _read(files, request, amount))
    if read is None or (request.held_out is not None and apart is None):
        return None
    taken, warnings = read
    held_out = taken.held_out if apart is None else training_text.held_out_documents(apart)
    # Whatever the run will ask of the training text.
    asked = [apart or "", *(part.text for part in (*held_out, *measured))]
    overlap = Overlap.of_many(map(text_file.titled, taken.training), asked)
    return training_text.settled(
        files, request, taken.training, held_out, apart, overlap, attempt, words=taken.words, told=warnings
    )


def _read(files: Files, request: Request, amount: Amount) -> tuple[_Taken, list[str]]:
    """What is learnt and measured of a corpus, and what is to be told. Raises DatasetRejected, DatasetChanged or PatientDataSuspected."""
    name = request.corpus or ""
    head, begun = files.head(name) or Head(0, ""), time.monotonic()
    size = head.size
    if size > LARGEST_BYTES:
        raise text_file.too_large(name, size, LARGEST_BYTES)

    def pieces(opened: ExitStack) -> Iterator[bytes]:
        for piece in opened.enter_context(closing(files.storage.pieces(name, head.version, size))):
            if time.monotonic() - begun > amount.seconds:
                raise DatasetRejected(
                    f"{name} has {size / 2**20:,.0f} MiB, which could not be read and checked in {amount.seconds:.0f} seconds. Give a part of it."
                )
            yield piece

    try:
        # Closed here, whatever happens: what reads ahead must not be left to the collection of garbage, which may come in its own thread.
        with ExitStack() as opened:
            titles = stream.count_titles(pieces(opened), name)
        with ExitStack() as opened:
            taken = _take(pieces(opened), name, size, titles, request.held_out is None, amount)
    except ObjectChanged as error:
        raise DatasetChanged(
            f"{name} was replaced while it was read. Start a new execution, and leave the file alone until it trains."
        ) from error
    taken.prose.refuse(name)
    personal_data.refuse_places(taken.personal, name)
    if not taken.training:
        raise DatasetRejected(
            f"All text of {name} stands under the `# Title` lines that are held out, so nothing is left to learn. Give the other titles text, or "
            "`heldOut` text of its own."
        )
    return taken, _told(name, taken)


def _take(pieces: Iterator[bytes], name: str, size: int, titles: int, holds_out: bool, amount: Amount) -> _Taken:
    titled = titles >= holding_out.WHOLE_DOCUMENTS
    total = titles if titled else size // stream.STRETCH
    held = holding_out.chosen(total, MOST_HELD_OUT) if holds_out else set()
    taken, title = _Taken(size, amount), ""
    spare: tuple[Unit, str] | None = None
    for unit in stream.units(stream.decoded(pieces, name), titled=titled):
        if titled and not unit.part:
            title = _title(unit)
        if unit.number in held:
            if not unit.part:
                taken.check(unit)
                if part := _document(unit, title, titled):
                    taken.held_out.append(_opening(part, len(held)))
        elif taken.takes(unit):
            if part := _document(unit, title, titled):
                taken.learn(unit, part)
        elif spare is None and not taken.training and _document(unit, title, titled):
            spare = unit, title
    if spare and not taken.training:
        # Each document is longer than twice what is wanted of the whole.
        unit = _shortened(spare[0], max(text_file.MINIMUM_WORDS, amount.words))
        if part := _document(unit, spare[1], titled):
            taken.learn(unit, part)
    return taken


def _title(unit: Unit) -> str:
    """The title of the document that begins with a unit; one without is called as text_file.documents calls it."""
    head = text_file.with_line_ends_of_text(unit.text.partition("\n")[0])
    return (head[2:].strip() if head.startswith("# ") else "") or f"corpus {unit.number + 1}"


def _document(unit: Unit, title: str, titled: bool) -> Document | None:
    """A unit as a document under the title of the one that it is or belongs to; None for one without text."""
    body = text_file.with_line_ends_of_text(text_file.without_titles(unit.text)).strip()
    if not body:
        return None
    if not titled:
        return holding_out.block(unit.number + 1, body)
    return Document(f"corpus-{unit.number + 1:03d}", title, body)


def _shortened(unit: Unit, wanted_words: int) -> Unit:
    """The beginning of a unit, which starts at the same line."""
    opening = words.opening(unit.text, wanted_words)
    return replace(unit, text=unit.text[: unit.text.index(opening) + len(opening)])


def _opening(part: Document, among: int) -> Document:
    """As much of a held-out document as is measured of each."""
    return Document(part.id, part.title, words.opening(part.text, max(1, MEASURED_WORDS // among)))


def _told(name: str, taken: _Taken) -> list[str]:
    amount, most = taken.amount, taken.most_bytes
    if most >= taken.size:
        return []
    reason = (
        "corpus_words asks for no more"
        if most < amount.bytes
        else "a run of this length learns no more (max_training_seconds, epochs)"
        if amount.bytes < MOST_LEARNT_BYTES
        else "the most that is checked and learnt of any"
    )
    return [
        f"{name} has {taken.size / 2**20:,.1f} MiB, of which {taken.training.size / 2**20:,.1f} MiB are learnt, {len(taken.training)} documents or passages "
        f"from all over it: {reason}. The rest was read for its form only, and not looked through for data of persons."
    ]
