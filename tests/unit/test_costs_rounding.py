"""The small items of a run, rounded up to the next cent and not beyond it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from common import costs
from common.prices import Price

PRICE = Price("ml.g5.2xlarge", "Training", Decimal("1.515"), "test")


@pytest.mark.parametrize(
    ("items", "cents"),
    [
        ([("1", "0.02")], 2),
        ([("1", "0.0200001")], 3),
        ([("1", "0.0299999")], 3),
        ([("1", "1.00")], 100),
        ([("3", "0.01"), ("2", "0.005")], 4),
    ],
)
def test_small_items_are_added_up_and_rounded_up_once(
    items: list[tuple[str, str]], cents: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tuple((f"item {n}", Decimal(amount), Decimal(usd)) for n, (amount, usd) in enumerate(items))
    monkeypatch.setattr(costs, "SMALL_ITEMS", table)

    assert costs.small_items_cents() == cents


def test_a_worst_case_remembers_the_seconds_that_it_was_made_for() -> None:
    worst = costs.worst_case(PRICE, PRICE, 7620, 6000)

    assert (worst.training_seconds, worst.endpoint_seconds) == (7620, 6000)
