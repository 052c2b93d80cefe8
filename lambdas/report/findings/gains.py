"""Did the tuned model gain more on the field's text than on text about anything else?

Any training on clean prose can make a model better at prose. What the field's corpus taught shows in how much further the
loss fell on the held-out documents than on the control documents, which are about unrelated subjects.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from report.findings.intervals import RESAMPLES, Clusters, Moments, difference_interval, moments, ratio_of_moments
from report.findings.statistics import changes, usable_documents

SHUFFLES = 10_000

Sides = tuple[Sequence[float], Sequence[float]]  # (numerators, weights)


def compare_gains(
    heldout: Mapping[str, Any] | None,
    control: Mapping[str, Any] | None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    shuffles: int = SHUFFLES,
) -> dict[str, Any] | None:
    """The loss difference on held-out text less that on control text, in nats per token: below zero, the field gained more.

    Both arguments are {"documents": [...]} as the training script writes them; documents without usable losses are left
    out and counted. Returns None where either text has none. Documents of either text are resampled apart; the test
    shuffles documents between the two texts.
    """
    (first, first_unusable), (second, second_unusable) = (_changes(part) for part in (heldout, control))
    sides = (first, second)
    if not all(weights for _, weights in sides):
        return None
    difference = difference_interval(*sides, seed=seed, resamples=resamples)
    return {
        "heldout_documents": len(sides[0][1]),
        "control_documents": len(sides[1][1]),
        "unusable_documents": first_unusable + second_unusable,
        "difference": difference.as_dict(),
        "p_value": shuffle_test(*sides, seed=seed, shuffles=shuffles),
        "p_method": "sampled",
    }


def shuffle_test(first: Sides, second: Sides, *, seed: int = 0, shuffles: int = SHUFFLES) -> float | None:
    """Two-sided p that two texts changed alike: a studentised permutation test on documents, the observed order counted.

    Each difference is divided by its own standard error, which keeps the test right where one text's documents differ more
    among themselves than the other's (Janssen, 1997). None where either text has fewer than two documents.
    """
    counts = len(first[1]), len(second[1])
    if min(counts) < 2:
        return None
    rows = Clusters(*first).rows + Clusters(*second).rows
    total = moments(rows)
    observed = abs(_score(counts, total, rows[: counts[0]])) * (1 - 1e-9)
    rng = random.Random(seed)
    reached = sum(abs(_score(counts, total, rng.sample(rows, counts[0]))) >= observed for _ in range(shuffles))
    return (reached + 1) / (shuffles + 1)


def _score(counts: tuple[int, int], total: Moments, chosen: Sequence[Moments]) -> float:
    """How many standard errors the chosen documents' ratio lies from that of all others; 0 for no difference at all."""
    sums = moments(chosen)
    rest = tuple(whole - part for whole, part in zip(total, sums, strict=True))
    ratio, error = ratio_of_moments(counts[0], sums)
    other, other_error = ratio_of_moments(counts[1], (rest[0], rest[1], rest[2], rest[3], rest[4]))
    change, spread = ratio - other, math.hypot(error, other_error)
    if abs(change) <= 1e-12 * (abs(ratio) + abs(other)):
        return 0.0
    return change / spread if spread else math.copysign(math.inf, change)


def _changes(measured: Mapping[str, Any] | None) -> tuple[Sides, int]:
    """(loss change in nats, tokens) of every usable document, and how many are not usable."""
    usable, unusable = usable_documents(list((measured or {}).get("documents") or []))
    return changes(usable), unusable
