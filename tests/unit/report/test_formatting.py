"""Numbers of the report: rounded by their error and never to something that is not true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from report.content.figures import elapsed_seconds
from report.content.meaning import _share
from report.formatting import (
    change_text,
    decimals_for,
    duration,
    format_p,
    interval_text,
    money,
    number,
    range_text,
    rate,
    share,
    with_error,
)

CHANGE = {"estimate": -0.05228, "standard_error": 0.00723, "low": -0.06915, "high": -0.03713}
BESIDE_ZERO = {"estimate": -0.04, "standard_error": 0.02, "low": -0.08, "high": -0.0004}
BARE = {"estimate": 0.125, "standard_error": 0.125, "low": None, "high": None}


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (lambda v: interval_text(v, "nats"), CHANGE, "−0.052 nats (95 % interval −0.069 to −0.037)"),
        (lambda v: interval_text(v, "points"), BARE, "+0.12 points (standard error 0.12)"),
        (lambda v: change_text(v, "nats"), CHANGE, "0.052 nats (95 % interval 0.037 to 0.069)"),
        (range_text, BESIDE_ZERO, "−0.0800 to −0.0004"),  # a bound beside zero is not rounded to zero
        (share, {"estimate": 0.1087, "standard_error": 0.0207}, "10.9 ± 2.1\u00a0%"),
        # A gain that was shown is not written as nothing.
        (_share, {"difference": {"estimate": -0.0002, "standard_error": 0.00001}}, "less than 0.1\u00a0%"),
        (lambda v: with_error(v, 0.0875), 2.9123, "2.91 ± 0.09"),
        (lambda v: number(v, 2, signed=True), -0.0004, "0.00"),
        *((format_p, p, f"p = {p}") for p in (0.0504, 0.049999)),  # not rounded to the limit
        (format_p, 0.00001, "p < 0.0001"),
        (format_p, None, "p not known"),
        *zip([money] * 5, (121, -67, 67, 0, None), ("$1.21", "−$0.67", "$0.67", "$0.00", "–"), strict=True),
        (rate, 151.5, "$1.515"),
        (rate, 152, "$1.52"),
        *zip([duration] * 4, (0.4, 61, 7_260, None), ("0.4 s", "1 min 1 s", "2 h 1 min", "–"), strict=True),
    ],
)
def test_numbers_are_written_for_reading(write: Callable[[Any], str], value: Any, text: str) -> None:
    assert write(value) == text


# The rule of the Particle Data Group: 0.827 ± 0.119, 0.83 ± 0.367 as 0.8 ± 0.4, 0.827 ± 0.0967 as 0.83 ± 0.10.
@pytest.mark.parametrize(
    ("error", "places"), [(0.119, 2), (0.367, 1), (0.0967, 2), (3.6, 0), (35.0, 0), (0.0, 3), (None, 3)]
)
def test_digits_follow_the_standard_error(error: float | None, places: int) -> None:
    assert decimals_for(error) == places


def test_states_that_ran_side_by_side_count_once() -> None:
    branches = {"AskBaseModel": 1200.0, "AskFineTunedModel": 1190.0}
    assert elapsed_seconds({"Preflight": 2.0, "AskBothModels": 1200.0, **branches}) == 1202.0
    assert elapsed_seconds({"Preflight": 2.0, **branches}) == 1202.0
