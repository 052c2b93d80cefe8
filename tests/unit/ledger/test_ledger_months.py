"""A month is what its runs add up to: an item of a month that was deleted, lowered or damaged opens nothing."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from common.errors import BudgetExceeded, LedgerDamaged
from common.ledger.ledger import HIGHEST_CAP_CENTS, Ledger
from common.pricing.prices import Price
from preflight import money
from proof.simulation.aws.table import Table
from stacks.configuration.settings import Settings, SettingsError
from tests.doubles.ledger_turns import CAP, NOW, reservation, take_at_once
from tests.doubles.moto_table import empty_table, moto_dynamodb


@pytest.fixture(scope="module")
def account() -> Iterator[Any]:
    with moto_dynamodb() as client:
        yield client


@pytest.fixture(params=["moto", "the proof's table"])
def table(request: pytest.FixtureRequest, account: Any) -> Any:
    return empty_table(account) if request.param == "moto" else Table()


@pytest.fixture
def ledger(table: Any) -> Ledger:
    return Ledger(table, "ledger", lambda seconds: None)


def write_over(table: Any, pk: str, name: str, value: dict[str, Any] | None) -> None:
    """Changes one attribute of an item as a person or a script would, or takes it away."""
    if isinstance(table, Table):
        table.rows[pk] = {k: v for k, v in table.rows[pk].items() if k != name} | ({name: value} if value else {})
        return
    item = table.get_item(TableName="ledger", Key={"pk": {"S": pk}})["Item"]
    item.pop(name, None)
    table.put_item(TableName="ledger", Item=item | ({name: value} if value else {}))


def delete(table: Any, pk: str) -> None:
    if isinstance(table, Table):
        del table.rows[pk]
    else:
        table.delete_item(TableName="ledger", Key={"pk": {"S": pk}})


def month_item(table: Any) -> Any:
    if isinstance(table, Table):
        return table.rows["MONTH#2026-11"]["committed_cents"]
    return table.get_item(TableName="ledger", Key={"pk": {"S": "MONTH#2026-11"}})["Item"]["committed_cents"]


class TestTheMonthsItem:
    def test_a_deleted_month_item_does_not_open_the_cap(self, ledger: Ledger, table: Any) -> None:
        ledger.reserve(reservation("a", 1500), CAP, NOW)
        delete(table, "MONTH#2026-11")

        with pytest.raises(
            BudgetExceeded, match=r"\$10.00 of the cap's \$25.00 for runs is left in 2026-11: \$5.00 is missing"
        ):
            ledger.reserve(reservation("b", 1500), CAP, NOW)
        assert ledger.committed_cents("2026-11") == 1500

    @pytest.mark.parametrize("value", [{"N": "0"}, {"N": "1499"}, {"N": "-5"}, {"N": "2.5"}, {"BOOL": True}, {"S": "1500"},
                                       {"M": {"a": {"N": "1"}}}, {"L": []}, {"NULL": True}, None])  # fmt: skip
    def test_a_month_item_that_says_less_or_nothing_is_repaired_by_the_next_reservation(
        self, ledger: Ledger, table: Any, value: dict[str, Any] | None
    ) -> None:
        ledger.reserve(reservation("a", 1500), CAP, NOW)
        write_over(table, "MONTH#2026-11", "committed_cents", value)
        with pytest.raises(BudgetExceeded):
            ledger.reserve(reservation("b", 1001), CAP, NOW)
        ledger.reserve(reservation("b", 1000), CAP, NOW)

        assert month_item(table) == {"N": "2500"}

    def test_a_month_item_that_says_more_is_believed(self, ledger: Ledger, table: Any) -> None:
        ledger.reserve(reservation("a", 100), CAP, NOW)
        write_over(table, "MONTH#2026-11", "committed_cents", {"N": "2000"})
        with pytest.raises(BudgetExceeded):
            ledger.reserve(reservation("b", 501), CAP, NOW)
        ledger.reserve(reservation("b", 500), CAP, NOW)

        assert month_item(table) == {"N": "2500"}

    def test_a_settlement_in_a_deleted_month_opens_nothing_either(self, ledger: Ledger, table: Any) -> None:
        ledger.reserve(reservation("a", 1500), CAP, NOW)
        ledger.reserve(reservation("b", 900), CAP, NOW)
        delete(table, "MONTH#2026-11")
        ledger.settle("captune-b", {"2026-11": 400}, {}, NOW)

        assert ledger.committed_cents("2026-11") == 1900
        ledger.reserve(reservation("c", 600), CAP, NOW)
        assert month_item(table) == {"N": "2500"}

    def test_each_month_is_repaired_by_its_own_runs(self, ledger: Ledger, table: Any) -> None:
        ledger.reserve(reservation("a", 700, "2026-11", "2026-12"), CAP, NOW)
        ledger.reserve(reservation("b", 300, "2026-12"), CAP, NOW)
        ledger.settle("captune-a", {"2026-11": 50, "2026-12": 20}, {}, NOW)
        delete(table, "MONTH#2026-11")
        delete(table, "MONTH#2026-12")

        assert (ledger.committed_cents("2026-11"), ledger.committed_cents("2026-12")) == (50, 320)
        ledger.reserve(reservation("c", 1), CAP, NOW)
        assert month_item(table) == {"N": "51"}


class TestTwoRunsAtOnce:
    def test_a_deleted_month_item_does_not_let_two_runs_take_the_last_dollars(self) -> None:
        for _ in range(30):
            table = Table()
            ledger = Ledger(table, "ledger", lambda seconds: None)
            ledger.reserve(reservation("earlier", 1500), CAP, NOW)
            delete(table, "MONTH#2026-11")

            assert take_at_once(ledger, 700, ["a", "b"]) == ["refused", "reserved"]
            assert month_item(table) == {"N": "2200"}

    def test_and_not_in_moto_either(self, account: Any) -> None:
        table = empty_table(account)
        ledger = Ledger(table, "ledger", lambda seconds: None)
        ledger.reserve(reservation("earlier", 1500), CAP, NOW)
        delete(table, "MONTH#2026-11")

        assert take_at_once(ledger, 700, ["a", "b"]) == ["refused", "reserved"]
        assert month_item(table) == {"N": "2200"}

    @pytest.mark.parametrize("deleted", [True, False])
    def test_a_run_that_comes_between_reading_and_writing_is_counted(self, deleted: bool) -> None:
        table = Table()
        ledger, rival = (Ledger(table, "ledger", lambda seconds: None) for _ in range(2))
        ledger.reserve(reservation("earlier", 1500), CAP, NOW)
        if deleted:
            delete(table, "MONTH#2026-11")

        def the_rival_is_faster(operation: str) -> None:
            if operation == "TransactWriteItems":
                table.pause = lambda other: None
                rival.reserve(reservation("rival", 700), CAP, NOW)

        table.pause = the_rival_is_faster
        with pytest.raises(BudgetExceeded, match=r"\$3.00 of the cap's \$25.00 for runs is left"):
            ledger.reserve(reservation("mine", 700), CAP, NOW)
        assert month_item(table) == {"N": "2200"}


class TestDamagedRuns:
    def test_a_damaged_run_counts_as_its_reservation(self, ledger: Ledger, table: Any) -> None:
        ledger.reserve(reservation("a", 1500), CAP, NOW)
        ledger.settle("captune-a", {"2026-11": 100}, {}, NOW)
        write_over(table, "RUN#captune-a", "state", {"BOOL": True})

        assert ledger.committed_cents("2026-11") == 1500
        with pytest.raises(
            BudgetExceeded,
            match=r"items of captune-a cannot be read and count as the dearest case; see make ledger",
        ):
            ledger.reserve(reservation("b", 1001), CAP, NOW)

    def test_and_once_it_is_mended_as_what_it_did_cost(self, ledger: Ledger, table: Any) -> None:
        ledger.reserve(reservation("a", 1500), CAP, NOW)
        ledger.settle("captune-a", {"2026-11": 100}, {}, NOW)
        write_over(table, "RUN#captune-a", "state", {"BOOL": True})
        ledger.reserve(reservation("b", 1000), CAP, NOW)
        write_over(table, "RUN#captune-a", "state", {"S": "settled"})

        assert ledger.committed_cents("2026-11") == 1100

    def test_one_whose_reservation_cannot_be_read_counts_as_the_whole_cap(self, ledger: Ledger, table: Any) -> None:
        ledger.reserve(reservation("a", 10), CAP, NOW)
        write_over(table, "RUN#captune-a", "reserved_cents", {"NULL": True})

        assert ledger.committed_cents("2026-11", CAP) == CAP
        assert ledger.committed_cents("2026-11") == HIGHEST_CAP_CENTS
        with pytest.raises(BudgetExceeded, match=r"\$0.00 of the cap's \$25.00 for runs is left"):
            ledger.reserve(reservation("b", 1), CAP, NOW)

    def test_preflight_names_them_too_where_they_leave_too_little(self, ledger: Ledger, table: Any) -> None:
        for run in "abcd":
            ledger.reserve(reservation(run, 10), CAP, NOW)
        for run in "abcd":
            write_over(table, f"RUN#captune-{run}", "reserved_cents", {"NULL": True})
        price = Price("ml.g5.2xlarge", "Training", Decimal("1.515"), "test")

        assert ledger.damaged_runs(["2026-11"]) == [f"captune-{run}" for run in "abcd"]
        assert ledger.damaged_runs(["2026-10"]) == []
        with pytest.raises(BudgetExceeded, match="items of captune-a, captune-b, captune-c and 1 more cannot be read"):
            money.allow(ledger, CAP, price, price, 7200, 3600, 0, NOW)

    def test_one_of_an_earlier_month_takes_nothing_of_this_one(self, ledger: Ledger, table: Any) -> None:
        ledger.reserve(reservation("a", 10, "2026-10"), CAP, NOW)
        write_over(table, "RUN#captune-a", "reserved_cents", {"NULL": True})

        assert ledger.reserve(reservation("b", CAP), CAP, NOW)["state"] == "reserved"

    def test_a_refusal_for_want_of_money_blames_no_damaged_run_without_need(self, ledger: Ledger) -> None:
        with pytest.raises(BudgetExceeded) as refused:
            ledger.reserve(reservation("a", CAP + 1), CAP, NOW)
        assert "cannot be read" not in str(refused.value)

    def test_a_run_whose_own_item_is_damaged_is_neither_reserved_nor_settled(self, ledger: Ledger, table: Any) -> None:
        ledger.reserve(reservation("a", 100), CAP, NOW)
        write_over(table, "RUN#captune-a", "state", {"BOOL": True})
        with pytest.raises(LedgerDamaged):
            ledger.reserve(reservation("a", 100), CAP, NOW)
        with pytest.raises(LedgerDamaged):
            ledger.settle("captune-a", {"2026-11": 1}, {}, NOW)
        assert month_item(table) == {"N": "100"}

    def test_no_cap_may_be_higher_than_what_an_unreadable_item_counts_as(self) -> None:
        highest = HIGHEST_CAP_CENTS // 100
        assert Settings.from_context({"budget_usd": highest}).cap_cents == HIGHEST_CAP_CENTS
        with pytest.raises(SettingsError):
            Settings.from_context({"budget_usd": highest + 1})
