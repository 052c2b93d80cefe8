"""The ledger when items are damaged, and when calls collide, are throttled, lose their answers, or meet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.errors import BudgetExceeded, LedgerDamaged, ServiceUnreachable
from common.ledger import keys
from common.ledger import table as ledger_table
from common.ledger.changes import written
from common.ledger.ledger import Ledger
from common.ledger.rows import endpoint_lifetime, parts_cents, read_row, whole_number
from tests.doubles.lambda_fakes import NOW, arn, refusal
from tests.doubles.ledger_fakes import CAP, DETAILS, clock_of_tokyo, quiet_ledger, reservation
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
    def test_colliding_transactions_are_repeated_after_pauses_that_double(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pauses: list[Any] = []
        monkeypatch.setattr(ledger_table.random, "uniform", lambda low, high: (low, high))
        collisions = iter([CONFLICT] * 11)
        table = Table(trouble=lambda called: next(collisions, None) if called == "TransactWriteItems" else None)
        ledger = Ledger(table, "ledger", pauses.append)
        ledger.reserve(reservation("a", 587), CAP, NOW)

        assert ledger.committed_cents("2026-11") == 587
        assert pauses == [(0, longest) for longest in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, *[2.0] * 5)]

    @pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
    def test_a_ledger_that_is_always_busy_says_so(self, code: str) -> None:
        ledger = refusing("transact_write_items", "TransactionCanceledException", "None", code)
        with pytest.raises(ServiceUnreachable, match="^The ledger was busy .* tries again.$"):
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

    def test_a_run_reserved_while_an_endpoint_is_extended_counts(self) -> None:
        table, pauses = Table(), list[float]()
        ledger = Ledger(table, "ledger", pauses.append)
        seconds = {"max_endpoint_seconds": 6000, "keep_endpoint_seconds": 60}
        kept: Any = {**DETAILS, **seconds, "keep_until": (NOW + timedelta(hours=1)).isoformat()}
        ledger.reserve(reservation("a", 600, **kept), CAP, NOW)
        before_transaction(table, lambda: quiet_ledger(table).reserve(reservation("rival", 700), CAP, NOW))

        item: Any = ledger.extend("captune-a", 60, CAP, NOW)
        assert table.rows["MONTH#2026-11"]["committed_cents"] == {"N": str(700 + item["reserved_cents"])}
        assert len(pauses) == 1

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


GOOD: dict[str, dict[str, Any]] = {
    "pk": {"S": "RUN#captune-a"},
    "state": {"S": "reserved"},
    "execution_arn": {"S": arn("a")},
    "execution_name": {"S": "a"},
    "reserved_cents": {"N": "600"},
    "months": {"S": "2026-11,2026-12"},
    "reserved_at": {"S": "2026-11-24T18:00:00+00:00"},
    "training_prices": {"S": "ml.g6.2xlarge=1.222 ml.g5.2xlarge=1.515"},
    "hosting_prices": {"S": "ml.g6.2xlarge=1.222 ml.g5.2xlarge=1.515"},
    "price_source": {"S": "AWS Price List"},
    "training_instances": {"N": "2"},
    "max_training_seconds": {"N": "3500"},
    "max_endpoint_seconds": {"N": "6000"},
    "other_cents": {"N": "50"},
}
SETTLED = GOOD | {
    "state": {"S": "settled"},
    "actual_cents": {"N": "150"},
    "actual_cents_2026-11": {"N": "100"},
    "actual_cents_2026-12": {"N": "50"},
    "settled_at": {"S": "2026-11-24T20:00:00+00:00"},
    "settlements": {"N": "1"},
}
TEXTS = ("state", "execution_arn", "execution_name", "months", "status")
PRICES = ("price_source", "training_prices", "hosting_prices")
REQUIRED = (
    "state", "execution_arn", "reserved_cents", "months", "reserved_at", "price_source", "training_prices", "hosting_prices",
    "training_instances", "max_training_seconds", "max_endpoint_seconds", "other_cents",
)  # fmt: skip
DATES = ("reserved_at", "settled_at", "ends_by", "keep_until")
LONG = "x" * 50
LONGEST = {
    "max_training_seconds": 12 * 3600,
    "max_endpoint_seconds": 8 * 3600 + 2400,
    "endpoint_deadline_seconds": 4 * 3600,
    "keep_endpoint_seconds": 4 * 3600,
}

# What is written over a good item, and what is said about it. None removes the attribute.
DAMAGES: list[tuple[str, dict[str, Any] | None, str]] = [
    ("state", {"BOOL": True}, "state is of the type BOOL; the ledger holds whole numbers and texts"),
    ("note", {}, "note is of the type nothing"),
    ("reserved_cents", {"N": "600.5"}, "reserved_cents is 600.5, not a whole number"),
    ("reserved_cents", {"N": "-1"}, "reserved_cents is -1, below zero"),
    ("reserved_cents", {"S": LONG}, f"reserved_cents is the text '{LONG[:40]}', not a number"),
    ("max_endpoint_seconds", {"S": "long"}, "max_endpoint_seconds is the text 'long', not a number"),
    ("actual_cents_2026-11", {"S": "9"}, "actual_cents_2026-11 is the text '9', not a number"),
    ("endpoint_instance_count", {"S": "1"}, "endpoint_instance_count is the text '1', not a number"),
    ("state", {"S": LONG}, f"state is '{LONG[:40]}', neither reserved nor settled"),
    *(
        ("execution_arn", {"S": text}, f"execution_arn is '{text[:40]}', not the ARN of an execution")
        for text in ("garbage", arn("a") + ":b", arn("a").replace(":states:", ":lambda:"), arn("a").replace("us-east-1", ""))
    ),
    ("months", {"S": "2026-11,2026-13"}, "months is '2026-11,2026-13', not months such as 2026-11"),
    ("months", {"S": LONG}, f"months is '{LONG[:40]}', not months such as 2026-11"),
    ("reserved_at", {"S": LONG}, f"reserved_at is '{LONG[:40]}', not a date"),
    *((name, {"S": "9999-12-31T23:59:59-01:00"}, f"{name} is '9999-12-31T23:59:59-01:00', not a date") for name in DATES),
    *((name, {"N": "1" + 20 * "0"}, f"{name} is 1{20 * '0'} seconds, more than the {most}") for name, most in LONGEST.items()),
    *((name, {"N": str(most + 1)}, f"{name} is {most + 1} seconds, more than") for name, most in LONGEST.items()),
    *(
        (name, {"S": moment}, f"{name} is {moment}, too far from the reservation at 2026-11-24 18")
        for name in ("ends_by", "keep_until", "settled_at", "endpoint_created_at", "endpoint_gone_at")
        for moment in ("2036-11-24T18:00:00+00:00", "2026-11-23T17:59:59+00:00")
    ),
    # 16 hours and 40 minutes later at the most.
    *((name, {"S": "2026-11-25T10:40:01+00:00"}, f"{name} is 2026-11-25") for name in ("ends_by", "keep_until")),
    *(
        (f"{use}_prices", {"S": text}, f"{use}_prices is '{text}', no prices that AWS asks")
        for use in ("training", "hosting")
        for text in ("", "ml.g5.2xlarge=0.01515", "ml.g5.2xlarge=0.7574", "ml.g5.2xlarge=-1", "ml.g5.2xlarge", "a=b", "x=0.1", "x=1001",
                     "ml.g5.2xlarge=NaN", "ml.g5.2xlarge=1.515 ml.g6.2xlarge=0.1")
    ),
    ("training_prices", {"S": "x" * 41}, f"training_prices is '{'x' * 40}', no prices"),
    *((name, None, f"{name} is missing") for name in REQUIRED),
    *((name, {"N": "7"}, f"{name} is the number 7, not a text") for name in (*TEXTS, *PRICES, *DATES)),
    *((name, {"S": "soon"}, f"{name} is 'soon', not a date") for name in DATES),
]  # fmt: skip


def fitting(item: dict[str, Any]) -> dict[str, Any]:
    """An item with the reservation that its parts come to."""
    return but(item, reserved_cents={"N": str(parts_cents(read_row(item).item))})


def but(item: dict[str, Any], **changes: dict[str, Any] | None) -> dict[str, Any]:
    """An item with other attributes; None removes one."""
    return {name: value for name, value in {**item, **changes}.items() if value is not None}


def test_the_keys_of_existing_tables_stay() -> None:
    names = [keys.of_run("captune-a"), keys.of_month("2026-11"), keys.of_starts("2026-11"), "XRUN#"]
    assert {name: (keys.run_in(name), keys.month_in(name), keys.starts_in(name)) for name in names} == {
        "RUN#captune-a": ("captune-a", None, None),
        "MONTH#2026-11": (None, "2026-11", None),
        "STARTS#2026-11": (None, None, "2026-11"),
        "XRUN#": (None, None, None),
    }


class TestReading:
    def test_a_good_item_is_read_with_its_types(self) -> None:
        row = read_row(GOOD)
        assert (row.run, row.problems, row.is_damaged, row.is_open) == ("captune-a", (), False, True)
        assert (row.item["reserved_cents"], row.item["months"]) == (600, "2026-11,2026-12")
        settled = read_row(SETTLED)
        assert (settled.is_damaged, settled.is_open) == (False, False)

    @pytest.mark.parametrize(("name", "value", "problem"), DAMAGES)
    def test_a_damaged_item_is_described_and_hides_no_other(
        self, name: str, value: dict[str, Any] | None, problem: str
    ) -> None:
        table = Table()
        ledger = quiet_ledger(table)
        ledger.reserve(reservation("b", 100), CAP, NOW)
        table.rows["RUN#captune-a"] = but(GOOD, **{name: value})

        rows = {row.run: row for row in ledger.rows()}
        (found,) = rows["captune-a"].problems
        assert found.startswith(problem)
        assert rows["captune-a"].is_damaged and rows["captune-a"].is_open
        assert name not in rows["captune-a"].item
        assert len(rows["captune-a"].item) == len(but(GOOD, **{name: None}))
        assert (rows["captune-b"].problems, rows["captune-b"].item) == ((), ledger.run("captune-b"))

    @pytest.mark.parametrize(
        ("reserved_at", "months", "fits"),
        [("2026-12-01T00:00:00+00:00", "2026-11", False), ("2026-11-30T23:59:59+00:00", "2026-11", True),
         ("2036-11-24T18:00:00+00:00", "2026-11,2026-12", False), ("2026-11-24T18:00:00+00:00", "2026-12", True),
         ("2026-12-01T00:00:00+00:00", "2026-11,2026-12", True)],
    )  # fmt: skip
    def test_a_reservation_after_its_months_counts_in_every_month(
        self, reserved_at: str, months: str, fits: bool
    ) -> None:
        cents = 600 if "," in months else 598
        changed = {"reserved_at": {"S": reserved_at}, "months": {"S": months}, "reserved_cents": {"N": str(cents)}}
        row = read_row(but(GOOD, **changed))
        assert row.is_damaged is not fits
        assert all(f"does not fit: {months} were reserved at {reserved_at[:10]}" in one for one in row.problems)
        assert {"reserved_at", "months"} <= row.item.keys() or not fits
        assert row.cents_in("2027-01", CAP) == (0 if fits else cents)

    @pytest.mark.parametrize(("name", "most"), LONGEST.items())
    def test_the_longest_that_may_be_asked_for_is_no_damage(self, name: str, most: int) -> None:
        right = {"S": "ml.g5.2xlarge=0.7575 ml.g6.2xlarge=1000 x=0.184"}
        dates = {"ends_by": {"S": "2026-11-25T10:40:00+00:00"}, "settled_at": {"S": "2027-11-25T18:00:00+00:00"},
                 "endpoint_created_at": {"S": "2026-11-23T18:00:00+00:00"}}  # fmt: skip
        longest = but(GOOD, **{name: {"N": str(most)}}, training_prices=right, hosting_prices=right, **dates)
        assert read_row(fitting(longest)).problems == ()

    # Each is possible by itself, and would book less than was reserved, or hold it in one month of two.
    @pytest.mark.parametrize(
        ("name", "value", "cents"),
        [("training_prices", {"S": "ml.g5.2xlarge=0.758"}, 453), ("hosting_prices", {"S": "ml.g6.2xlarge=1.222"}, 551),
         ("other_cents", {"N": "0"}, 550), ("months", {"S": "2026-11"}, 598), ("training_instances", {"N": "1"}, 453),
         ("max_training_seconds", {"N": "0"}, 305), ("max_endpoint_seconds", {"N": "5900"}, 596), ("reserved_cents", {"N": "601"}, 600),
         ("reserved_cents", {"N": "599"}, 600)],
    )  # fmt: skip
    def test_what_was_reserved_is_what_its_parts_come_to(self, name: str, value: dict[str, Any], cents: int) -> None:
        row = read_row(but(GOOD, **{name: value}))
        was = value["N"] if name == "reserved_cents" else "600"
        assert row.problems == (f"reserved_cents is {was}, and what it was reserved for comes to {cents}",)
        assert (row.is_open, row.cents_in("2026-11", CAP)) == (True, CAP)

    def test_everything_wrong_with_a_run_is_in_the_error(self) -> None:
        table = Table()
        table.rows["RUN#captune-a"] = but(GOOD, state={"S": "open"}, months={"S": "May"})
        with pytest.raises(
            LedgerDamaged,
            match="RUN#captune-a cannot be read: state is 'open', .*; months is 'May', .* the dearest case; captune ledger ",
        ):
            quiet_ledger(table).run("captune-a")

    @pytest.mark.parametrize("missing", ["actual_cents", "settled_at"])
    def test_a_settled_item_without_its_settlement_is_open(self, missing: str) -> None:
        row = read_row(but(SETTLED, **{missing: None}))
        assert (row.problems, row.is_open) == ((f"{missing} is missing",), True)

    def test_a_settled_item_without_its_count_is_damaged_and_not_open(self) -> None:
        row = read_row(but(SETTLED, settlements=None))
        assert (row.problems, row.is_open) == (("settlements is missing",), False)

    def test_an_item_without_a_key_has_no_run(self) -> None:
        assert (read_row({}).run, read_row(but(GOOD, pk=None)).run) == ("", "")

    @pytest.mark.parametrize(
        ("value", "number"),
        [({"N": "5"}, 5), ({"N": "5.0"}, 5), ({"N": "5E+2"}, 500), ({"N": "-3"}, -3), (None, None), ({"S": "5"}, None),
         ({"N": "5.5"}, None), ({"N": "NaN"}, None), ({"N": "x"}, None), ({"N": None}, None)],
    )  # fmt: skip
    def test_whole_numbers_are_read_however_they_are_written(self, value: Any, number: int | None) -> None:
        assert whole_number(value) == number

    def test_dates_are_written_in_utc_on_any_machine(self) -> None:
        with clock_of_tokyo():
            assert written(NOW.astimezone(timezone(timedelta(hours=9)))) == "2026-11-24T12:00:00+00:00"


@pytest.mark.parametrize(
    ("item", "cents"),
    [
        (GOOD, (0, 600, 600, 0)),
        (SETTLED, (0, 100, 50, 0)),
        (but(GOOD, state={"BOOL": True}), (0, 600, 600, 0)),
        (but(GOOD, reserved_cents={"N": "1.5"}), (0, CAP, CAP, 0)),
        (but(GOOD, months=None), (0, 600, 600, 600)),  # every month from its reservation on
        (but(GOOD, months=None, reserved_at=None), (600, 600, 600, 600)),
        (but(SETTLED, status={"BOOL": True}), (0, 100, 50, 0)),
        # Its settlement does not add up.
        (but(SETTLED, **{"actual_cents_2026-12": {"BOOL": True}}), (0, 600, 600, 0)),
        # What was booked beyond the reservation counts too.
        (but(SETTLED, state=None, **{"actual_cents_2026-11": {"N": "700"}}), (0, 700, 600, 0)),
    ],
)
def test_what_a_run_holds_of_each_month(item: dict[str, Any], cents: tuple[int, ...]) -> None:
    row = read_row(item)
    assert tuple(row.cents_in(month, CAP) for month in ("2026-10", "2026-11", "2026-12", "2027-01")) == cents


class TestEndpointLives:
    def test_an_end_without_a_creation_is_no_life(self) -> None:
        assert endpoint_lifetime({"endpoint_gone_at": "2026-11-24T19:00:00+00:00"}) is None
