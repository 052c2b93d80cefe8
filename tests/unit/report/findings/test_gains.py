"""Held-out against control: two unrelated sets of documents, and whether one changed more than the other."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from report.findings.gains import compare_gains, shuffle_test
from report.findings.intervals import difference_interval


def text(changes: list[float], tokens: int = 400) -> dict[str, Any]:
    return {
        "documents": [
            {"id": str(place), "tokens": tokens, "base_nll": 3.0 * tokens, "tuned_nll": (3.0 + change) * tokens}
            for place, change in enumerate(changes)
        ]
    }


def spread(mean: float, count: int, width: float = 0.05, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(mean, width) for _ in range(count)]


def compared(heldout: dict[str, Any], control: dict[str, Any], **options: Any) -> dict[str, Any]:
    """What `compare_gains` answers where there is something to compare."""
    found = compare_gains(heldout, control, **options)
    assert found is not None
    return found


def test_a_gain_in_the_field_alone_is_further() -> None:
    found = compared(text(spread(-0.2, 18)), text(spread(0.0, 13, seed=2)), resamples=1_000, shuffles=1_000)
    assert found["difference"]["estimate"] == pytest.approx(-0.2, abs=0.05)
    assert found["difference"]["high"] < 0
    assert found["p_value"] < 0.05
    assert (found["heldout_documents"], found["control_documents"]) == (18, 13)


def test_the_same_gain_on_both_texts_is_no_further() -> None:
    found = compared(text(spread(-0.2, 18)), text(spread(-0.2, 13, seed=2)), resamples=1_000, shuffles=1_000)
    assert found["difference"]["low"] < 0 < found["difference"]["high"]
    assert found["p_value"] > 0.05


def test_longer_documents_weigh_more() -> None:
    heldout = {"documents": [*text([-1.0], 900)["documents"], *text([0.0] * 9, 100)["documents"]]}
    found = compared(heldout, text([0.0, 0.0]), resamples=100, shuffles=10)
    assert found["difference"]["estimate"] == pytest.approx(-0.5)


@pytest.mark.parametrize("control", [None, {}, {"documents": []}, {"documents": [{"tokens": 4, "base_nll": math.nan}]}])
def test_without_control_text_there_is_nothing_to_compare(control: dict[str, Any] | None) -> None:
    assert compare_gains(text([-0.1] * 8), control) is None


def test_too_few_documents_have_an_estimate_without_an_interval() -> None:
    found = compared(text([-0.2, -0.3, -0.1, -0.2, -0.2, -0.1]), text([0.0, 0.1, 0.0]), resamples=100, shuffles=100)
    assert found["difference"]["low"] is None
    single = compared(text([-0.2] * 6), text([0.0]), resamples=100, shuffles=100)
    assert single["p_value"] is None


def test_a_p_is_never_zero_and_the_seed_settles_it() -> None:
    first, second = ([-1.0, -1.1] * 9, [1.0] * 18), ([1.0, 1.2] * 6, [1.0] * 12)
    assert shuffle_test(first, second, seed=4, shuffles=200) == pytest.approx(1 / 201)
    near = ([-0.1, 0.2, 0.0, 0.1, -0.3, 0.1], [1.0] * 6), ([0.1, 0.0, -0.2, 0.2, 0.1], [1.0] * 5)
    assert shuffle_test(*near, seed=4, shuffles=200) == shuffle_test(*near, seed=4, shuffles=200)


def test_two_texts_without_any_spread_differ_for_certain() -> None:
    found = difference_interval(([-1.0] * 6, [1.0] * 6), ([0.0] * 6, [1.0] * 6))
    assert (found.low, found.estimate, found.high) == (-1.0, -1.0, -1.0)


@pytest.mark.slow
def test_the_interval_covers_the_difference_of_unequal_spreads() -> None:
    rng, covered = random.Random(5), 0
    for run in range(200):
        first = [rng.gauss(-0.2, 0.2) for _ in range(18)]
        second = [rng.gauss(-0.2, 0.05) for _ in range(13)]
        found = difference_interval((first, [1.0] * 18), (second, [1.0] * 13), seed=run, resamples=300)
        assert found.low is not None and found.high is not None
        covered += found.low <= 0 <= found.high
    assert covered >= 180  # 95 % of 200 are 190; fewer than 180 happen once in hundreds of seeds
