"""The ledger to the cent, the letter and the second: what is said at a boundary, what is written, and how long is waited."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.errors import BudgetExceeded, LedgerDamaged
from common.ledger import table as ledger_table
from common.ledger.changes import written
from common.ledger.ledger import Ledger, Reservation, damage_note, way_out
from common.ledger.rows import EndpointLife, endpoint_lives, read_row
from proof.simulation.aws.table import Table
from tests.doubles.lambda_fakes import refusal

NOW = datetime(2026, 11, 24, 18, tzinfo=UTC)
CAP = 2500
LONG = "x" * 50


def reserved(table: Table | None = None) -> Ledger:
    """A ledger with one open run."""
    ledger = Ledger(table or Table(), "ledger", lambda seconds: None)
    ledger.reserve(Reservation("captune-a", "arn:a", 600, ("2026-11",), {"execution_name": "a"}), CAP, NOW)
    return ledger


class TestTheWayOut:
    def test_a_run_that_takes_the_whole_cap_can_wait_for_a_month_in_which_nothing_is_committed(self) -> None:
        words = way_out(CAP, CAP, {"2026-11": 1})

        assert words == (
            "Wait for a run in flight to be settled, raise budget_usd in cdk.json and deploy, or start again on 2026-12-01."
        )

    def test_a_month_in_which_the_run_just_fits_is_not_waited_for(self) -> None:
        assert way_out(200, CAP, {"2026-11": CAP - 199, "2026-12": CAP - 200}).endswith("start again on 2026-12-01.")

    def test_a_refusal_names_both_months_and_what_is_missing(self) -> None:
        ledger = Ledger(Table(), "ledger", lambda seconds: None)
        ledger.reserve(Reservation("captune-a", "arn:a", 2400, ("2026-12",), {}), CAP, NOW)
        with pytest.raises(BudgetExceeded) as refused:
            ledger.reserve(Reservation("captune-b", "arn:b", 200, ("2026-11", "2026-12"), {}), CAP, NOW)

        assert str(refused.value) == (
            "This run may cost up to $2.00, and $1.00 of the cap's $25.00 for runs is left in 2026-11 and 2026-12: $1.00 is missing. Wait for a "
            "run in flight to be settled, raise budget_usd in cdk.json and deploy, or start again on 2027-01-01."
        )


class TestWhatIsSaidOfADamagedItem:
    @pytest.mark.parametrize(
        ("runs", "words"),
        [
            ([], ""),
            (["b", "a"], " The ledger's items of a, b cannot be read"),
            (["c", "b", "a"], " The ledger's items of a, b, c cannot be read"),
            (["d", "c", "b", "a"], " The ledger's items of a, b, c and 1 more cannot be read"),
        ],
    )
    def test_three_runs_are_named_and_the_others_counted(self, runs: list[str], words: str) -> None:
        more = " and count as the dearest case; see make ledger."

        assert damage_note(runs) == (f"{words}{more}" if runs else "")

    def test_everything_that_is_wrong_with_it_is_said_and_where_to_look(self) -> None:
        table = Table()
        ledger = reserved(table)
        table.rows["RUN#captune-a"] |= {"state": {"S": "open"}, "months": {"S": "May"}}
        with pytest.raises(LedgerDamaged) as damaged:
            ledger.run("captune-a")

        assert str(damaged.value) == (
            "The ledger's item RUN#captune-a cannot be read: state is 'open', neither reserved nor settled; months is 'May', not "
            "months such as 2026-11. Until that is put right it counts as the dearest case; make ledger shows it."
        )

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("state", "neither reserved nor settled"),
            ("months", "not months such as 2026-11"),
            ("reserved_at", "not a date"),
            ("reserved_cents", "not a number"),
        ],
    )
    def test_of_a_long_text_forty_letters_are_shown(self, name: str, problem: str) -> None:
        table = Table()
        reserved(table)
        (found,) = read_row(table.rows["RUN#captune-a"] | {name: {"S": LONG}}).problems

        assert f"'{LONG[:40]}', {problem}" in found

    def test_an_attribute_without_a_type_holds_nothing(self) -> None:
        assert "note is of the type nothing;" in read_row({"pk": {"S": "RUN#captune-a"}, "note": {}}).problems[0]

    def test_an_item_without_a_key_belongs_to_no_run(self) -> None:
        assert read_row({}).run == ""


class TestWhatIsWritten:
    @pytest.fixture
    def far_east(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """A machine whose own clock is nine hours ahead of UTC."""
        monkeypatch.setenv("TZ", "JST-9")
        time.tzset()
        yield
        monkeypatch.undo()
        time.tzset()

    def test_moments_are_written_in_utc_wherever_the_machine_is(self, far_east: None) -> None:
        assert written(NOW.astimezone(timezone(timedelta(hours=9)))) == "2026-11-24T18:00:00+00:00"

    def test_a_failed_endpoint_is_written_as_a_number(self) -> None:
        ledger = reserved()
        ledger.note_endpoint("captune-a", 1, NOW, failed=True)

        item: Any = ledger.run("captune-a")
        assert item["endpoint_1_failed"] == 1

    def test_a_first_settlement_writes_only_the_months_that_cost_something(self) -> None:
        ledger = Ledger(Table(), "ledger", lambda seconds: None)
        ledger.reserve(Reservation("captune-a", "arn:a", 600, ("2026-11", "2026-12"), {}), CAP, NOW)
        item: Any = ledger.settle("captune-a", {"2026-11": 40}, {}, NOW) or {}

        assert {name: item[name] for name in item if name.startswith("actual_cents")} == {
            "actual_cents": 40, "actual_cents_2026-11": 40,
        }  # fmt: skip
        assert item["settled_at"] == "2026-11-24T18:00:00+00:00"

    def test_the_item_of_a_month_that_nobody_foresaw_holds_what_was_billed_in_it(self) -> None:
        table = Table()
        reserved(table).settle("captune-a", {"2026-11": 100, "2026-12": 7}, {}, NOW)

        assert table.rows["MONTH#2026-11"]["committed_cents"] == {"N": "100"}
        assert table.rows["MONTH#2026-12"]["committed_cents"] == {"N": "7"}

    def test_a_count_whose_answer_cannot_be_read_back_is_the_first(self) -> None:
        class Forgetful(Table):
            def get_item(self, **request: Any) -> dict[str, Any]:
                return {}

        assert Ledger(Forgetful(), "ledger", lambda seconds: None).count_start("2026-11", 5) == 1

    def test_a_run_of_an_earlier_deployment_whose_endpoint_nobody_saw_go_has_one_without_an_end(self) -> None:
        assert endpoint_lives({"endpoint_created_at": "2026-11-24T18:00:00+00:00"}) == {1: EndpointLife(NOW, None)}


class TestTroubleToTheLetter:
    def test_a_cancelled_transaction_without_reasons_is_not_hidden(self) -> None:
        class Silent(Table):
            def transact_write_items(self, **request: Any) -> dict[str, Any]:
                raise refusal("TransactionCanceledException")

        with pytest.raises(ClientError):
            reserved(Silent())

    def test_the_longest_pause_doubles_from_a_twentieth_of_a_second_to_two_seconds(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bounds: list[tuple[float, float]] = []

        def longest(low: float, high: float) -> float:
            bounds.append((low, high))
            return high

        monkeypatch.setattr(ledger_table.random, "uniform", longest)
        table = ledger_table.Table(None, "ledger", lambda seconds: None)
        for attempt in range(8):
            table.pause(attempt)

        assert bounds == [(0, 0.05), (0, 0.1), (0, 0.2), (0, 0.4), (0, 0.8), (0, 1.6), (0, 2.0), (0, 2.0)]
