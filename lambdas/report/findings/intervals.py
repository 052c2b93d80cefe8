"""Seeded bootstrap intervals for a ratio of sums over clusters, with the standard library alone.

A cluster is what was sampled as a whole: a document, or a prompt. Two intervals are offered, both of nominal 95 %:
`studentised` (bootstrap-t) keeps its error rate when few clusters are skewed, which percentile and BCa intervals do
not; `percentile` suits bounded scores with many ties (recall), where a resample can have no spread at all.
verification/experiments/null_statistics.py measures both.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Literal

CONFIDENCE = 0.95
RESAMPLES = 10_000
# Above this many draws of a cluster in all, resamples are reduced: with so many clusters the interval is stable.
DRAW_LIMIT = 8_000_000
MINIMUM_CLUSTERS = 5
_TINY = 1e-300

Method = Literal["studentised", "percentile"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its standard error and 95 % interval; None where the data cannot give one."""

    estimate: float | None
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """The four figures, ready for JSON."""
        return asdict(self)

    def transformed(self, function: object) -> Estimate:
        """The same figure on another scale (an increasing function); the standard error by the delta method."""
        assert callable(function)
        if self.estimate is None:
            return Estimate(None)
        step = 1e-6
        slope = (function(self.estimate + step) - function(self.estimate - step)) / (2 * step)
        error = None if self.standard_error is None else abs(slope) * self.standard_error
        bounds = [None if bound is None else function(bound) for bound in (self.low, self.high)]
        return Estimate(function(self.estimate), error, bounds[0], bounds[1])


def ratio_with_error(numerators: Sequence[float], weights: Sequence[float]) -> tuple[float, float | None]:
    """sum(numerators) / sum(weights) and its standard error over clusters (linearised, n/(n-1) corrected)."""
    count, total = len(weights), math.fsum(weights)
    ratio = math.fsum(numerators) / total
    if count < 2:
        return ratio, None
    residuals = (x - ratio * w for x, w in zip(numerators, weights, strict=True))
    return ratio, math.sqrt(count / (count - 1) * math.fsum(r * r for r in residuals)) / total


