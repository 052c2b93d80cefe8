"""How much of the adapter is kept: measured on text that is set aside for it, unless the setting is a number.

A corpus also teaches its authors' style, which hurts at other text of the field. How much depends on the model: 0.6 of the adapter was best
for one model and made another one worse than the base model (docs/recipe.md). So the job measures the adapter at several scales on text
by others and keeps the best. Where too little of that is given, a few control texts choose, within bounds. What chooses does not judge.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from progress import say
from text import Document

# On the line from the base model, 0, to the trained one. Between two of them the loss hardly differs from either.
SCALES = (0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)
FEWEST_DOCUMENTS = 6  # as for a verdict: fewer cannot tell a gain from chance
FEWEST_BY_CONTROL = 4  # one of each kind; no gain is claimed by them
# A scale is kept if it lowers the loss by more standard errors than this; otherwise the base model is.
SHOWN = 2.0
# Where nothing was set aside: no model that was tried became worse at text by others at it (docs/recipe.md).
UNMEASURED_SCALE = 0.2
# Control text gains from a corpus's prose even where its style already hurts at text by others (docs/recipe.md). So the smallest scale
# with nearly its best gain is kept, and no more than this.
NEARLY, MOST_BY_CONTROL = 0.9, 0.45

SET, MEASURED, UNMEASURED = "set", "measured", "not measured"
BY_OTHERS, BY_CONTROL = "external test set", "retention set"


@dataclasses.dataclass(frozen=True)
class Point:
    """The loss at one scale, in nats a token, and how it differs from the base model's, with the standard error over documents."""

    scale: float
    loss: float
    difference: float
    standard_error: float


@dataclasses.dataclass(frozen=True)
class Choice:
    """The scale at which the adapter is saved, how it came about, and why it was not measured where it was not."""

    scale: float
    how: str
    why: str = ""
    by: str = ""  # BY_OTHERS or BY_CONTROL where it was measured
    curve: tuple[Point, ...] = ()
    documents: tuple[Document, ...] = ()
    seconds: float = 0.0

    @property
    def description(self) -> dict[str, Any]:
        """As metrics.json holds it."""
        return {
            "scale": self.scale,
            "how": self.how,
            "why": self.why,
            "by": self.by,
            "documents": [document.id for document in self.documents],
            "tokens": sum(len(document.tokens) for document in self.documents),
            "seconds": round(self.seconds, 3),
            "curve": [dataclasses.asdict(point) for point in self.curve],
        }


def unmeasured(why: str) -> Choice:
    """What is kept where nothing could be measured."""
    return Choice(UNMEASURED_SCALE, UNMEASURED, why)


def why_not(documents: Sequence[Document], *, by_control: bool = False) -> str:
    """Why no scale can be measured on these documents; empty where one can."""
    if not documents:
        return "no text was set aside for it"
    fewest = FEWEST_BY_CONTROL if by_control else FEWEST_DOCUMENTS
    if len(documents) < fewest:
        return f"only {len(documents)} documents were set aside for it, and {fewest} are needed"
    return ""


def measured(
    documents: Sequence[Document],
    base: Sequence[float],
    losses_at: Callable[[float], Sequence[float]],
    *,
    by_control: bool = False,
) -> Choice:
    """The choice by the losses of these documents: the base model's, and those that `losses_at` finds for a scale."""
    begun = time.monotonic()
    curve = [point(documents, base, base, 0.0)]
    for scale in SCALES:
        curve.append(point(documents, base, losses_at(scale), scale))
        say("scale", value=f"{scale:g}", loss=f"{curve[-1].loss:.4f}", change=f"{curve[-1].difference:+.4f}")
    kept, by = (best_by_control(curve), BY_CONTROL) if by_control else (best(curve), BY_OTHERS)
    say("kept", scale=f"{kept:g}")
    return Choice(kept, MEASURED, "", by, tuple(curve), tuple(documents), time.monotonic() - begun)


def best(curve: Sequence[Point]) -> float:
    """The scale with the lowest loss; 0 where not even that is clearly lower than the base model's."""
    lowest = min(curve, key=lambda one: one.loss)
    return lowest.scale if lowest.difference < -SHOWN * lowest.standard_error else 0.0


def best_by_control(curve: Sequence[Point]) -> float:
    """The smallest scale with nearly the best gain, from `UNMEASURED_SCALE` to `MOST_BY_CONTROL`."""
    needed = NEARLY * min(one.difference for one in curve)  # never above zero: the base model is one of them
    smallest = next(one.scale for one in curve if one.difference <= needed)
    return min(max(smallest, UNMEASURED_SCALE), MOST_BY_CONTROL)


def point(documents: Sequence[Document], base: Sequence[float], tuned: Sequence[float], scale: float) -> Point:
    """One scale's loss by the summed losses of each document, before and after."""
    sizes = [len(document.tokens) for document in documents]
    tokens, count = sum(sizes), len(sizes)
    changes = [after - before for before, after in zip(base, tuned, strict=True)]
    difference = sum(changes) / tokens
    # Of a ratio of two sums over documents, each of which counts once.
    squares = sum((change - difference * size) ** 2 for change, size in zip(changes, sizes, strict=True))
    error = math.sqrt(squares * count / (count - 1)) / tokens
    return Point(scale, sum(tuned) / tokens, difference, error)
