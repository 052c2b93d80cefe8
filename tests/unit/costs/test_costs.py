"""What a run can cost at most, and how a cost is split between two months."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.pricing import costs
from common.pricing.prices import Price
from stacks.configuration.settings import Settings

ROOT = Path(__file__).parents[3]
PRICE = Price("ml.g5.2xlarge", "Training", Decimal("1.515"), "test")
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC))


def test_the_small_items_of_a_run_are_thirteen_cents() -> None:
    assert costs.small_items_cents() == 13


@pytest.mark.parametrize(("seconds", "cents"), [(0, 0), (6000, 0), (6001, 1), (6749, 1), (6750, 2), (16800, 15)])
def test_an_endpoint_that_may_serve_for_hours_may_keep_ask_busy_for_hours(seconds: int, cents: int) -> None:
    assert costs.slow_answers_cents(seconds) == cents
    assert costs.worst_case(PRICE, PRICE, 7620, seconds).other_cents == 13 + cents
    assert costs.worst_case(PRICE, PRICE, 7620, seconds, months=2).other_cents == 2 * (13 + cents)


def test_the_worst_case_is_training_and_endpoint_and_the_small_items() -> None:
    worst = costs.worst_case(PRICE, PRICE, 7620, 6000)

    assert (worst.training_cents, worst.endpoint_cents, worst.other_cents) == (321, 253, 13)
    assert worst.cents == 321 + 253 + 13


def test_every_fraction_of_a_cent_is_rounded_up() -> None:
    assert costs.worst_case(PRICE, PRICE, 1, 1).cents == 1 + 1 + 13


def test_a_run_that_may_cross_midnight_of_the_month_is_rounded_up_on_both_sides() -> None:
    one, two = (costs.worst_case(PRICE, PRICE, 7620, 6000, months) for months in (1, 2))

    assert two.training_cents == one.training_cents + 1
    assert two.endpoint_cents == one.endpoint_cents + 1
    assert two.other_cents == 2 * one.other_cents


class TestCheckpoints:
    def test_a_checkpoint_is_as_large_as_the_adapter_and_both_moments_of_its_optimizer(self) -> None:
        # Llama 2 7B: 32 layers of four 4,096 x 4,096 matrices, and three between 4,096 and 11,008.
        weights = 32 * (4 * (4096 + 4096) + 3 * (4096 + 11008))

        assert 12 * weights == 29_982_720
        assert 12 * weights <= costs.CHECKPOINT_BYTES_PER_RANK <= 1.05 * 12 * weights

    def test_training_writes_them_as_often_as_is_reserved(self) -> None:
        source = (ROOT / "training" / "arguments.py").read_text("utf-8")

        assert f"checkpoint_minutes: float = {costs.CHECKPOINT_MINUTES:.1f}  #" in source
        assert Settings().checkpoint_minutes == costs.CHECKPOINT_MINUTES

    def test_the_storage_of_a_usual_run_until_none_is_left(self) -> None:
        # 15 intervals and two at the end, both names, 496 MB each, for 10 of 28 days at 2.3 cents a gigabyte and month: 13.85 cents.
        assert costs.checkpoint_cents(8520, 16) == 14

    def test_it_grows_with_the_rank_and_with_every_interval_that_is_begun(self) -> None:
        assert costs.checkpoint_cents(8520, 64) == 56
        assert costs.checkpoint_cents(8400, 64) == 53
        assert costs.checkpoint_cents(8401, 64) == 56
        assert costs.checkpoint_cents(1, 64) == 10

    def test_it_grows_with_what_the_settings_say_with_its_requests_and_without_any_the_last_ones_stay(self) -> None:
        assert [costs.checkpoint_cents(8520, 16, minutes) for minutes in (1, 10, 60, 0)] == [121, 14, 5, 2]

    def test_no_training_writes_none(self) -> None:
        assert costs.checkpoint_cents(0, 64) == 0

    def test_the_highest_rank_is_the_highest_that_the_settings_take(self) -> None:
        assert Settings.from_context({"lora_rank": costs.HIGHEST_LORA_RANK}).lora_rank == 64
        with pytest.raises(ValueError, match="to 64"):
            Settings.from_context({"lora_rank": costs.HIGHEST_LORA_RANK + 1})

    def test_a_run_that_may_lie_in_two_months_reserves_them_in_both(self) -> None:
        assert costs.worst_case(PRICE, PRICE, 7620, 6000, 2, 14).other_cents == 2 * (13 + 14)


class TestWhatAMonthCostsBesideItsRuns:
    def test_the_sweeper_and_storage_and_two_hundredths_of_the_cap_for_refused_executions(self) -> None:
        # 44.26 cents, and 50 of 25 dollars.
        assert costs.standing_cents(2500) == 95
        assert costs.standing_cents(0) == 45
        assert costs.standing_cents(2537) == 95
        assert costs.standing_cents(2538) == 96

    def test_refused_starts_are_bounded_by_what_is_set_aside_for_them(self) -> None:
        look = sum((amount * unit * 100 for _, amount, unit in costs.LOOK_ITEMS), Decimal(0))
        for cap in (100, 2500, 100_000):
            assert costs.looks_bound(cap) * look <= cap * costs.LOOKS_SHARE < (costs.looks_bound(cap) + 1) * look
        assert costs.looks_bound(2500) == 84

    def test_what_is_left_is_for_runs_and_never_less_than_nothing(self) -> None:
        assert [costs.for_runs(cap) for cap in (2500, 46, 45, 1, 0)] == [2405, 0, 0, 0, 0]

    def test_the_cap_to_set_is_the_smallest_that_leaves_enough(self) -> None:
        for cents in (1, 354, 355, 356, 2405, 2406):
            dollars = costs.cap_for(cents)
            assert costs.for_runs(dollars * 100) >= cents > costs.for_runs(dollars * 100 - 100)


def test_an_interval_inside_a_month_belongs_to_it_whole() -> None:
    start, end = datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC)

    assert costs.month_shares(start, end) == {"2026-11": 1}


def test_an_interval_over_the_end_of_a_month_is_split_at_midnight() -> None:
    start, end = datetime(2026, 12, 31, 23, tzinfo=UTC), datetime(2027, 1, 1, 2, tzinfo=UTC)

    assert costs.month_shares(start, end) == {"2026-12": Fraction(1, 3), "2027-01": Fraction(2, 3)}


def test_an_interval_that_ends_at_midnight_is_not_in_the_next_month() -> None:
    start, end = datetime(2026, 11, 30, 23, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)

    assert costs.month_shares(start, end) == {"2026-11": 1}


def test_a_moment_belongs_to_its_month() -> None:
    moment = datetime(2026, 12, 1, tzinfo=UTC)

    assert costs.month_shares(moment, moment) == {"2026-12": 1}


@given(MOMENTS, MOMENTS)
def test_the_shares_of_an_interval_are_one_in_all(one: datetime, other: datetime) -> None:
    shares = costs.month_shares(min(one, other), max(one, other))

    assert sum(shares.values()) == 1
    assert all(share > 0 for share in shares.values())
