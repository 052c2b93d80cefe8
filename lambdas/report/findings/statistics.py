"""Paired comparison of two models on the same texts: how much the loss per token differs, and how surely.

All differences are tuned minus base, so a negative loss difference is an improvement.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from report.findings.intervals import RESAMPLES, Estimate, interval

EXACT_LIMIT = 24  # two halves of 2^12 sums take about 10 ms; beyond that, random flips
FLIPS = 10_000


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
    """The sum of the values under every pattern of signs."""
    sums = [0.0]
    for value in values:
        sums = [total + value for total in sums] + [total - value for total in sums]
    return sums


def _finite(document: Mapping[str, Any], key: str) -> float | None:
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def usable_documents(documents: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], int]:
    """The documents with a positive token count and two finite, non-negative losses, and how many have not."""
    usable = []
    for document in documents:
        tokens = _finite(document, "tokens")
        losses = [_finite(document, "base_nll"), _finite(document, "tuned_nll")]
        if tokens and tokens > 0 and all(loss is not None and loss >= 0 for loss in losses):
            usable.append(document)
    return usable, len(documents) - len(usable)


def changes(usable: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    """(loss change in nats, tokens) of each usable document: the change is tuned minus base."""
    return (
        [float(document["tuned_nll"]) - float(document["base_nll"]) for document in usable],
        [float(document["tokens"]) for document in usable],
    )


def compare_losses(
    measured: Mapping[str, Any] | None, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Any] | None:
    """Base against tuned on one set of texts ({"documents": [...]} as the training script writes it).

    Returns None where there is nothing to compare. Losses in nats per token, weighted by tokens, with standard
    errors and intervals clustered by document; the same difference as perplexity ratio and in bits per byte.
    """
    documents = list((measured or {}).get("documents") or [])
    usable, unusable = usable_documents(documents)
    if not usable:
        return None if not documents else {"documents_count": 0, "unusable_documents": unusable}
    base = [float(document["base_nll"]) for document in usable]
    tuned = [float(document["tuned_nll"]) for document in usable]
    change, tokens = changes(usable)
    difference = interval(change, tokens, seed=seed, resamples=resamples)
    p_value, p_method = sign_flip(change, seed=seed)
    base_loss = interval(base, tokens, seed=seed, resamples=resamples)
    tuned_loss = interval(tuned, tokens, seed=seed, resamples=resamples)
    assert base_loss.estimate is not None and tuned_loss.estimate is not None
    return {
        "documents_count": len(usable),
        "unusable_documents": unusable,
        "tokens": int(sum(tokens)),
        "base_loss": base_loss.estimate,
        "base_loss_standard_error": base_loss.standard_error,
        "tuned_loss": tuned_loss.estimate,
        "tuned_loss_standard_error": tuned_loss.standard_error,
        "difference": difference.as_dict(),
        "p_value": p_value,
        "p_method": p_method,
        "base_perplexity": base_loss.transformed(_exp).as_dict(),
        "tuned_perplexity": tuned_loss.transformed(_exp).as_dict(),
        "perplexity_ratio": difference.transformed(_exp).as_dict(),
        "bits_per_byte": _bits_per_byte(usable, base, tuned, seed, resamples),
        "lower_documents": sum(value < 0 for value in change),
        "documents": [
            {
                "id": str(document.get("id", place + 1)),
                "title": str(document.get("title") or document.get("id") or f"Document {place + 1}"),
                "tokens": int(tokens[place]),
                "base_loss": base[place] / tokens[place],
                "tuned_loss": tuned[place] / tokens[place],
                "difference": change[place] / tokens[place],
            }
            for place, document in enumerate(usable)
        ],
    }


def _exp(value: float) -> float:
    """exp without overflow: a loss above 700 nats per token is nonsense, yet must not end the report."""
    return math.exp(min(value, 700.0))


def _bits_per_byte(
    documents: Sequence[Mapping[str, Any]], base: list[float], tuned: list[float], seed: int, resamples: int
) -> dict[str, Any] | None:
    """The same losses per byte of text, which does not depend on the tokenizer."""
    sizes = [_finite(document, "bytes") for document in documents]
    if not all(size and size > 0 for size in sizes):
        return None
    bits = [size * math.log(2) for size in sizes if size]
    change = [after - before for before, after in zip(base, tuned, strict=True)]

    def measure(values: list[float]) -> Estimate:
        return interval(values, bits, seed=seed, resamples=resamples)

    return {
        "base": measure(base).as_dict(),
        "tuned": measure(tuned).as_dict(),
        "difference": measure(change).as_dict(),
    }