def interval(
    numerators: Sequence[float],
    weights: Sequence[float],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    method: Method = "studentised",
) -> Estimate:
    """The ratio of sums with its standard error and 95 % bootstrap interval, clusters drawn with replacement.

    Returns an empty estimate for no data or a non-finite number, and no interval below five clusters.
    """
    count = len(weights)
    if not count or math.fsum(weights) <= 0 or not all(map(math.isfinite, [*numerators, *weights])):
        return Estimate(None)
    ratio, error = ratio_with_error(numerators, weights)
    if count < MINIMUM_CLUSTERS or error is None:
        return Estimate(ratio, error)
    if error <= abs(ratio) * 1e-12:
        return Estimate(ratio, 0.0, ratio, ratio)
    draws = min(resamples, max(1_000, DRAW_LIMIT // count))
    if method == "percentile":
        low, high = _percentile(numerators, weights, draws, random.Random(seed))
    else:
        low, high = _studentised(numerators, weights, ratio, error, draws, random.Random(seed))
    return Estimate(ratio, error, low, high)


def difference_interval(
    first: tuple[Sequence[float], Sequence[float]],
    second: tuple[Sequence[float], Sequence[float]],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """The first ratio of sums less the second, of (numerators, weights) from two unrelated sets of clusters.

    Standard error and 95 % studentised bootstrap interval; each set is resampled apart. No interval where either has fewer
    than five clusters, an empty estimate for no data or a non-finite number.
    """
    sides = (first, second)
    for numerators, weights in sides:
        if not weights or math.fsum(weights) <= 0 or not all(map(math.isfinite, [*numerators, *weights])):
            return Estimate(None)
    (ratio, error), (other, other_error) = (ratio_with_error(*side) for side in sides)
    if error is None or other_error is None:
        return Estimate(ratio - other)
    change, spread = ratio - other, math.hypot(error, other_error)
    if min(len(weights) for _, weights in sides) < MINIMUM_CLUSTERS:
        return Estimate(change, spread)
    if spread <= (abs(ratio) + abs(other)) * 1e-12:
        return Estimate(change, 0.0, change, change)
    count = len(first[1]) + len(second[1])
    rng, scores = random.Random(seed), []
    clusters = [Clusters(*side) for side in sides]
    for _ in range(min(resamples, max(1_000, DRAW_LIMIT // count))):
        (again, noise), (other_again, other_noise) = (side.resampled(rng) for side in clusters)
        scores.append((again - other_again - change) / max(math.hypot(noise, other_noise), spread * 1e-3, _TINY))
    return Estimate(change, spread, *_bounds(change, spread, scores))


class Clusters:
    """Numerators and weights with their products, so that the ratio of any choice of clusters costs one pass."""

    def __init__(self, numerators: Sequence[float], weights: Sequence[float]) -> None:
        self.count = len(weights)
        self.rows = [(x, w, x * x, x * w, w * w) for x, w in zip(numerators, weights, strict=True)]

    def resampled(self, rng: random.Random) -> tuple[float, float]:
        """Ratio of sums and standard error of as many clusters drawn with replacement."""
        return ratio_of_moments(self.count, moments(rng.choices(self.rows, k=self.count)))


Moments = tuple[float, float, float, float, float]


def moments(rows: Sequence[Moments]) -> Moments:
    """The sums of numerators, weights and their products over some rows of `Clusters`."""
    xs = ws = xx = xw = ww = 0.0
    for row in rows:
        xs += row[0]
        ws += row[1]
        xx += row[2]
        xw += row[3]
        ww += row[4]
    return xs, ws, xx, xw, ww


def ratio_of_moments(count: int, sums: Moments) -> tuple[float, float]:
    """As `ratio_with_error`, from the sums of `moments` over at least two clusters."""
    xs, ws, xx, xw, ww = sums
    ratio = xs / ws
    variance = xx - 2 * ratio * xw + ratio * ratio * ww
    return ratio, math.sqrt(max(variance, 0.0) * count / (count - 1)) / ws


def _studentised(
    numerators: Sequence[float],
    weights: Sequence[float],
    ratio: float,
    error: float,
    draws: int,
    rng: random.Random,
) -> tuple[float, float]:
    """Bootstrap-t bounds: each resample is measured in standard errors of its own."""
    clusters, scores = Clusters(numerators, weights), []
    for _ in range(draws):
        again, noise = clusters.resampled(rng)
        # One document drawn every time has no spread: its score belongs at the far end, not at zero.
        scores.append((again - ratio) / max(noise, error * 1e-3, _TINY))
    return _bounds(ratio, error, scores)


def _bounds(estimate: float, error: float, scores: list[float]) -> tuple[float, float]:
    """The interval of bootstrap-t from the resamples' scores."""
    scores.sort()
    tail = (1 - CONFIDENCE) / 2
    return estimate - _quantile(scores, 1 - tail) * error, estimate - _quantile(scores, tail) * error


def _percentile(
    numerators: Sequence[float], weights: Sequence[float], draws: int, rng: random.Random
) -> tuple[float, float]:
    """Percentile bounds, widened as Student's t widens a normal interval, because the plain ones are too short."""
    count, places = len(weights), range(len(weights))
    ratios = []
    for _ in range(draws):
        drawn = rng.choices(places, k=count)
        ratios.append(sum(map(numerators.__getitem__, drawn)) / sum(map(weights.__getitem__, drawn)))
    ratios.sort()
    reach = student_quantile(0.5 + CONFIDENCE / 2, count - 1) * math.sqrt(count / (count - 1))
    tail = NormalDist().cdf(-reach)
    return _quantile(ratios, tail), _quantile(ratios, 1 - tail)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between the two nearest order statistics."""
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def student_cdf(value: float, degrees: int) -> float:
    """Student's t distribution function for whole degrees of freedom (finite trigonometric series)."""
    angle = math.atan2(value, math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    if degrees % 2:
        term, total = cosine, 0.0
        for step in range(1, (degrees - 1) // 2 + 1):
            total += term
            term *= cosine * cosine * (2 * step) / (2 * step + 1)
        return 0.5 + (angle + sine * total) / math.pi
    term, total = 1.0, 0.0
    for step in range(1, degrees // 2 + 1):
        total += term
        term *= cosine * cosine * (2 * step - 1) / (2 * step)
    return 0.5 + sine * total / 2


def student_quantile(share: float, degrees: int) -> float:
    """Inverse of `student_cdf` for share > 0.5, by bisection; the normal quantile above 2,000 degrees."""
    if degrees > 2_000:
        return NormalDist().inv_cdf(share)
    low, high = 0.0, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, degrees) < share else (low, middle)
    return (low + high) / 2
