"""Training and held-out text of a corpus that is too large to be held: read as a stream, in memory that does not grow with it.

What is learnt or measured is checked as in any corpus. The rest, which no run of this length could learn, is read for its form only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

from common.errors import CaptuneError, DatasetChanged, DatasetRejected
from common.storage import ObjectChanged
from common.text import words
from preflight.request import Request
from preflight.texts import holding_out, personal_data, stream, text_file, training_text
from preflight.texts.files import Files
from preflight.texts.overlap import Overlap
from preflight.texts.packed import Packed
from preflight.texts.prose import Prose
from preflight.texts.stream import Unit
from preflight.texts.text_file import Document

LARGEST_BYTES = 2**30
# What Preflight checks in its own time beside a whole reading of the largest corpus: python -m evidence.large_corpus.
MOST_LEARNT_BYTES = 32 * 2**20
# As many as a text of 4 MiB has held out, in passages. Scored twice, as outside text, of which as much is measured.
MOST_HELD_OUT, MEASURED_WORDS = 400, 50_000
_ENDING = ".txt"


@dataclass(frozen=True)
class Amount:
    """How much of a corpus may be taken: `words` as the setting corpus_words, `bytes` as the time of the run, and the seconds for reading it."""

    words: int = 0
    bytes: int = MOST_LEARNT_BYTES
    seconds: float = 3600


@dataclass
class _Taken:
    """What is taken from a corpus, and what was found in it."""

    share: float
    prose: Prose = field(default_factory=lambda: Prose(text_file.MINIMUM_WORDS))
    training: Packed = field(default_factory=Packed)
    held_out: list[Document] = field(default_factory=list)
    personal: list[tuple[int, str]] = field(default_factory=list)
    words: int = 0
    _seen: int = 0
    _kept: int = 0

    def takes(self, unit: Unit) -> bool:
        """Whether a unit is learnt, so that what is learnt is spread evenly over the text."""
        self._seen += len(unit.text)
        if self.share < 1 and self._kept + len(unit.text) / 2 > self.share * self._seen:
            return False
        self._kept += len(unit.text)
        return True

    def check(self, unit: Unit) -> None:
        """Looks through a unit that is learnt or measured."""
        self.prose.add(unit.text, unit.line)
        self.personal += personal_data.places(unit.text, unit.line)


def is_large(files: Files, request: Request) -> bool:
    """Whether the corpus is a text that has to be read as a stream."""
    key = request.corpus
    if key is None or not key.endswith(_ENDING):
        return False
    return (files.storage.size(key) or 0) > text_file.MAXIMUM_BYTES


def gather(
    files: Files, request: Request, amount: Amount, attempt: Callable[[Callable[[], Any]], Any]
) -> training_text.Texts | None:
    """Training and held-out text; None where `attempt` kept a fault."""
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
    asked = [apart or "", *(part.text for part in (*held_out, *_others(files, request)))]
    overlap = Overlap.of_many(map(text_file.titled, taken.training), asked)
    return training_text.settled(
        files, request, taken.training, held_out, apart, overlap, attempt, words=taken.words, told=warnings
    )


def _others(files: Files, request: Request) -> list[Document]:
    """Control and outside text, as far as they can be read; what is wrong with them is told where they are used."""
    found: list[Document] = []
    for reading in (files.control, lambda: files.outside(request.held_outside) if request.held_outside else []):
        try:
            found += reading()
        except CaptuneError:
            continue
    return found


def _read(files: Files, request: Request, amount: Amount) -> tuple[_Taken, list[str]]:
    """What is learnt and measured of a corpus, and what is to be told. Raises DatasetRejected, DatasetChanged or PatientDataSuspected."""
    name = request.corpus or ""
    size = files.storage.size(name) or 0
    if size > LARGEST_BYTES:
        raise text_file.too_large(name, size, LARGEST_BYTES)
    version, begun = files.storage.version(name), time.monotonic()

    def pieces(opened: ExitStack) -> Iterator[bytes]:
        for piece in opened.enter_context(closing(files.storage.pieces(name, version, size))):
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
    return taken, _told(name, size, taken, amount)


def _take(pieces: Iterator[bytes], name: str, size: int, titles: int, holds_out: bool, amount: Amount) -> _Taken:
    titled = titles >= holding_out.WHOLE_DOCUMENTS
    chosen = _chosen(titles if titled else size // stream.STRETCH) if holds_out else set()
    taken: _Taken | None = None
    for unit in stream.units(stream.decoded(pieces, name), titled=titled):
        taken = taken or _Taken(min(amount.bytes, _bytes_of(amount.words, unit.text) or size) / size)
        learnt = unit.number not in chosen and taken.takes(unit)
        if not learnt and (unit.number not in chosen or unit.part):
            continue
        taken.check(unit)
        part = _document(unit, titled)
        if part is None:
            continue
        if learnt:
            taken.training.add(part)
            taken.words += words.count(text_file.titled(part))
        else:
            taken.held_out.append(_opening(part, len(chosen)))
    return taken or _Taken(1)


def _bytes_of(wanted_words: int, sample: str) -> int:
    """About how many bytes so many words take, going by a sample of the text."""
    return wanted_words * len(sample.encode("utf-8", "replace")) // max(1, words.count(sample))


def _chosen(total: int) -> set[int]:
    """Which of so many documents or stretches are held out: spread over the text as in `holding_out.split`."""
    wanted = min(max(holding_out.MINIMUM_DOCUMENTS, total // 10), total // 2, MOST_HELD_OUT)
    return holding_out.spread(wanted, total)


def _document(unit: Unit, titled: bool) -> Document | None:
    """A unit as a document; None for one without text."""
    if not titled:
        body = text_file.with_line_ends_of_text(text_file.without_titles(unit.text)).strip()
        return holding_out.block(unit.number + 1, body) if body else None
    found = text_file.documents(unit.text, "corpus")
    if not found:
        return None
    identifier = f"corpus-{unit.number + 1:03d}"
    title = found[0].title if unit.text.startswith("# ") else identifier
    return Document(identifier, title, found[0].text)


def _opening(part: Document, among: int) -> Document:
    """As much of a held-out document as is measured of each."""
    return Document(part.id, part.title, words.opening(part.text, max(1, MEASURED_WORDS // among)))


def _told(name: str, size: int, taken: _Taken, amount: Amount) -> list[str]:
    if taken.share >= 1:
        return []
    most = amount.bytes < MOST_LEARNT_BYTES
    reason = (
        "corpus_words asks for no more"
        if amount.words and taken.share * size < amount.bytes
        else "a run of this length learns no more (max_training_seconds, epochs)"
        if most
        else "the most that is checked and learnt of any"
    )
    return [
        f"{name} has {size / 2**20:,.1f} MiB, of which {taken.training.size / 2**20:,.1f} MiB are learnt, {len(taken.training)} documents or passages from "
        f"all over it: {reason}. The rest was read for its form only, and not looked through for data of persons."
    ]
