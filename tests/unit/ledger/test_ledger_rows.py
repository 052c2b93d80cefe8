"""Every item of the ledger is read by itself: what is wrong with one is described in words and hides no other."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import pytest

from common.errors import LedgerDamaged
from common.ledger import keys
from common.ledger.changes import written
from common.ledger.rows import EndpointLife, RunItem, RunRow, endpoint_lives, read_row, whole_number
from tests.doubles.ledger_fakes import clock_of_tokyo
from tests.doubles.ledger_tables import CAP, NOW, quiet_ledger, reservation
from verification.simulation.services.dynamodb import Table

GOOD: dict[str, dict[str, Any]] = {
    "pk": {"S": "RUN#captune-a"},
    "state": {"S": "reserved"},
    "execution_arn": {"S": "arn:a"},
    "execution_name": {"S": "a"},
    "reserved_cents": {"N": "600"},
    "months": {"S": "2026-11,2026-12"},
    "reserved_at": {"S": "2026-11-24T18:00:00+00:00"},
}
SETTLED = GOOD | {
    "state": {"S": "settled"},
    "actual_cents": {"N": "150"},
    "actual_cents_2026-11": {"N": "100"},
    "actual_cents_2026-12": {"N": "50"},
    "settled_at": {"S": "2026-11-24T20:00:00+00:00"},
}
NO_NUMBER: dict[str, Any] = {"N": "1.5"}
TEXTS = (
    "state",
    "execution_arn",
    "execution_name",
    "months",
    "status",
    "price_source",
    "training_prices",
    "hosting_prices",
)
REQUIRED = ("state", "execution_arn", "reserved_cents", "months", "reserved_at")
DATES = ("reserved_at", "settled_at", "ends_by", "keep_until")
LONG = "x" * 50

# What is written over a good item, and what is said about it. None removes the attribute.
DAMAGES: list[tuple[str, dict[str, Any] | None, str]] = [
    ("state", {"BOOL": True}, "state is of the type BOOL; the ledger holds whole numbers and texts"),
    ("seen_by", {"NULL": True}, "seen_by is of the type NULL"),
    ("note", {"M": {"a": {"S": "b"}}}, "note is of the type M"),
    ("note", {}, "note is of the type nothing"),
    ("months", {"L": [{"S": "2026-11"}]}, "months is of the type L"),
    ("tags", {"SS": ["a"]}, "tags is of the type SS"),
    ("reserved_cents", {"N": "600.5"}, "reserved_cents is 600.5, not a whole number"),
    ("reserved_cents", {"N": "-1"}, "reserved_cents is -1, below zero"),
    ("reserved_cents", {"S": "600"}, "reserved_cents is the text '600', not a number"),
    ("reserved_cents", {"S": LONG}, f"reserved_cents is the text '{LONG[:40]}', not a number"),
    ("max_endpoint_seconds", {"S": "long"}, "max_endpoint_seconds is the text 'long', not a number"),
    ("actual_cents_2026-11", {"S": "9"}, "actual_cents_2026-11 is the text '9', not a number"),
    ("endpoint_1_instance_count", {"S": "1"}, "endpoint_1_instance_count is the text '1', not a number"),
    ("state", {"S": "open"}, "state is 'open', neither reserved nor settled"),
    ("state", {"S": LONG}, f"state is '{LONG[:40]}', neither reserved nor settled"),
    ("months", {"S": "November"}, "months is 'November', not months such as 2026-11"),
    ("months", {"S": "2026-11,2026-13"}, "months is '2026-11,2026-13', not months such as 2026-11"),
    ("months", {"S": LONG}, f"months is '{LONG[:40]}', not months such as 2026-11"),
    ("reserved_at", {"S": LONG}, f"reserved_at is '{LONG[:40]}', not a date"),
    ("keep_until", {"S": ""}, "keep_until is '', not a date"),
    ("endpoint_created_at", {"S": "then"}, "endpoint_created_at is 'then', not a date"),
    ("endpoint_2_gone_at", {"S": "later"}, "endpoint_2_gone_at is 'later', not a date"),
    *((name, None, f"{name} is missing") for name in REQUIRED),
    *((name, {"N": "7"}, f"{name} is the number 7, not a text") for name in (*TEXTS, *DATES)),
    *((name, {"S": "soon"}, f"{name} is 'soon', not a date") for name in DATES),
]  # fmt: skip


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

    def test_everything_wrong_with_a_run_is_in_the_error(self) -> None:
        table = Table()
        table.rows["RUN#captune-a"] = but(GOOD, state={"S": "open"}, months={"S": "May"})
        with pytest.raises(LedgerDamaged) as damaged:
            quiet_ledger(table).run("captune-a")

        assert str(damaged.value) == (
            "The ledger's item RUN#captune-a cannot be read: state is 'open', neither reserved nor settled; months is 'May', not "
            "months such as 2026-11. Until that is put right it counts as the dearest case; captune ledger shows it."
        )

    @pytest.mark.parametrize("missing", ["actual_cents", "settled_at"])
    def test_a_settled_item_without_its_settlement_is_open(self, missing: str) -> None:
        row = read_row(but(SETTLED, **{missing: None}))
        assert (row.problems, row.is_open) == ((f"{missing} is missing",), True)

    def test_state_cents_and_date_prove_a_settlement(self) -> None:
        item: RunItem = {"state": "settled", "actual_cents": 1, "settled_at": "2026-11-24T18:00:00+00:00"}
        row = RunRow("captune-a", item, ("months is missing",))
        assert (row.is_damaged, row.is_open) == (True, False)
        assert RunRow("captune-a", {}).problems == ()

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
            assert written(NOW.astimezone(timezone(timedelta(hours=9)))) == "2026-11-24T18:00:00+00:00"


@pytest.mark.parametrize(
    ("item", "cents"),
    [
        (GOOD, (0, 600, 600, 0)),
        (SETTLED, (0, 100, 50, 0)),
        (but(GOOD, state={"BOOL": True}), (0, 600, 600, 0)),
        (but(GOOD, reserved_cents=NO_NUMBER), (0, CAP, CAP, 0)),
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
    def test_each_attempt_has_its_own_life(self) -> None:
        item: Any = {
            "endpoint_2_created_at": "2026-11-24T19:00:00+00:00",
            "endpoint_1_created_at": "2026-11-24T18:00:00+00:00",
            "endpoint_1_gone_at": "2026-11-24T18:30:00+00:00",
            "endpoint_1_instance_type": "ml.g5.2xlarge",
            "endpoint_1_instance_count": 2,
            "endpoint_1_failed": 1,
        }
        assert list(endpoint_lives(item).items()) == [
            (1, EndpointLife(NOW, NOW.replace(minute=30), "ml.g5.2xlarge", 2, failed=True)),
            (2, EndpointLife(NOW.replace(hour=19))),
        ]

    @pytest.mark.parametrize(
        ("name", "attempt"), [("captune-a-try3", 3), ("captune-a", 1), (None, 1), ("captune-a-try3-b", 1)]
    )
    @pytest.mark.parametrize("gone", [True, False])
    def test_an_item_of_an_earlier_deployment_has_one_life(self, name: str | None, attempt: int, gone: bool) -> None:
        item: Any = {"endpoint_created_at": "2026-11-24T18:00:00+00:00"}
        item |= {"endpoint_gone_at": "2026-11-24T19:00:00+00:00"} if gone else {}
        item |= {"endpoint_name": name} if name else {}
        assert endpoint_lives(item) == {attempt: EndpointLife(NOW, NOW.replace(hour=19) if gone else None)}

    def test_an_end_without_a_creation_is_no_life(self) -> None:
        assert endpoint_lives({"endpoint_gone_at": "2026-11-24T19:00:00+00:00"}) == {}
