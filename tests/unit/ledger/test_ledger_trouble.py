"""The ledger when calls collide, are throttled, lose their answers, or come from two runs at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.errors import ServiceUnreachable
from common.ledger.ledger import Ledger
from proof.simulation.aws.table import BROKEN, CONFLICT, LOST_ANSWER, THROTTLED, Table
from tests.doubles.ledger_turns import CAP, NOW, reservation, take_at_once


def no_pause(seconds: float) -> None:
    """Tests do not wait."""


def troubled(*kinds: str | None, operation: str = "TransactWriteItems") -> Ledger:
    """A ledger whose next calls of one operation go wrong in these ways, one after the other."""
    left = iter(kinds)
    return Ledger(Table(trouble=lambda called: next(left, None) if called == operation else None), "ledger", no_pause)


class TestTrouble:
    def test_transactions_that_collide_are_made_again(self) -> None:
        ledger = troubled(CONFLICT, CONFLICT, CONFLICT)
        ledger.reserve(reservation("a", 587), CAP, NOW)

        assert ledger.committed_cents("2026-11") == 587

    def test_a_ledger_that_is_always_busy_says_so(self) -> None:
        with pytest.raises(ServiceUnreachable, match="busy"):
            troubled(*[CONFLICT] * 12).reserve(reservation("a", 587), CAP, NOW)

    def test_pauses_between_attempts_grow_and_stay_short_enough_for_the_lambda(self) -> None:
        pauses: list[float] = []
        left = iter([CONFLICT] * 11)
        table = Table(trouble=lambda called: next(left, None) if called == "TransactWriteItems" else None)
        ledger = Ledger(table, "ledger", pauses.append)
        ledger.reserve(reservation("a", 587), CAP, NOW)

        assert len(pauses) == 11
        assert all(0 <= pause <= 2 for pause in pauses)

    @pytest.mark.parametrize("kind", [THROTTLED, BROKEN, LOST_ANSWER])
    def test_what_passes_is_named_so_that_the_state_machine_tries_again(self, kind: str) -> None:
        with pytest.raises(ServiceUnreachable, match="did not answer"):
            troubled(kind).reserve(reservation("a", 587), CAP, NOW)

    def test_a_reservation_whose_answer_was_lost_is_counted_once_when_it_is_repeated(self) -> None:
        ledger = troubled(LOST_ANSWER)
        with pytest.raises(ServiceUnreachable):
            ledger.reserve(reservation("a", 587), CAP, NOW)
        ledger.reserve(reservation("a", 587), CAP, NOW)

        assert ledger.committed_cents("2026-11") == 587

    def test_a_settlement_whose_answer_was_lost_releases_once_when_it_is_repeated(self) -> None:
        ledger = troubled(None, LOST_ANSWER)
        ledger.reserve(reservation("a", 587), CAP, NOW)
        with pytest.raises(ServiceUnreachable):
            ledger.settle("captune-a", {"2026-11": 91}, {}, NOW)
        ledger.settle("captune-a", {"2026-11": 91}, {}, NOW)

        assert ledger.committed_cents("2026-11") == 91

    @pytest.mark.parametrize("at", [2, 3])
    def test_room_that_is_made_while_a_run_is_looked_at_is_seen(self, at: int) -> None:
        table = Table()
        ledger = Ledger(table, "ledger", no_pause)
        ledger.reserve(reservation("a", CAP), CAP, NOW)
        calls = iter(range(1, 99))

        def another_run_settles(operation: str) -> None:
            # The run's own item is read, then the month, then all the runs.
            if next(calls) == at:
                table.pause = lambda other: None
                Ledger(table, "ledger", no_pause).settle("captune-a", {"2026-11": 0}, {}, NOW)

        table.pause = another_run_settles
        assert ledger.reserve(reservation("b", CAP), CAP, NOW)["state"] == "reserved"
        assert ledger.committed_cents("2026-11") == CAP

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

    def test_what_does_not_pass_is_not_hidden(self) -> None:
        class Forbidden(Table):
            def transact_write_items(self, **request: Any) -> dict[str, Any]:
                raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "TransactWriteItems")

        with pytest.raises(ClientError, match="AccessDenied"):
            Ledger(Forbidden(), "ledger", no_pause).reserve(reservation("a", 587), CAP, NOW)


class TestTwoRunsAtOnce:
    def test_two_runs_cannot_both_take_the_last_dollars(self) -> None:
        for _ in range(50):
            ledger = Ledger(Table(), "ledger", no_pause)
            ledger.reserve(reservation("earlier", 1500), CAP, NOW)

            assert take_at_once(ledger, 700, ["a", "b"]) == ["refused", "reserved"]
            assert ledger.committed_cents("2026-11") == 2200

    def test_of_many_runs_exactly_as_many_start_as_there_is_room_for(self) -> None:
        ledger = Ledger(Table(), "ledger", no_pause)

        assert take_at_once(ledger, 500, list("abcdefgh")).count("reserved") == 5
        assert ledger.committed_cents("2026-11") == CAP

    def test_two_settlements_that_read_the_run_at_the_same_time_release_once(self) -> None:
        table = Table()
        ledger = Ledger(table, "ledger", no_pause)
        ledger.reserve(reservation("a", 587), CAP, NOW)
        rival = Ledger(table, "ledger", no_pause)

        def the_rival_is_faster(operation: str) -> None:
            if operation == "TransactWriteItems":
                table.pause = lambda other: None
                rival.settle("captune-a", {"2026-11": 91}, {}, NOW)

        table.pause = the_rival_is_faster
        item = ledger.settle("captune-a", {"2026-11": 50}, {}, NOW)

        assert item is not None
        assert item["actual_cents"] == 91
        assert ledger.committed_cents("2026-11") == 91

    @pytest.mark.parametrize("mine", [120, 150])
    def test_second_settlements_that_meet_book_the_larger_once(self, mine: int) -> None:
        table = Table()
        ledger = Ledger(table, "ledger", no_pause)
        ledger.reserve(reservation("a", 587), CAP, NOW)
        ledger.settle("captune-a", {"2026-11": 91}, {}, NOW)
        rival = Ledger(table, "ledger", no_pause)

        def the_rival_is_faster(operation: str) -> None:
            if operation == "TransactWriteItems":
                table.pause = lambda other: None
                rival.settle("captune-a", {"2026-11": 130}, {}, NOW)

        table.pause = the_rival_is_faster
        item = ledger.settle("captune-a", {"2026-11": mine}, {}, NOW)

        assert item is not None
        assert item["actual_cents"] == max(130, mine)
        assert ledger.committed_cents("2026-11") == max(130, mine)

    def test_a_run_that_an_earlier_deployment_settled_can_be_settled_again(self) -> None:
        table = Table()
        ledger = Ledger(table, "ledger", no_pause)
        ledger.reserve(reservation("a", 587), CAP, NOW)
        ledger.settle("captune-a", {"2026-11": 91}, {}, NOW)
        del table.rows["RUN#captune-a"]["settlements"]
        item = ledger.settle("captune-a", {"2026-11": 100}, {}, NOW) or {}

        assert (item["actual_cents"], item["settlements"]) == (100, 2)
        assert ledger.committed_cents("2026-11") == 100


class Stale(Table):
    """A table that answers what is old, unless it is asked for the newest."""

    def get_item(self, *, ConsistentRead: bool = False, **request: Any) -> dict[str, Any]:
        return super().get_item(ConsistentRead=True, **request) if ConsistentRead else {}

    def paginate(self, *, ConsistentRead: bool = False, **request: Any) -> Iterator[dict[str, Any]]:
        return super().paginate(ConsistentRead=True, **request) if ConsistentRead else iter([{"Items": []}])


def test_only_the_newest_is_read() -> None:
    ledger = Ledger(Stale(), "ledger", no_pause)
    ledger.reserve(reservation("a", 587), CAP, NOW)

    assert ledger.committed_cents("2026-11") == 587
    assert [row.run for row in ledger.rows()] == ["captune-a"]
    assert ledger.run("captune-a") is not None


@pytest.mark.parametrize("kind", [THROTTLED, BROKEN, LOST_ANSWER])
@pytest.mark.parametrize("operation", ["GetItem", "Scan", "UpdateItem"])
def test_trouble_of_any_call_is_named(kind: str, operation: str) -> None:
    table = Table()
    ledger = Ledger(table, "ledger", no_pause)
    ledger.reserve(reservation("a", 587), CAP, NOW)
    table.trouble = lambda called: kind if called == operation else None
    calls: dict[str, Callable[[], Any]] = {
        "GetItem": lambda: ledger.run("captune-a"),
        "Scan": ledger.rows,
        "UpdateItem": lambda: ledger.note("captune-a", {"max_endpoint_seconds": 1}),
    }
    with pytest.raises(ServiceUnreachable, match="did not answer"):
        calls[operation]()
