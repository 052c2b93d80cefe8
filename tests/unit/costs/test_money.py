"""What a run may take of what is left: all it wants, less, or nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.errors import BudgetExceeded
from common.ledger.ledger import Ledger, Reservation
from common.pricing.costs import checkpoint_cents, slow_answers_cents
from common.pricing.durations import (
    TEAR_DOWN_ALLOWANCE_SECONDS,
    TRAINING_START_ALLOWANCE_SECONDS,
    TRAINING_STOP_ALLOWANCE_SECONDS,
)
from common.pricing.prices import Price
from preflight import money
from proof.simulation.aws.table import Table

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
LATE = datetime(2026, 11, 30, 20, tzinfo=UTC)
CAP = 2500


def price(hourly: str = "1.515") -> Price:
    return Price("ml.g5.2xlarge", "Training", Decimal(hourly), "test")


def ledger_with(cents: int, *months: str) -> Ledger:
    """A ledger in which so much is committed."""
    ledger = Ledger(Table(), "ledger", lambda seconds: None)
    if cents:
        ledger.reserve(Reservation("captune-earlier", "arn", cents, months or ("2026-11",), {}), 10**9, NOW)
    return ledger


def allow(
    committed: int = 0,
    *months: str,
    cap: int = CAP,
    training: int = 7200,
    deadline: int = 3600,
    keep: int = 0,
    now: datetime = NOW,
    lora_rank: int = 64,
    checkpoint_minutes: int = 10,
    spot_wait: int = 0,
) -> money.Allowance:
    ledger = ledger_with(committed, *months)
    return money.allow(
        ledger, cap, price(), price(), training, deadline, keep, now, lora_rank, checkpoint_minutes, spot_wait
    )


class TestEnough:
    def test_a_run_that_fits_gets_what_it_wants(self) -> None:
        allowance = allow()

        assert (allowance.training_seconds, allowance.deadline_seconds, allowance.clamped) == (7200, 3600, False)
        assert allowance.months == ("2026-11",)

    def test_the_worst_case_holds_the_time_to_stop_and_the_time_to_tear_down(self) -> None:
        worst = allow().worst

        assert worst.training_seconds == 7200 + TRAINING_START_ALLOWANCE_SECONDS + TRAINING_STOP_ALLOWANCE_SECONDS
        assert worst.endpoint_seconds == 3600 + TEAR_DOWN_ALLOWANCE_SECONDS
        # 8,520 and 6,000 seconds at $1.515 an hour, the small items, and the checkpoints of the highest rank.
        assert worst.cents == 359 + 253 + 13 + 56

    def test_a_slow_start_that_aws_bills_outside_the_longest_training_is_reserved(self) -> None:
        assert allow().worst.training_seconds - 7200 - TRAINING_STOP_ALLOWANCE_SECONDS == 720 + 180
        assert allow(training=0).worst.training_seconds == 0

    def test_the_checkpoints_are_reserved_by_their_rank_and_only_where_there_are_any(self) -> None:
        assert allow(lora_rank=16).worst.other_cents == 13 + checkpoint_cents(8520, 16)
        assert allow(training=0, lora_rank=16).worst.other_cents == 13

    def test_checkpoints_are_reserved_as_often_as_the_setting_says(self) -> None:
        other = [allow(checkpoint_minutes=minutes).worst.other_cents - 13 for minutes in (1, 10, 60)]
        assert other == [checkpoint_cents(8520, 64, minutes) for minutes in (1, 10, 60)]

    def test_a_spot_job_may_write_a_checkpoint_at_each_of_its_starts_and_more_where_it_is_asked_to(self) -> None:
        seconds = 7200 + 3600 + TRAINING_STOP_ALLOWANCE_SECONDS
        other = [allow(checkpoint_minutes=minutes, spot_wait=3600).worst.other_cents - 13 for minutes in (2, 6, 10, 60)]
        assert other == [checkpoint_cents(seconds, 64, minutes) for minutes in (2, 6, 6, 6)]

    def test_the_minutes_that_the_endpoint_is_kept_are_in_the_reservation(self) -> None:
        kept = allow(keep=3600)

        assert kept.worst.endpoint_seconds == 3600 + 3600 + TEAR_DOWN_ALLOWANCE_SECONDS
        assert kept.keep_seconds == 3600
        assert kept.worst.cents > allow().worst.cents

    def test_the_tear_down_is_due_after_all_that_a_run_may_take_and_wait(self) -> None:
        assert allow().tear_down_at == NOW + timedelta(seconds=7200 + 3600 + money.UNBILLED_ALLOWANCE_SECONDS)


class TestClamped:
    def test_with_four_dollars_left_training_and_endpoint_shrink_to_it(self) -> None:
        allowance = allow(CAP - 400)

        assert allowance.clamped
        assert allowance.worst.cents <= 400
        assert money.MINIMUM_TRAINING_SECONDS <= allowance.training_seconds < 7200
        assert money.MINIMUM_DEADLINE_SECONDS <= allowance.deadline_seconds < 3600

    def test_training_shrinks_before_the_endpoint_does(self) -> None:
        allowance = allow(CAP - 600)

        assert allowance.clamped
        assert allowance.training_seconds < 7200
        assert allowance.deadline_seconds == 3600

    def test_the_tear_down_comes_earlier_for_a_clamped_run(self) -> None:
        assert allow(CAP - 400).tear_down_at < allow().tear_down_at

    @given(
        left=st.integers(0, 3000),
        training=st.integers(1800, 21600),
        deadline=st.integers(1200, 14400),
        keep=st.integers(0, 14400),
        hourly=st.decimals("0.2", "20", places=3),
        now=st.sampled_from([NOW, LATE]),
    )
    @example(left=83, training=1800, deadline=6600, keep=0, hourly=Decimal("0.200"), now=NOW)
    def test_whatever_is_left_the_worst_case_fits_it_and_wastes_almost_none(
        self, left: int, training: int, deadline: int, keep: int, hourly: Decimal, now: datetime
    ) -> None:
        ledger, one = ledger_with(3000 - left), price(str(hourly))
        try:
            allowance = money.allow(ledger, 3000, one, one, training, deadline, keep, now)
        except BudgetExceeded:
            return

        assert allowance.worst.cents <= left
        assert money.MINIMUM_TRAINING_SECONDS <= allowance.training_seconds <= training
        assert money.MINIMUM_DEADLINE_SECONDS <= allowance.deadline_seconds <= deadline
        if allowance.clamped:
            # What is left over does not buy another second and its rounding. Beside that, an endpoint that is cut to less than the
            # small items hold frees what Ask would have cost with it, and that stays unspent.
            given_seconds = allowance.worst.endpoint_seconds
            wanted_seconds = given_seconds - allowance.deadline_seconds + deadline
            freed = slow_answers_cents(wanted_seconds) - slow_answers_cents(given_seconds)
            assert left - allowance.worst.cents <= one.cents(1) + 3 + freed * len(allowance.months)

    def test_what_was_allowed_can_be_reserved(self) -> None:
        ledger = ledger_with(CAP - 400)
        allowance = money.allow(ledger, CAP, price(), price(), 7200, 3600, 0, NOW)
        ledger.reserve(Reservation("captune-a", "arn:a", allowance.worst.cents, allowance.months, {}), CAP, NOW)

        assert ledger.committed_cents("2026-11") <= CAP


class TestRefused:
    def test_with_one_dollar_left_the_missing_amount_and_the_date_are_named(self) -> None:
        with pytest.raises(BudgetExceeded) as refused:
            allow(CAP - 100)

        words = str(refused.value)
        assert "$1.00 of the cap's $25.00 for runs is left in 2026-11" in words
        assert "the shortest useful run may cost $3.53: $2.53 is missing" in words
        assert "start again on 2026-12-01" in words

    def test_a_cap_that_no_run_fits_is_to_be_raised_because_waiting_would_not_help(self) -> None:
        with pytest.raises(BudgetExceeded, match="Set budget_usd in cdk.json to at least 5 and deploy"):
            allow(cap=200)

    def test_an_item_that_cannot_be_read_takes_this_cap_and_no_other(self) -> None:
        table = Table()
        table.rows["RUN#captune-lost"] = {"pk": {"S": "RUN#captune-lost"}, "state": {"S": "?"}}
        ledger = Ledger(table, "ledger", lambda seconds: None)
        with pytest.raises(BudgetExceeded, match=r"may cost \$3\.53: \$3\.53 is missing.*items of captune-lost cannot"):
            money.allow(ledger, 500, price(), price(), 7200, 3600, 0, NOW)

    def test_a_cap_lowered_below_what_is_committed_leaves_nothing(self) -> None:
        with pytest.raises(BudgetExceeded, match=r"^\$0.00 of the cap's \$5.00 for runs is left"):
            allow(2000, cap=500)


class TestTheEndOfTheMonth:
    def test_a_run_that_may_cross_it_needs_room_in_both_months(self) -> None:
        assert allow(now=LATE).months == ("2026-11", "2026-12")

    def test_the_fuller_of_the_two_months_decides(self) -> None:
        with pytest.raises(BudgetExceeded, match="left in 2026-11 and 2026-12.*start again on 2027-01-01"):
            allow(CAP - 100, "2026-12", now=LATE)

    def test_a_deadline_that_begins_as_late_as_it_can_is_still_in_the_months(self) -> None:
        longest = 7200 + money.UNBILLED_ALLOWANCE_SECONDS + 2 * (3600 + TEAR_DOWN_ALLOWANCE_SECONDS)
        midnight = datetime(2026, 12, 1, tzinfo=UTC)

        assert allow(now=midnight - timedelta(seconds=longest + 1)).months == ("2026-11",)
        assert allow(now=midnight - timedelta(seconds=longest)).months == ("2026-11", "2026-12")

    def test_crossing_it_costs_the_rounding_and_the_small_items_twice(self) -> None:
        assert allow(now=LATE).worst.cents == allow().worst.cents + 1 + 1 + 13 + 56
