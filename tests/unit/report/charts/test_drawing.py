"""Charts, numbers and letters of the report: drawn to scale, rounded by their error, and within their width."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from report.charts.drawing import NARROW, WIDE, scale
from report.charts.losses import documents
from report.content.run import elapsed_seconds
from report.fonts import encode, line_spans, width, wrap
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


@pytest.mark.parametrize("width_", [WIDE, NARROW])
def test_hundreds_of_documents_are_drawn_without_names(made: dict[str, Any], width_: float) -> None:
    block = copy.deepcopy(made["improved"]["heldout"])
    block["documents"] = block["documents"] * 40
    drawing = documents(block, width_, "held-out document")
    assert drawing.height < 2_500
    assert "Splicing factor mutations" not in str(drawing.items)


@pytest.mark.parametrize(
    ("values", "zero"), [([0.0], False), ([-0.1, 0.2], True), ([3.0, 3.0], False), ([1e-9, 2e-9], False)]
)
def test_a_scale_holds_its_values_between_its_ticks(values: list[float], zero: bool) -> None:
    across = scale(values, 0, 100, zero=zero)
    assert across.low <= min(values) and across.high >= max(values)
    assert 2 <= len(across.ticks) <= 12
    assert all(0 <= across.place(value) <= 100 for value in values)


# The rule of the Particle Data Group: 0.827 ± 0.119, 0.83 ± 0.367 as 0.8 ± 0.4, 0.827 ± 0.0967 as 0.83 ± 0.10.
@pytest.mark.parametrize(
    ("error", "places"), [(0.119, 2), (0.367, 1), (0.0967, 2), (3.6, 0), (35.0, 0), (0.0, 3), (None, 3)]
)
def test_digits_follow_the_standard_error(error: float | None, places: int) -> None:
    assert decimals_for(error) == places


def test_numbers_are_set_for_reading() -> None:
    figure = {"estimate": -0.05228, "standard_error": 0.00723, "low": -0.06915, "high": -0.03713}
    assert interval_text(figure, "nats") == "−0.052 nats (95 % interval −0.069 to −0.037)"
    assert change_text(figure, "nats") == "0.052 nats (95 % interval 0.037 to 0.069)"
    assert with_error(2.9123, 0.0875) == "2.91 ± 0.09"
    assert number(-0.0004, 2, signed=True) == "0.00"
    assert (format_p(0.03125), format_p(0.00001), format_p(0.5), format_p(None)) == (
        "p = 0.031", "p < 0.0001", "p = 0.50", "p not known",
    )  # fmt: skip
    assert (money(121), money(None), rate(151.5), rate(152)) == ("$1.21", "–", "$1.515", "$1.52")
    assert (duration(0.4), duration(59), duration(61), duration(7_260), duration(None)) == (
        "0.4 s", "59 s", "1 min 1 s", "2 h 1 min", "–",
    )  # fmt: skip


def test_text_is_encoded_for_the_standard_fonts() -> None:
    assert encode("é", "Helvetica")[0][:2] == ("Helvetica", b"\xe9")
    assert encode("α≥", "Times-Roman")[0][0] == "Symbol"
    assert encode("ő", "Helvetica")[0][1] == b"o"  # loses the accent that the font lacks
    assert encode("中", "Helvetica")[0][1] == b"?"
    assert width("Hello", "Helvetica", 10) == pytest.approx(22.78)  # 722 + 556 + 222 + 222 + 556 thousandths


def test_wrapped_lines_fit_and_lose_nothing() -> None:
    text = "Clonal haematopoiesis\n\nof " + "W" * 50 + " indeterminate potential"
    assert all(width(line, "Times-Roman", 10) <= 90 for line in wrap(text, "Times-Roman", 10, 90))
    assert "".join(text[a:b] for a, b in line_spans(text, "Times-Roman", 10, 90)).replace(" ", "") == re.sub(
        r"\s", "", text
    )


def test_a_p_beside_the_limit_is_not_rounded_to_it() -> None:
    assert [format_p(p) for p in (0.0496, 0.0504, 0.05, 0.049999)] == [
        "p = 0.0496", "p = 0.0504", "p = 0.05", "p = 0.049999",
    ]  # fmt: skip


def test_a_bound_beside_zero_is_not_rounded_to_zero() -> None:
    figure = {"estimate": -0.04, "standard_error": 0.02, "low": -0.08, "high": -0.0004}
    assert range_text(figure) == "−0.0800 to −0.0004"
    assert range_text({**figure, "high": 0.0}) == "−0.080 to 0.000"


def test_a_figure_without_an_interval_shows_its_standard_error() -> None:
    bare = {"estimate": 0.125, "standard_error": 0.125, "low": None, "high": None}
    assert interval_text(bare, "points") == "+0.12 points (standard error 0.12)"


def test_a_share_shows_its_standard_error() -> None:
    assert share({"estimate": 0.1087, "standard_error": 0.0207}) == "10.9 ± 2.1\u00a0%"
    assert share({"estimate": 0.25, "standard_error": None}) == "25\u00a0%"
    assert share({"estimate": 0.0, "standard_error": 0.0}) == "0 ± 0\u00a0%"


def test_states_that_ran_side_by_side_count_once() -> None:
    branches = {"AskBaseModel": 1200.0, "AskFineTunedModel": 1190.0}
    assert elapsed_seconds({"Preflight": 2.0, "AskBothModels": 1200.0, **branches}) == 1202.0
    assert elapsed_seconds({"Preflight": 2.0, **branches}) == 1202.0
    assert elapsed_seconds({}) == 0.0
