"""The small items of a run, rounded up to the next cent and not beyond it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from common.pricing import costs
from common.pricing.prices import Price

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


def test_what_is_set_aside_beside_the_instances_adds_up_to_the_last_digit() -> None:
    tables = (costs.SMALL_ITEMS, costs.STANDING_ITEMS, costs.LOOK_ITEMS)
    sums = [sum((amount * usd for _, amount, usd in items), Decimal(0)) for items in tables]

    assert sums == [Decimal("0.12700006"), Decimal("0.442575696"), Decimal("0.00594611648046875")]


@pytest.mark.parametrize(
    ("seconds", "rank", "cents"), [(1, 1, 1), (600, 64, 10), (601, 64, 14), (1200, 64, 14), (7620, 16, 13)]
)
def test_checkpoints_are_counted_by_begun_ten_minutes_and_two_at_the_end(seconds: int, rank: int, cents: int) -> None:
    assert costs.checkpoint_cents(seconds, rank) == cents


@pytest.mark.parametrize(("seconds", "minutes", "cents"), [(8520, 1, 11), (8520, 2, 6), (8520, 5, 2), (1180, 1, 2)])
def test_requests_of_checkpoints_are_counted_beyond_those_that_the_small_items_hold(
    seconds: int, minutes: int, cents: int
) -> None:
    assert costs.checkpoint_cents(seconds, 1, minutes) == cents


def test_all_that_checkpoints_cost_is_reckoned_from_these() -> None:
    assert (costs.CHECKPOINT_MINUTES, costs.LAST_CHECKPOINTS, costs.CHECKPOINT_COPIES) == (10, 2, 2)
    assert (costs.CHECKPOINT_REQUESTS, costs.HELD_REQUESTS) == (46, 1000)
    assert (costs.CHECKPOINT_DAYS, costs.CHECKPOINT_BYTES_PER_RANK) == (10, 31_000_000)
