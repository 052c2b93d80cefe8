"""Seeded bootstrap intervals for a ratio of sums over clusters, with the standard library alone.

A cluster is what was sampled as a whole: a document, or a prompt. Two intervals are offered, both of nominal 95%:
`studentised` (bootstrap-t) keeps its error rate when few clusters are skewed, which percentile and BCa intervals do
not; `percentile` suits bounded scores with many ties (recall), where a resample can have no spread at all.
verification/experiments/null_statistics.py measures both.
"""

import math
import random
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Literal

from report.summary_types import Estimate

CONFIDENCE = 0.95
RESAMPLES = 10_000
# Above this many draws of a cluster in all, resamples are reduced: with so many clusters the interval is stable.
DRAW_LIMIT = 8_000_000
MINIMUM_CLUSTERS = 5
_TINY = 1e-300

Method = Literal["studentised", "percentile"]
Side = tuple[Sequence[float], Sequence[float]]  # (numerators, weights) of one set of clusters
Moments = tuple[float, float, float, float, float]


def figure(
    estimate: float | None, error: float | None = None, low: float | None = None, high: float | None = None
) -> Estimate:
    """A figure as the summary holds it; None for what the data cannot give."""
    return {"estimate": estimate, "standard_error": error, "low": low, "high": high}


def transformed(given: Estimate, function: Callable[[float], float]) -> Estimate:
    """The same figure on another scale (an increasing function); the standard error by the delta method."""
    estimate, error = given["estimate"], given["standard_error"]
    if estimate is None:
        return figure(None)
    step = 1e-6
    slope = (function(estimate + step) - function(estimate - step)) / (2 * step)
    low, high = (None if bound is None else function(bound) for bound in (given["low"], given["high"]))
    return figure(function(estimate), None if error is None else abs(slope) * error, low, high)


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
    """The ratio of sums with its 95% interval: empty for no data or a non-finite number, none below five clusters."""
    return _interval([(numerators, weights)], seed, resamples, method)


def difference_interval(first: Side, second: Side, *, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """The first ratio of sums less the second, of unrelated clusters that are resampled apart; else as `interval`."""
    return _interval([first, second], seed, resamples, "studentised")


def _interval(sides: Sequence[Side], seed: int, resamples: int, method: Method) -> Estimate:
    """The interval of one ratio, or of the difference of two."""
    numbers = [value for side in sides for values in side for value in values]
    if not all(math.fsum(weights) > 0 for _, weights in sides) or not all(map(math.isfinite, numbers)):
        return figure(None)
    found = [ratio_with_error(*side) for side in sides]
    sizes = [len(weights) for _, weights in sides]
    ratio, error = _difference([(one, noise or 0.0) for one, noise in found])
    if min(sizes) < 2:
        return figure(ratio)
    if min(sizes) < MINIMUM_CLUSTERS:
        return figure(ratio, error)
    if error <= sum(abs(one) for one, _ in found) * 1e-12:
        return figure(ratio, 0.0, ratio, ratio)
    draws = min(resamples, max(1_000, DRAW_LIMIT // sum(sizes)))
    if method == "percentile":
        return figure(ratio, error, *_percentile(*sides[0], draws, random.Random(seed)))
    return figure(ratio, error, *_studentised(sides, ratio, error, draws, random.Random(seed)))


def _difference(ratios: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The first (ratio, standard error) less the second, where there is one."""
    (ratio, error), *others = ratios
    return ratio - sum(other for other, _ in others), math.hypot(error, *(noise for _, noise in others))


def moment_rows(numerators: Sequence[float], weights: Sequence[float]) -> list[Moments]:
    """Numerators and weights with their products, so that the ratio of any choice of clusters costs one pass."""
    return [(x, w, x * x, x * w, w * w) for x, w in zip(numerators, weights, strict=True)]


def moments(rows: Sequence[Moments]) -> Moments:
    """The sums of numerators, weights and their products over some of the `moment_rows`."""
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
    sides: Sequence[Side], ratio: float, error: float, draws: int, rng: random.Random
) -> tuple[float, float]:
    """Bootstrap-t bounds: each resample is measured in standard errors of its own."""
    clusters, scores = [moment_rows(*side) for side in sides], []
    for _ in range(draws):
        drawn = [ratio_of_moments(len(rows), moments(rng.choices(rows, k=len(rows)))) for rows in clusters]
        again, noise = _difference(drawn)
        # One document drawn every time has no spread: its score belongs at the far end, not at zero.
        scores.append((again - ratio) / max(noise, error * 1e-3, _TINY))
    scores.sort()
    tail = (1 - CONFIDENCE) / 2
    return ratio - _quantile(scores, 1 - tail) * error, ratio - _quantile(scores, tail) * error


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
