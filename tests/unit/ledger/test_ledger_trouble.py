"""The ledger when calls collide, are throttled, lose their answers, or come from two runs at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.errors import BudgetExceeded, ServiceUnreachable
from common.ledger import table as ledger_table
from common.ledger.ledger import Ledger
from tests.doubles.lambda_fakes import refusal
from tests.doubles.ledger_tables import CAP, NOW, quiet_ledger, reservation
from verification.simulation.services.dynamodb import Table
from verification.simulation.world import BROKEN, CONFLICT, LOST_ANSWER, THROTTLED

PASSING_ERRORS = [
    "InternalServerError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
    "TransactionInProgressException",
]


def troubled(*kinds: str | None, pause: Callable[[float], None] = lambda seconds: None) -> Ledger:
    """A ledger whose next transactions go wrong in these ways, one after the other."""
    left = iter(kinds)
    table = Table(trouble=lambda called: next(left, None) if called == "TransactWriteItems" else None)
    return Ledger(table, "ledger", pause)


def refusing(operation: str, code: str, *reasons: str) -> Ledger:
    """A ledger over a table that refuses an operation with a code of DynamoDB."""

    def refuse(**request: Any) -> Any:
        more: Any = {"CancellationReasons": [{"Code": reason} for reason in reasons]} if reasons else {}
        raise refusal(code, **more)

    table = Table()
    setattr(table, operation, refuse)
    return quiet_ledger(table)


def before_transaction(table: Table, act: Callable[[], Any]) -> None:
    """Lets something happen once, between what the ledger reads and what it then writes."""

    def interrupt(operation: str) -> None:
        if operation == "TransactWriteItems":
            table.pause = lambda other: None
            act()

    table.pause = interrupt


class TestTrouble:
    def test_colliding_transactions_are_repeated_after_short_pauses(self) -> None:
        pauses: list[float] = []
        ledger = troubled(*[CONFLICT] * 11, pause=pauses.append)
        ledger.reserve(reservation("a", 587), CAP, NOW)

        assert ledger.committed_cents("2026-11") == 587
        assert len(pauses) == 11
        assert all(0 <= pause <= 2 for pause in pauses)

    def test_pauses_double_up_to_two_seconds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bounds: list[tuple[float, float]] = []

        def longest(low: float, high: float) -> float:
            bounds.append((low, high))
            return high

        monkeypatch.setattr(ledger_table.random, "uniform", longest)
        pauses: list[float] = []
        table = ledger_table.Table(None, "ledger", pauses.append)
        for attempt in range(8):
            table.pause(attempt)

        assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
        assert bounds == [(0, pause) for pause in pauses]

    @pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
    def test_a_ledger_that_is_always_busy_says_so(self, code: str) -> None:
        ledger = refusing("transact_write_items", "TransactionCanceledException", "None", code)
        with pytest.raises(ServiceUnreachable, match="busy"):
            ledger.reserve(reservation("a", 587), CAP, NOW)

    def test_a_month_that_changes_in_every_attempt_is_called_busy(self) -> None:
        table, pauses = Table(), list[float]()
        ledger = Ledger(table, "ledger", pauses.append)

        def another_run_reserves(operation: str) -> None:
            if operation == "TransactWriteItems":
                table.rows["MONTH#2026-11"] = {"pk": {"S": "MONTH#2026-11"}, "committed_cents": {"N": str(len(pauses))}}

        table.pause = another_run_reserves
        with pytest.raises(ServiceUnreachable, match="busy"):
            ledger.reserve(reservation("a", 1), CAP, NOW)
        assert len(pauses) == 12
        assert all(0 <= pause <= 2 for pause in pauses)

    @pytest.mark.parametrize("code", PASSING_ERRORS)
    def test_passing_errors_of_dynamodb_are_retried_by_the_state_machine(self, code: str) -> None:
        with pytest.raises(ServiceUnreachable):
            refusing("get_item", code).run("captune-a")

    @pytest.mark.parametrize("code", ["AccessDeniedException", "TransactionCanceledException"])
    def test_other_errors_of_dynamodb_are_not_hidden(self, code: str) -> None:
        with pytest.raises(ClientError, match=code):
            refusing("transact_write_items", code).reserve(reservation("a", 587), CAP, NOW)
        with pytest.raises(ClientError, match=code):
            refusing("update_item", code).note("captune-a", {"max_endpoint_seconds": 1})

    @pytest.mark.parametrize("kind", [THROTTLED, BROKEN, LOST_ANSWER])
    @pytest.mark.parametrize("operation", ["GetItem", "Scan", "UpdateItem", "TransactWriteItems"])
    def test_trouble_of_any_call_is_named(self, kind: str, operation: str) -> None:
        table = Table()
        ledger = quiet_ledger(table)
        ledger.reserve(reservation("a", 587), CAP, NOW)
        table.trouble = lambda called: kind if called == operation else None
        calls: dict[str, Callable[[], Any]] = {
            "GetItem": lambda: ledger.run("captune-a"),
            "Scan": ledger.rows,
            "UpdateItem": lambda: ledger.note("captune-a", {"max_endpoint_seconds": 1}),
            "TransactWriteItems": lambda: ledger.reserve(reservation("b", 1), CAP, NOW),
        }
        with pytest.raises(ServiceUnreachable, match="did not answer"):
            calls[operation]()

    def test_writes_whose_answers_were_lost_count_once(self) -> None:
        ledger = troubled(LOST_ANSWER, LOST_ANSWER)
        with pytest.raises(ServiceUnreachable):
            ledger.reserve(reservation("a", 587), CAP, NOW)
        ledger.reserve(reservation("a", 587), CAP, NOW)
        assert ledger.committed_cents("2026-11") == 587
        with pytest.raises(ServiceUnreachable):
            ledger.settle("captune-a", {"2026-11": 91}, {}, NOW)
        ledger.settle("captune-a", {"2026-11": 91}, {}, NOW)
        assert ledger.committed_cents("2026-11") == 91

    def test_a_count_that_cannot_be_read_back_is_the_first(self) -> None:
        table = Table()
        table.get_item = lambda **request: {}  # type: ignore[method-assign]

        assert quiet_ledger(table).count_start("2026-11", 5) == 1


class TestTwoRunsAtOnce:
    """Each race with its one moment; verification/simulation/threads.py lets real threads meet."""

    @pytest.mark.parametrize("deleted", [True, False])
    def test_a_run_reserved_between_reading_and_writing_counts(self, deleted: bool) -> None:
        table = Table()
        ledger = quiet_ledger(table)
        ledger.reserve(reservation("earlier", 1500), CAP, NOW)
        if deleted:
            del table.rows["MONTH#2026-11"]
        before_transaction(table, lambda: quiet_ledger(table).reserve(reservation("rival", 700), CAP, NOW))

        with pytest.raises(BudgetExceeded, match=r"\$3.00 of the cap's \$25.00 for runs is left"):
            ledger.reserve(reservation("mine", 700), CAP, NOW)
        assert table.rows["MONTH#2026-11"]["committed_cents"] == {"N": "2200"}

    @pytest.mark.parametrize("at", [2, 3])
    def test_room_made_while_a_run_is_looked_at_is_seen(self, at: int) -> None:
        table = Table()
        ledger = quiet_ledger(table)
        ledger.reserve(reservation("a", CAP), CAP, NOW)
        calls = iter(range(1, 99))

        def another_run_settles(operation: str) -> None:
            # The run's own item is read, then the month, then all the runs.
            if next(calls) == at:
                table.pause = lambda other: None
                quiet_ledger(table).settle("captune-a", {"2026-11": 0}, {}, NOW)

        table.pause = another_run_settles
        assert ledger.reserve(reservation("b", CAP), CAP, NOW)["state"] == "reserved"
        assert ledger.committed_cents("2026-11") == CAP

    # What was settled before, what the rival and this settlement book, and what holds: a first settlement is final.
    @pytest.mark.parametrize(
        ("before", "rival", "mine", "booked"), [(None, 91, 50, 91), (91, 130, 120, 130), (91, 130, 150, 150)]
    )
    def test_settlements_that_meet_book_the_larger_once(
        self, before: int | None, rival: int, mine: int, booked: int
    ) -> None:
        table = Table()
        ledger = quiet_ledger(table)
        ledger.reserve(reservation("a", 587), CAP, NOW)
        if before:
            ledger.settle("captune-a", {"2026-11": before}, {}, NOW)
        before_transaction(table, lambda: quiet_ledger(table).settle("captune-a", {"2026-11": rival}, {}, NOW))

        item: Any = ledger.settle("captune-a", {"2026-11": mine}, {}, NOW)
        assert (item["actual_cents"], ledger.committed_cents("2026-11")) == (booked, booked)


class Stale(Table):
    """A table that returns old items unless the read is consistent."""

    def get_item(self, *, ConsistentRead: bool = False, **request: Any) -> dict[str, Any]:
        return super().get_item(ConsistentRead=True, **request) if ConsistentRead else {}

    def paginate(self, *, ConsistentRead: bool = False, **request: Any) -> Iterator[dict[str, Any]]:
        return super().paginate(ConsistentRead=True, **request) if ConsistentRead else iter([{"Items": []}])


def test_only_the_newest_is_read() -> None:
    ledger = quiet_ledger(Stale())
    ledger.reserve(reservation("a", 587), CAP, NOW)

    assert ledger.committed_cents("2026-11") == 587
    assert [row.run for row in ledger.rows()] == ["captune-a"]
    assert ledger.run("captune-a") is not None
