"""The ledger, against DynamoDB as moto imitates it and as the proof's own table does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from common.errors import BudgetExceeded, RunNameTaken, TooManyStarts
from common.ledger.ledger import Ledger, dollars, way_out
from proof.simulation.aws.table import Table
from tests.doubles.ledger_turns import CAP, NOW, reservation
from tests.doubles.moto_table import empty_table, moto_dynamodb

NOON, LATER = "2026-11-24T12:00:00+00:00", "2026-11-24T13:00:00+00:00"


def no_pause(seconds: float) -> None:
    """Tests do not wait."""


@pytest.fixture(scope="module")
def account() -> Iterator[Any]:
    with moto_dynamodb() as client:
        yield client


@pytest.fixture(params=["moto", "the proof's table"])
def ledger(request: pytest.FixtureRequest, account: Any) -> Ledger:
    return Ledger(empty_table(account) if request.param == "moto" else Table(), "ledger", no_pause)


class TestReserving:
    def test_a_reservation_is_in_the_month_and_in_the_run(self, ledger: Ledger) -> None:
        item: Any = ledger.reserve(reservation("a", 587), CAP, NOW)

        assert ledger.committed_cents("2026-11") == 587
        assert item["reserved_cents"] == 587
        assert ledger.run("captune-a") == item
        assert item["state"] == "reserved"
        assert item["reserved_at"] == "2026-11-24T18:00:00+00:00"

    def test_the_last_cent_can_be_reserved_and_not_one_more(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 2000), CAP, NOW)
        with pytest.raises(BudgetExceeded):
            ledger.reserve(reservation("b", 501), CAP, NOW)
        ledger.reserve(reservation("c", 500), CAP, NOW)

        assert ledger.committed_cents("2026-11") == CAP

    def test_a_refused_run_leaves_no_trace(self, ledger: Ledger) -> None:
        with pytest.raises(BudgetExceeded):
            ledger.reserve(reservation("a", CAP + 1), CAP, NOW)

        assert ledger.rows() == []
        assert ledger.committed_cents("2026-11") == 0

    def test_a_first_reservation_above_the_cap_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(BudgetExceeded, match="at least 26 and deploy"):
            ledger.reserve(reservation("a", CAP + 1), CAP, NOW)

    def test_repeated_by_the_same_execution_changes_nothing(self, ledger: Ledger) -> None:
        first = ledger.reserve(reservation("a", 587), CAP, NOW)
        again = ledger.reserve(reservation("a", 587), CAP, NOW.replace(hour=19))

        assert again == first
        assert ledger.committed_cents("2026-11") == 587

    def test_repeated_when_nothing_is_left_it_is_still_held(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", CAP), CAP, NOW)

        assert ledger.reserve(reservation("a", CAP), CAP, NOW)["reserved_cents"] == CAP

    def test_repeated_after_the_cap_was_lowered_below_it_it_is_still_held(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 2000), CAP, NOW)

        assert ledger.reserve(reservation("a", 2000), 100, NOW)["reserved_cents"] == 2000
        assert ledger.committed_cents("2026-11") == 2000

    def test_another_execution_cannot_take_the_same_name(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 100), CAP, NOW)
        with pytest.raises(RunNameTaken, match="captune-a was used before"):
            ledger.reserve(reservation("a", 100, arn="arn:other"), CAP, NOW)

        assert ledger.committed_cents("2026-11") == 100

    def test_a_settled_run_cannot_be_reserved_again(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 100), CAP, NOW)
        ledger.settle("captune-a", {"2026-11": 40}, {}, NOW)
        with pytest.raises(RunNameTaken):
            ledger.reserve(reservation("a", 100), CAP, NOW)

    def test_the_refusal_names_what_is_missing_and_when_there_is_more(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 2200), CAP, NOW)
        with pytest.raises(BudgetExceeded) as refused:
            ledger.reserve(reservation("b", 587), CAP, NOW)

        assert "may cost up to $5.87" in str(refused.value)
        assert "$3.00 of the cap's $25.00 for runs is left in 2026-11: $2.87 is missing" in str(refused.value)
        assert "start again on 2026-12-01" in str(refused.value)


class TestTheCap:
    def test_a_raised_cap_counts_at_once(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 2000), CAP, NOW)
        ledger.reserve(reservation("b", 1000), 3000, NOW)

        assert ledger.committed_cents("2026-11") == 3000

    def test_a_lowered_cap_counts_at_once(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 500), CAP, NOW)
        with pytest.raises(BudgetExceeded):
            ledger.reserve(reservation("b", 600), 1000, NOW)

    def test_under_a_cap_lowered_below_what_is_committed_nothing_new_starts(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 2000), CAP, NOW)
        with pytest.raises(BudgetExceeded, match=r"\$0.00 of the cap's \$10.00 for runs is left"):
            ledger.reserve(reservation("b", 1), 1000, NOW)


class TestTheEndOfTheMonth:
    def test_a_run_that_may_cross_it_is_reserved_in_both_months(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 587, "2026-11", "2026-12"), CAP, NOW)

        assert (ledger.committed_cents("2026-11"), ledger.committed_cents("2026-12")) == (587, 587)

    def test_a_full_second_month_refuses_the_run_and_leaves_the_first_untouched(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 2400, "2026-12"), CAP, NOW)
        with pytest.raises(BudgetExceeded, match="start again on 2027-01-01"):
            ledger.reserve(reservation("b", 200, "2026-11", "2026-12"), CAP, NOW)

        assert ledger.committed_cents("2026-11") == 0

    def test_settlement_books_each_month_and_frees_the_rest_of_both(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 587, "2026-11", "2026-12"), CAP, NOW)
        item: Any = ledger.settle("captune-a", {"2026-11": 100, "2026-12": 50}, {}, NOW)

        assert (ledger.committed_cents("2026-11"), ledger.committed_cents("2026-12")) == (100, 50)
        assert item is not None
        assert (item["actual_cents"], item["actual_cents_2026-11"], item["actual_cents_2026-12"]) == (150, 100, 50)

    def test_a_month_that_was_reserved_and_not_used_is_freed(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 587, "2026-11", "2026-12"), CAP, NOW)
        ledger.settle("captune-a", {"2026-11": 100}, {}, NOW)

        assert ledger.committed_cents("2026-12") == 0

    def test_what_was_billed_in_a_month_that_nobody_foresaw_is_booked_there(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 587), CAP, NOW)
        ledger.settle("captune-a", {"2026-11": 100, "2026-12": 7}, {}, NOW)

        assert ledger.committed_cents("2026-12") == 7


class TestSettling:
    def test_the_reservation_is_replaced_by_the_actual_cost(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 587), CAP, NOW)
        item: Any = ledger.settle("captune-a", {"2026-11": 91}, {"status": "SUCCEEDED"}, NOW)

        assert ledger.committed_cents("2026-11") == 91
        assert item is not None
        assert (item["state"], item["actual_cents"], item["status"]) == ("settled", 91, "SUCCEEDED")
        assert item["reserved_cents"] == 587

    def test_a_settled_run_releases_exactly_once(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 587), CAP, NOW)
        first = ledger.settle("captune-a", {"2026-11": 91}, {}, NOW)
        again = ledger.settle("captune-a", {"2026-11": 10}, {}, NOW.replace(hour=20))

        assert again == first
        assert ledger.committed_cents("2026-11") == 91

    def test_a_second_settlement_books_what_came_later(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 587, "2026-11", "2026-12"), CAP, NOW)
        ledger.settle("captune-a", {"2026-11": 91}, {"status": "ABORTED"}, NOW)
        later = NOW.replace(hour=20)
        item: Any = ledger.settle("captune-a", {"2026-11": 120, "2026-12": 7}, {"status": "FAILED"}, later)

        assert (ledger.committed_cents("2026-11"), ledger.committed_cents("2026-12")) == (120, 7)
        assert item is not None
        assert (item["actual_cents"], item["actual_cents_2026-11"], item["actual_cents_2026-12"]) == (127, 120, 7)
        assert (item["settled_at"], item["settled_again_at"]) == (NOW.isoformat(), later.isoformat())
        assert (item["state"], item["status"], item["settlements"]) == ("settled", "FAILED", 2)

    def test_a_second_settlement_takes_nothing_back(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 587), CAP, NOW)
        ledger.settle("captune-a", {"2026-11": 91}, {}, NOW)
        item: Any = ledger.settle("captune-a", {"2026-11": 80, "2026-12": 7}, {}, NOW) or {}

        assert (ledger.committed_cents("2026-11"), ledger.committed_cents("2026-12")) == (91, 7)
        assert (item["actual_cents"], item["actual_cents_2026-11"]) == (98, 91)

    def test_unless_its_amounts_are_exact(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 587), CAP, NOW)
        ledger.settle("captune-a", {"2026-11": 91}, {}, NOW)
        item: Any = ledger.settle("captune-a", {"2026-11": 80}, {}, NOW, exact=True) or {}

        assert ledger.committed_cents("2026-11") == 80
        assert (item["actual_cents"], item["actual_cents_2026-11"]) == (80, 80)

    def test_a_third_settlement_is_counted_too(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 587), CAP, NOW)
        for cents in (10, 20, 30, 30):
            ledger.settle("captune-a", {"2026-11": cents}, {}, NOW)

        assert ledger.committed_cents("2026-11") == 30
        assert (ledger.run("captune-a") or {})["settlements"] == 3

    def test_a_run_that_was_never_reserved_is_nothing_to_settle(self, ledger: Ledger) -> None:
        assert ledger.settle("captune-a", {"2026-11": 91}, {}, NOW) is None
        assert ledger.rows() == []
        assert ledger.committed_cents("2026-11") == 0

    def test_what_is_released_can_be_reserved(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", CAP), CAP, NOW)
        ledger.settle("captune-a", {"2026-11": 0}, {}, NOW)

        assert ledger.reserve(reservation("b", CAP), CAP, NOW)["state"] == "reserved"


class TestNotes:
    def test_what_was_noted_first_stays(self, ledger: Ledger) -> None:
        ledger.reserve(reservation("a", 587), CAP, NOW)
        ledger.note("captune-a", {"keep_until": NOON})
        ledger.note("captune-a", {"keep_until": LATER, "endpoint_gone_at": LATER})

        item: Any = ledger.run("captune-a") or {}
        assert (item["keep_until"], item["endpoint_gone_at"]) == (NOON, LATER)

    def test_a_note_about_no_run_is_dropped(self, ledger: Ledger) -> None:
        ledger.note("captune-a", {"keep_until": NOON})

        assert ledger.run("captune-a") is None

    def test_no_facts_are_no_call(self) -> None:
        Ledger(None, "ledger").note("captune-a", {})


class TestStarts:
    def test_refused_starts_are_bounded(self, ledger: Ledger) -> None:
        assert [ledger.count_start("2026-11", 3) for _ in range(3)] == [1, 2, 3]
        for _ in range(2):
            with pytest.raises(
                TooManyStarts, match="3 executions were looked at in 2026-11.*on 2026-12-01.*STARTS#2026-11 of"
            ):
                ledger.count_start("2026-11", 3)
        assert ledger.count_start("2026-12", 3) == 1
        assert ledger.count_start("2026-11", 4) == 4

    def test_they_are_no_run_and_no_month(self, ledger: Ledger) -> None:
        ledger.count_start("2026-11", 3)

        assert ledger.rows() == []
        assert ledger.committed_cents("2026-11") == 0


class TestWords:
    @pytest.mark.parametrize(("cents", "words"), [(0, "$0.00"), (7, "$0.07"), (1234, "$12.34"), (-250, "-$2.50")])
    def test_cents_are_read_as_dollars(self, cents: int, words: str) -> None:
        assert dollars(cents) == words

    def test_waiting_for_next_month_is_not_advised_when_the_cap_itself_is_too_low(self) -> None:
        assert way_out(2501, 2500, {"2026-11": 0}) == "Set budget_usd in cdk.json to at least 26 and deploy."

    def test_the_month_to_wait_for_is_the_one_after_the_last_that_is_full(self) -> None:
        assert "on 2026-12-01" in way_out(100, 2500, {"2026-11": 2450, "2026-12": 0})
        assert "on 2027-01-01" in way_out(100, 2500, {"2026-11": 2450, "2026-12": 2500})

    def test_every_run_is_listed_and_nothing_else(self, ledger: Ledger) -> None:
        for run in "abcde":
            ledger.reserve(reservation(run, 100), CAP, NOW)

        assert sorted(row.run for row in ledger.rows()) == [f"captune-{run}" for run in "abcde"]
