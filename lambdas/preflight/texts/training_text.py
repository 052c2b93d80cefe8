"""The training and held-out text of a run, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import HeldOutLeaks
from common.text import words
from preflight.request import Request
from preflight.texts import holding_out, text_file
from preflight.texts.files import Files
from preflight.texts.overlap import Overlap
from preflight.texts.text_file import Document


@dataclass(frozen=True)
class Texts:
    """What is learnt and what is held out, with the runs of words of the former, what is to be told, and the words that are learnt."""

    training: Sequence[Document]
    held_out: list[Document]
    overlap: Overlap
    warnings: list[str]
    words: int


def gather(
    files: Files, request: Request, corpus_words: int, attempt: Callable[[Callable[[], Any]], Any]
) -> Texts | None:
    """Training and held-out text; None where `attempt` kept a fault."""
    makes_held_out = request.corpus is not None and request.held_out is None
    corpus = attempt(lambda: files.text(request.corpus, "dataset.txt", text_file.MINIMUM_WORDS))
    apart = None
    if not makes_held_out:
        apart = attempt(lambda: files.text(request.held_out, "heldout.txt", text_file.MINIMUM_HELD_OUT_WORDS))
    if corpus is None or (apart is None and not makes_held_out):
        return None
    if apart is None:
        training, held_out = holding_out.split(corpus)
    else:
        training, held_out = text_file.documents(corpus, "training"), held_out_documents(apart)
    training = text_file.part(training, corpus_words)
    text = text_file.as_text(training)
    return settled(files, request, training, held_out, apart, Overlap(text), attempt, words=words.count(text), told=[])


def settled(
    files: Files,
    request: Request,
    training: Sequence[Document],
    held_out: list[Document],
    apart: str | None,
    overlap: Overlap,
    attempt: Callable[[Callable[[], Any]], Any],
    *,
    words: int,
    told: list[str],
) -> Texts | None:
    """The texts of a run without what the training text gives away; `apart` is a held-out text of the user's. None where `attempt` kept a fault."""
    if apart is None:
        # What a text says twice cannot be held out.
        held_out = [part for part in held_out if overlap.first(part.text) is None]
        if not held_out:
            attempt(lambda: _refuse_repetition(files.name(request.corpus, "dataset.txt")))
            return None
    else:
        attempt(lambda: overlap.refuse(files.name(request.held_out, "heldout.txt"), apart))
    held_out, repeated = holding_out.different(held_out)
    return Texts(training, held_out, overlap, told + _told_of_held_out(held_out, repeated), words)


def _told_of_held_out(held_out: list[Document], repeated: int) -> list[str]:
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


def held_out_documents(apart: str) -> list[Document]:
    """The documents of a held-out text of the user's, or passages where there are too few."""
    held_out = text_file.documents(apart, "heldout")
    return held_out if len(held_out) >= holding_out.MINIMUM_DOCUMENTS else holding_out.blocks(apart)
