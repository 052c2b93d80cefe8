"""Comparison of two models on the same texts: how much the loss per token differs, and how surely.

All differences are tuned minus base, so a negative loss difference is an improvement. Any training on clean prose can make a
model better at prose; what the field's corpus taught shows in how much further the loss fell on held-out documents than on
control documents, which are about unrelated subjects.
"""

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from report.findings.intervals import (
    RESAMPLES,
    Moments,
    Side,
    difference_interval,
    interval,
    moment_rows,
    moments,
    ratio_of_moments,
    transformed,
)
from report.summary_types import Estimate

EXACT_LIMIT = 24  # two halves of 2^12 sums take about 10 ms; beyond that, random flips
FLIPS = SHUFFLES = 10_000


def sign_flip(differences: Sequence[float], *, seed: int = 0, flips: int = FLIPS) -> tuple[float | None, str]:
    """Two-sided p that the summed paired differences are as large by chance, and "exact" or "sampled".

    Under the null, each difference could as well have had the other sign. Every sign pattern is counted for up to
    24 differences that are not zero; beyond that `flips` seeded patterns, with the observed one counted among them.
    """
    if not differences or not all(map(math.isfinite, differences)):
        return None, "none"
    # A difference of exactly zero is the same under both signs: it changes neither the sum nor the share.
    moving = [abs(value) for value in differences if value]
    observed = abs(math.fsum(differences)) * (1 - 1e-9) - 1e-15
    if not moving or observed <= 0:
        return 1.0, "exact"
    if len(moving) <= EXACT_LIMIT:
        half = len(moving) // 2
        left, right = _signed_sums(moving[:half]), sorted(_signed_sums(moving[half:]))
        # A pattern is a sum of the left half and one of the right: for each left sum, count the right ones beyond reach.
        beyond = sum(
            len(right) - bisect_left(right, observed - total) + bisect_right(right, -observed - total) for total in left
        )
        return beyond / (len(left) * len(right)), "exact"
    rng = random.Random(seed)
    everything, count = math.fsum(moving), len(moving)
    reached = 0
    for _ in range(flips):
        bits = rng.getrandbits(count)
        negative = sum(value for place, value in enumerate(moving) if bits >> place & 1)
        reached += abs(everything - 2 * negative) >= observed
    return (reached + 1) / (flips + 1), "sampled"


def _signed_sums(values: Sequence[float]) -> list[float]:
    sums = [0.0]
    for value in values:
        sums = [total + value for total in sums] + [total - value for total in sums]
    return sums


