"""Loss per document, by the same code on the same tokens for the base and for the tuned model."""

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from failure import TrainingFailure
from model.network import Network
from processes import ALONE, Group
from progress import Clock, Pace, say
from records.record import SCORED, pieces
from text import IGNORED, Boundaries, Document

BATCH_TOKENS = {"cpu": 1024, "cuda": 8192}  # per forward pass: more gains nothing on either
TELL_SECONDS = 5.0  # between two lines on how far a set is scored

# Nats per token above guessing among all tokens alike. An untrained model guesses: the tests' own stay within 0.8. A trained one that
# reads words of another vocabulary is sure of what is wrong: SmolLM2-135M with its ids in any other order lost 12.3 nats a token on 12
# abstracts, 1.5 more than guessing, and 2.9 with its own. Text that it hardly knows stays far below: base64 5.4, made-up DNA 3.3.
ABOVE_GUESSING = 1.0
ANOTHER_TOKENIZER = (
    "The tokenizer in the model channel (tokenizer.json or tokenizer.model, and tokenizer_config.json) belongs to another model: "
    "replace it with the one that was published with these weights."
)


class OutOfTime(Exception):
    """Scoring was given up because what is left of the time is needed to save."""


def windows(tokens: Sequence[int], edges: Boundaries, length: int) -> list[tuple[list[int], list[int]]]:
    """(inputs, labels) that score every token of a document exactly once.

    Each window of up to `length` tokens has the start token as its first context (the end token where there is none).
    """
    context = edges.end if edges.start is None else edges.start
    cuts = [list(tokens[begin : begin + length]) for begin in range(0, len(tokens), length)]
    return [([context, *cut[:-1]], cut) for cut in cuts]


def _windows_of(document: Document, edges: Boundaries, length: int) -> list[tuple[list[int], list[int]]]:
    """What scores a document: all of its text, or of records their answers, each after its own prompt."""
    if not document.read:
        return windows(document.tokens, edges, length)
    return [piece for one in document.read for piece in pieces(one, length, SCORED)]


def scored_tokens(documents: Iterable[Document], edges: Boundaries, length: int) -> int:
    """How many tokens the model reads to score these documents: of records, also those before the answers."""
    return sum(len(labels) for document in documents for _, labels in _windows_of(document, edges, length))


def score(
    network: Network,
    documents: Sequence[Document],
    edges: Boundaries,
    length: int,
    *,
    tuned: bool,
    clock: Clock,
    name: str = "documents",
    keep_seconds: float = 0.0,
    group: Group = ALONE,
) -> list[float]:
    """Summed negative log likelihood in nats of each document; each process of the group scores its share of them.

    Prints now and then how much of the set `name` is done.

    Raises OutOfTime when fewer than `keep_seconds` remain, or when the base model's losses will have nothing to be compared with
    because the job is being stopped. Raises TrainingFailure when a loss is not finite.
    """
    todo = [
        (number, inputs, labels)
        for number, document in enumerate(documents)
        for inputs, labels in _windows_of(document, edges, length)
    ]
    todo.sort(key=lambda item: len(item[1]))  # windows of like length together: little padding
    todo = todo[group.rank :: group.size]
    sums = [0.0] * len(documents)
    windows_count = len(todo)
    spoken = before = time.monotonic()
    given_up, at_once = False, BATCH_TOKENS[network.device.type]
    with network.scoring(tuned=tuned):
        while todo and not given_up:
            if clock.remaining < keep_seconds or (clock.stop_requested and not tuned):
                given_up = True
                continue
            longest = len(todo[-1][1])
            count = max(1, at_once // longest)
            batch, todo = todo[-count:], todo[:-count]
            inputs = [row + [edges.end] * (longest - len(row)) for _, row, _ in batch]
            labels = [row + [IGNORED] * (longest - len(row)) for _, _, row in batch]
            losses = _losses_where_they_fit(network, inputs, labels)
            if losses is None:
                todo, at_once = todo + batch, len(batch) // 2 * longest
                say("note", text="GPU memory full: scoring goes on with fewer windows at a time")
                continue
            for (number, _, _), nats in zip(batch, losses.double().sum(dim=-1).tolist(), strict=True):
                sums[number] += nats
            now = time.monotonic()
            clock.pace.done(Pace.SCORE, sum(len(row) for _, _, row in batch), now - before)
            before = now
            if now - spoken >= TELL_SECONDS:
                spoken = now
                say("scored", set=name, windows=windows_count - len(todo), of=windows_count, **clock.pace.told())
    *sums, gave_up = group.sums([*sums, float(given_up)])
    if gave_up:
        raise OutOfTime
    if not all(math.isfinite(value) for value in sums):
        which = "tuned" if tuned else "base"
        raise TrainingFailure(
            f"The {which} model's loss on a document is not a finite number.",
            "Lower learning_rate." if tuned else "Replace the weights in the model channel.",
        )
    return sums


def _losses_where_they_fit(
    network: Network, inputs: Sequence[Sequence[int]], labels: Sequence[Sequence[int]]
) -> torch.Tensor | None:
    """The losses; None where the GPU's memory is full and fewer windows than these may fit."""
    try:
        return network.token_losses(torch.tensor(inputs), torch.tensor(labels))
    except torch.cuda.OutOfMemoryError:
        if len(inputs) == 1:
            raise
    torch.cuda.empty_cache()
    return None


def mean_loss(documents: Sequence[Document], sums: Sequence[float] | None) -> float | None:
    """Nats per token over all documents, or None where nothing was scored."""
    tokens = sum(len(document.tokens) for document in documents)
    return None if sums is None or not tokens else sum(sums) / tokens


def paired(
    documents: Sequence[Document], base: Sequence[float] | None, tuned: Sequence[float] | None
) -> dict[str, Any]:
    """One evaluation set as metrics.json holds it; what was not scored is null."""
    rows = [
        {
            "id": document.id,
            "title": document.title,
            "tokens": len(document.tokens),
            "bytes": document.bytes,
            "base_nll": None if base is None else base[index],
            "tuned_nll": None if tuned is None else tuned[index],
        }
        for index, document in enumerate(documents)
    ]
    return {
        "documents": rows,
        "base_loss": mean_loss(documents, base),
        "tuned_loss": mean_loss(documents, tuned),
        "tokens": sum(len(document.tokens) for document in documents),
    }


def refuse_unknown_tokens(documents: Iterable[Document], edges: Boundaries, known: int) -> None:
    """Raises TrainingFailure where a text or its edges hold a token id for which the model's embedding of `known` rows has none.

    On a GPU such an id ends the job in an assertion that names neither the token nor the tokenizer.
    """
    texts = (tokens for document in documents for tokens in (document.tokens, *(one.tokens for one in document.read)))
    highest = max([edges.end, edges.start or 0, *(max(tokens, default=0) for tokens in texts)])
    if highest >= known:
        raise TrainingFailure(
            f"The tokenizer produces the token {highest}, but the model has only the tokens 0 to {known - 1}.",
            ANOTHER_TOKENIZER,
        )


def refuse_worse_than_guessing(loss: float | None, known: int) -> None:
    """Raises TrainingFailure where the base model's loss in nats a token says that it finds such text less likely than any other.

    Looked at before anything is trained: the ids may all be known and still mean other words.
    """
    guessing = math.log(known)
    if loss is not None and loss > guessing + ABOVE_GUESSING:
        raise TrainingFailure(
            f"The base model's loss is {loss:.1f} nats per token, worse than the {guessing:.1f} of guessing among its {known} tokens: "
            "it decodes the texts as other words.",
            ANOTHER_TOKENIZER,
        )
