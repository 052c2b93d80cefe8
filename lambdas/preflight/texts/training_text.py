"""The training and held-out text of a run, read and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.errors import HeldOutLeaks
from common.text import words
from common.text.utf8 import encoded
from preflight.request import Request
from preflight.texts import holding_out, text_file
from preflight.texts.files import Files
from preflight.texts.overlap import Overlap
from preflight.texts.text_file import Document

Attempt = Callable[[Callable[[], Any]], Any]


@dataclass(frozen=True)
class Amount:
    """How much of a corpus is learned at most: `words` by the setting corpus_words (0 for all), `bytes` by the time of the run."""

    words: int = 0
    bytes: int = text_file.MOST_CORPUS_BYTES


@dataclass(frozen=True)
class Texts:
    """What is learned and what is held out, with the runs of words of the former, the words that are learned, and what is to be told."""

    training: list[Document]
    held_out: list[Document]
    overlap: Overlap
    words: int
    warnings: list[str]


def gather(files: Files, request: Request, amount: Amount, attempt: Attempt, measured: list[Document]) -> Texts | None:
    """Training and held-out text; None where `attempt` kept a fault. `measured` are the other texts that the run measures."""
    makes_held_out = request.corpus is not None and request.held_out is None
    corpus_name, held_out_name = (
        files.name(request.corpus, "dataset.txt"),
        files.name(request.held_out, "heldout.txt"),
    )
    corpus = attempt(
        lambda: files.text(
            request.corpus, "dataset.txt", text_file.MINIMUM_WORDS, most_bytes=text_file.MOST_CORPUS_BYTES
        )
    )
    given = None
    if not makes_held_out:
        given = attempt(lambda: files.text(request.held_out, "heldout.txt", text_file.MINIMUM_HELD_OUT_WORDS))
    if corpus is None or (given is None and not makes_held_out):
        return None
    if given is None:
        whole, held_out = holding_out.split(corpus)
    else:
        whole, held_out = text_file.documents(corpus, "training"), _documents_or_passages(given)
    training, warnings = learned(whole, amount, corpus_name)
    asked = [given or "", *(part.text for part in (*held_out, *measured))]
    overlap = Overlap(map(text_file.titled, training), asked)
    if given is not None:
        attempt(lambda: overlap.refuse(held_out_name, given))
    else:
        # What a text says twice cannot be held out.
        held_out = [part for part in held_out if overlap.first(part.text) is None]
        if not held_out:
            attempt(lambda: _refuse_repetition(corpus_name))
            return None
    held_out, repeated = holding_out.different(held_out)
    total = sum(words.count(text_file.titled(part)) for part in training)
    return Texts(training, held_out, overlap, total, warnings + _about_held_out(held_out, repeated))


def learned(parts: list[Document], amount: Amount, name: str) -> tuple[list[Document], list[str]]:
    """As many whole documents, from all over a corpus, as a run may learn, and a warning where its time is too short for all."""
    size = sum(len(encoded(part.text)) for part in parts)
    if size <= amount.bytes:
        return text_file.part(parts, amount.words), []
    if len(parts) < holding_out.WHOLE_DOCUMENTS and not parts[0].records:
        parts = holding_out.blocks(text_file.as_text(parts))
    fitting = sum(words.count(part.text) for part in parts) * amount.bytes // size
    taken = text_file.part(parts, min(fitting, amount.words or fitting))
    return taken, [
        f"{name} has {size / 2**20:,.1f} MiB of text, of which {len(taken):,} of {len(parts):,} documents or passages from all over it are learned: a run of "
        "this length learns no more (max_training_seconds, epochs)."
    ]


def _about_held_out(held_out: list[Document], repeated: int) -> list[str]:
    """What is to be told of the held-out documents before the run; `repeated` of them were left out."""
    warnings = []
    if repeated:
        warnings.append(f"{repeated} held-out documents say what another one says; each is measured once.")
    if len(held_out) < holding_out.MINIMUM_DOCUMENTS:
        warnings.append(
            f"Only {len(held_out)} held-out documents: with fewer than {holding_out.MINIMUM_DOCUMENTS} the verdict is always “not shown”. Give a longer "
            "text, or more documents under `# Title` lines."
        )
    elif holding_out.are_passages(held_out):
        warnings.append(
            f"The text has too few documents under `# Title` lines, so it was cut into passages: {len(held_out)} of them are held out and count as documents. "
            "Passages of one document are alike, so the interval looks surer than it is."
        )
    return warnings


def _refuse_repetition(name: str) -> None:
    """Raises HeldOutLeaks for a corpus of which no part can be held out."""
    raise HeldOutLeaks(
        f"Every part of {name} that was to be held out stands in another part as well, so its loss would prove nothing. "
        "Remove the repetitions, or give `heldOut` text of its own."
    )


def _documents_or_passages(given: str) -> list[Document]:
    """The documents of a held-out text of the user's, or passages where there are too few."""
    held_out = text_file.documents(given, "heldout")
    return held_out if len(held_out) >= holding_out.MINIMUM_DOCUMENTS else holding_out.blocks(given)
