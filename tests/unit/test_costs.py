"""What a run can cost at most, and how a cost is split between two months."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from common import costs
from common.prices import Price

PRICE = Price("ml.g5.2xlarge", "Training", Decimal("1.515"), "test")
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC))


def test_the_small_items_of_a_run_are_thirteen_cents() -> None:
    assert costs.small_items_cents() == 13


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
