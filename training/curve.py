"""The held-out curve: the loss on the openings of a few held-out documents, before the first step and after each quarter of the steps.

The training loss follows the order of the text and rises where harder text comes later. This curve is of the same tokens each time.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from evaluation import OutOfTime, mean_loss, scored_tokens
from text import Boundaries, Document, Rows, excerpts

PARTS = 4  # of the steps, each of which ends in a point
# Of the tokens that are trained on, for all points together. To score a token takes a third to a half of the time of training on it.
SHARE = 0.1
LEAST_TOKENS, MOST_DOCUMENTS = 32, 12  # of an opening, and openings
FEWEST_DOCUMENTS = 4  # fewer would show the chance of single documents


@dataclasses.dataclass
class Curve:
    """The documents that are scored, and the steps after which they are; none of both where the training is too short."""

    documents: Sequence[Document] = ()
    steps: frozenset[int] = frozenset()
    seconds: float = 0.0  # of the last point

    def point(self, losses_of: Callable[[Sequence[Document]], Sequence[float]], device: torch.device) -> float | None:
        """The loss now in nats a token; None where `losses_of` raises OutOfTime. The training draws what it would draw without."""
        begun = time.monotonic()
        try:
            with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
                return mean_loss(self.documents, losses_of(self.documents))
        except OutOfTime:
            return None
        finally:
            self.seconds = time.monotonic() - begun


def curve_of(
    held_out: Sequence[Document], rows: Rows, steps: int, tokenizer: Any, edges: Boundaries, *, length: int, seed: int
) -> Curve:
    """The curve of a training of so many steps on these rows: as many openings, each as long, as its share of the tokens allows."""
    left = int(SHARE * rows.tokens(len(rows))) // (PARTS + 1)
    count = min(MOST_DOCUMENTS, len(held_out), left // LEAST_TOKENS)
    chosen = []
    for document in excerpts(held_out, tokenizer, min(length, left // max(1, count)), seed, count):
        size = scored_tokens([document], edges, length)
        if size <= left:  # records stay whole
            chosen.append(document)
            left -= size
    if len(chosen) < FEWEST_DOCUMENTS:
        return Curve()
    return Curve(chosen, frozenset(round(steps * part / PARTS) for part in range(PARTS + 1)))