def finite(value: object) -> TypeGuard[float]:
    """Whether this is a number that can be judged."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def usable_documents(measured: Mapping[str, Any] | None) -> tuple[list[Mapping[str, Any]], int]:
    """The documents of a text ({"documents": [...]} as the training script writes it) with a positive token count and two
    finite, non-negative losses, and how many have not."""
    documents = list((measured or {}).get("documents") or [])
    usable = [
        document
        for document in documents
        if all(finite(value) and value >= 0 for value in map(document.get, ("tokens", "base_nll", "tuned_nll")))
        and document["tokens"]
    ]
    return usable, len(documents) - len(usable)


def column(documents: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """One measure of each document."""
    return [float(document[key]) for document in documents]


def changes(documents: Sequence[Mapping[str, Any]]) -> list[float]:
    """The loss change of each document in nats."""
    sides = zip(column(documents, "base_nll"), column(documents, "tuned_nll"), strict=True)
    return [tuned - base for base, tuned in sides]


def compare_losses(
    measured: Mapping[str, Any] | None, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Any] | None:
    """Base against tuned on one set of texts. Returns None where there is nothing to compare.

    Losses in nats per token, weighted by tokens, with standard errors and intervals clustered by document; the same
    difference as perplexity ratio and in bits per byte, which do not depend on the tokenizer.
    """
    usable, unusable = usable_documents(measured)
    if not usable:
        return {"documents_count": 0, "unusable_documents": unusable} if unusable else None
    base, tuned, tokens = (column(usable, key) for key in ("base_nll", "tuned_nll", "tokens"))
    change, sizes = changes(usable), [document.get("bytes") for document in usable]

    def each(weights: Sequence[float]) -> list[Estimate]:
        return [interval(values, weights, seed=seed, resamples=resamples) for values in (base, tuned, change)]

    base_loss, tuned_loss, difference = each(tokens)
    bits = [size * math.log(2) for size in sizes if finite(size) and size > 0]
    p_value, p_method = sign_flip(change, seed=seed)
    return {
        "documents_count": len(usable),
        "unusable_documents": unusable,
        "tokens": int(sum(tokens)),
        "base_loss": base_loss["estimate"],
        "base_loss_standard_error": base_loss["standard_error"],
        "tuned_loss": tuned_loss["estimate"],
        "tuned_loss_standard_error": tuned_loss["standard_error"],
        "difference": difference,
        "p_value": p_value,
        "p_method": p_method,
        "base_perplexity": transformed(base_loss, _exp),
        "tuned_perplexity": transformed(tuned_loss, _exp),
        "perplexity_ratio": transformed(difference, _exp),
        "bits_per_byte": dict(zip(("base", "tuned", "difference"), each(bits), strict=True))
        if len(bits) == len(usable)
        else None,
        "lower_documents": sum(value < 0 for value in change),
        "documents": [
            {
                "id": str(document.get("id", place)),
                "title": str(document.get("title") or document.get("id") or f"Document {place}"),
                "tokens": int(count),
                "base_loss": before / count,
                "tuned_loss": after / count,
                "difference": moved / count,
            }
            for place, (document, before, after, moved, count) in enumerate(
                zip(usable, base, tuned, change, tokens, strict=True), 1
            )
        ],
    }


def _exp(value: float) -> float:
    """exp without overflow: a loss above 700 nats per token is nonsense, yet must not end the report."""
    return math.exp(min(value, 700.0))


def compare_gains(
    heldout: Mapping[str, Any] | None,
    control: Mapping[str, Any] | None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    shuffles: int = SHUFFLES,
) -> dict[str, Any] | None:
    """The loss difference on held-out text minus that on the retention set, in nats per token: below zero, the field gained more.

    Documents without usable losses are left out and counted. Returns None where either text has no other. Documents of either
    text are resampled apart; the test shuffles documents between the two texts.
    """
    texts = [usable_documents(text) for text in (heldout, control)]
    first, second = ((changes(usable), column(usable, "tokens")) for usable, _ in texts)
    if not first[1] or not second[1]:
        return None
    return {
        "heldout_documents": len(first[1]),
        "control_documents": len(second[1]),
        "unusable_documents": sum(unusable for _, unusable in texts),
        "difference": difference_interval(first, second, seed=seed, resamples=resamples),
        "p_value": shuffle_test(first, second, seed=seed, shuffles=shuffles),
        "p_method": "sampled",
    }


def shuffle_test(first: Side, second: Side, *, seed: int = 0, shuffles: int = SHUFFLES) -> float | None:
    """Two-sided p that two texts changed alike: a studentised permutation test on documents, the observed order counted.

    Each difference is divided by its own standard error, which keeps the test right where one text's documents differ more
    among themselves than the other's (Janssen, 1997). None where either text has fewer than two documents.
    """
    counts = len(first[1]), len(second[1])
    if min(counts) < 2:
        return None
    rows = moment_rows(*first) + moment_rows(*second)
    total = moments(rows)
    observed = abs(_score(counts, total, rows[: counts[0]])) * (1 - 1e-9)
    rng = random.Random(seed)
    reached = sum(abs(_score(counts, total, rng.sample(rows, counts[0]))) >= observed for _ in range(shuffles))
    return (reached + 1) / (shuffles + 1)


def _score(counts: tuple[int, int], total: Moments, chosen: Sequence[Moments]) -> float:
    """How many standard errors the chosen documents' ratio lies from that of all others; 0 for no difference at all."""
    sums = moments(chosen)
    xs, ws, xx, xw, ww = (whole - part for whole, part in zip(total, sums, strict=True))
    ratio, error = ratio_of_moments(counts[0], sums)
    other, other_error = ratio_of_moments(counts[1], (xs, ws, xx, xw, ww))
    change, spread = ratio - other, math.hypot(error, other_error)
    if abs(change) <= 1e-12 * (abs(ratio) + abs(other)):
        return 0.0
    return change / spread if spread else math.copysign(math.inf, change)
