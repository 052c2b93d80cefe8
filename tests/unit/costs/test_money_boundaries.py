"""To the cent and to the second: where a run just fits, just does not, and how little of the cap is then wasted."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from common.errors import BudgetExceeded
from common.ledger.ledger import Ledger
from common.pricing.costs import WorstCase, worst_case
from common.pricing.durations import MINIMUM_DEADLINE_SECONDS, MINIMUM_TRAINING_SECONDS
from common.pricing.prices import Price
from preflight import money
from proof.simulation.aws.table import Table
from tests.doubles.price_list import PriceList, product

EARLY = datetime(2026, 11, 10, 12, tzinfo=UTC)
LATE = datetime(2026, 11, 30, 20, tzinfo=UTC)
TRAINING = Price("ml.g5.2xlarge", "Training", Decimal("1.515"), "test")
HOSTING = Price("ml.g6.2xlarge", "Hosting", Decimal("1.222"), "test")


def allow(
    cap: int, training: int = 7200, deadline: int = 3600, keep: int = 0, now: datetime = EARLY
) -> money.Allowance:
    """What an empty ledger allows under a cap."""
    ledger = Ledger(Table(), "ledger", lambda seconds: None)
    return money.allow(ledger, cap, TRAINING, HOSTING, training, deadline, keep, now)


def needed(**wanted: Any) -> int:
    """The cap under which a run gets exactly what it wants, in cents: a smaller one is refused or clamps it."""
    return bisect_left(
        range(3000), True, key=lambda cap: not _refused(cap, **wanted) and not allow(cap, **wanted).clamped
    )


def least(**wanted: Any) -> int:
    """The smallest cap under which a run is allowed at all, in cents."""
    return bisect_left(range(3000), True, key=lambda cap: not _refused(cap, **wanted))


def _refused(cap: int, **wanted: Any) -> bool:
    try:
        allow(cap, **wanted)
    except BudgetExceeded:
        return True
    return False


def _with_the_shortest_training(now: datetime = EARLY) -> int:
    """What a run needs whose training is cut to the least, in cents: its checkpoints are reserved as for the training that was wanted."""
    whole, cut = allow(100_000, now=now).worst, allow(100_000, training=MINIMUM_TRAINING_SECONDS, now=now).worst
    return replace(cut, other_cents=whole.other_cents).cents


def with_seconds(allowance: money.Allowance, training: int = 0, endpoint: int = 0) -> WorstCase:
    """The worst case of an allowance with some seconds more."""
    worst = allowance.worst
    more = worst_case(
        TRAINING, HOSTING, worst.training_seconds + training, worst.endpoint_seconds + endpoint, len(allowance.months)
    )
    return replace(more, other_cents=worst.other_cents)


def test_the_cap_that_a_run_needs_is_its_worst_case_and_no_cent_more() -> None:
    ample = allow(100_000)

    assert needed() == ample.worst.cents
    assert allow(needed()) == ample


def test_a_cap_that_is_a_cent_short_costs_a_little_training_and_no_more() -> None:
    short = allow(needed() - 1)

    assert short.clamped
    assert short.worst.cents <= needed() - 1
    assert 7200 - 60 < short.training_seconds < 7200
    assert short.deadline_seconds == 3600


def test_the_shortest_useful_run_gets_the_last_cent_of_the_cap_and_is_refused_without_it() -> None:
    last = allow(least())

    assert last.worst.cents == least()
    assert last.training_seconds == MINIMUM_TRAINING_SECONDS
    assert MINIMUM_DEADLINE_SECONDS <= last.deadline_seconds < MINIMUM_DEADLINE_SECONDS + 60
    with pytest.raises(BudgetExceeded, match=r": \$0\.01 is missing"):
        allow(least() - 1)


@pytest.mark.parametrize("now", [EARLY, LATE])
@pytest.mark.parametrize("short", [1, 50, 100, 137])
def test_a_clamped_training_is_as_long_as_the_cap_allows_to_the_second(now: datetime, short: int) -> None:
    cap = allow(100_000, now=now).worst.cents - short
    allowance = allow(cap, now=now)

    assert allowance.training_seconds > MINIMUM_TRAINING_SECONDS
    assert allowance.worst.cents <= cap < with_seconds(allowance, training=1).cents


@pytest.mark.parametrize("now", [EARLY, LATE])
@pytest.mark.parametrize("short", [1, 20, 45])
def test_a_clamped_deadline_is_as_long_as_the_cap_allows_to_the_second(now: datetime, short: int) -> None:
    cap = _with_the_shortest_training(now) - short
    allowance = allow(cap, now=now)

    assert allowance.training_seconds == MINIMUM_TRAINING_SECONDS
    assert MINIMUM_DEADLINE_SECONDS < allowance.deadline_seconds < 3600
    assert allowance.worst.cents <= cap < with_seconds(allowance, endpoint=1).cents


def test_the_endpoint_is_only_shortened_when_shorter_training_is_not_enough() -> None:
    cap = _with_the_shortest_training()

    assert allow(cap).deadline_seconds == 3600
    assert allow(cap - 1).deadline_seconds < 3600


def test_a_run_that_trains_nothing_pays_for_no_second_of_training() -> None:
    allowance = allow(100_000, training=0)

    assert (allowance.training_seconds, allowance.worst.training_seconds, allowance.worst.training_cents) == (0, 0, 0)


def test_the_minutes_that_an_endpoint_is_kept_can_reach_into_the_next_month() -> None:
    midnight = datetime(2026, 12, 1, tzinfo=UTC)
    last = next(
        minutes
        for minutes in range(2000)
        if allow(100_000, now=midnight - timedelta(minutes=minutes)).months == ("2026-11",)
    )
    start = midnight - timedelta(minutes=last)

    assert allow(100_000, now=start, keep=3600).months == ("2026-11", "2026-12")
    assert allow(100_000, now=start - timedelta(minutes=61), keep=3600).months == ("2026-11",)


def test_a_price_is_asked_for_in_the_region_where_the_run_will_be() -> None:
    pricing = PriceList(product("EUW1-Train:ml.g5.2xlarge", "1.7"))
    money.find_price(pricing, "eu-west-1", "ml.g5.2xlarge", "Training")

    assert {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-west-1"} in pricing.asked["Filters"]


@pytest.mark.parametrize("use", ["Training", "Hosting"])
def test_a_pinned_price_is_of_the_use_that_was_asked_for(use: str) -> None:
    assert money.find_price(PriceList(), "us-east-1", "ml.g5.2xlarge", use).use == use
