"""Every item of the ledger is read by itself: what is odd about one is said in words and hides no other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from common.errors import LedgerDamaged
from common.ledger.ledger import Ledger, Reservation
from common.ledger.rows import EndpointLife, endpoint_lives, read_row, whole_number
from proof.simulation.aws.table import Table
from tests.doubles.moto_table import empty_table, moto_dynamodb

NOW = datetime(2026, 11, 24, 18, tzinfo=UTC)
CAP = 2500

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

# What is written over a good item, and what is said about it. None takes the attribute away.
ODD: list[tuple[str, dict[str, Any] | None, str]] = [
    ("state", {"BOOL": True}, "state is of the type BOOL"),
    ("seen_by", {"NULL": True}, "seen_by is of the type NULL"),
    ("note", {"M": {"a": {"S": "b"}}}, "note is of the type M"),
    ("months", {"L": [{"S": "2026-11"}]}, "months is of the type L"),
    ("tags", {"SS": ["a"]}, "tags is of the type SS"),
    ("reserved_cents", {"N": "600.5"}, "reserved_cents is 600.5, not a whole number"),
    ("reserved_cents", {"N": "-1"}, "reserved_cents is -1, below zero"),
    ("reserved_cents", {"S": "600"}, "reserved_cents is the text '600', not a number"),
    ("max_endpoint_seconds", {"S": "long"}, "max_endpoint_seconds is the text 'long', not a number"),
    ("actual_cents_2026-11", {"S": "9"}, "actual_cents_2026-11 is the text '9', not a number"),
    ("endpoint_1_instance_count", {"S": "1"}, "endpoint_1_instance_count is the text '1', not a number"),
    ("state", None, "state is missing"),
    ("state", {"S": "open"}, "state is 'open', neither reserved nor settled"),
    ("state", {"N": "1"}, "state is the number 1, not a text"),
    ("execution_arn", None, "execution_arn is missing"),
    ("reserved_cents", None, "reserved_cents is missing"),
    ("months", None, "months is missing"),
    ("months", {"S": "November"}, "months is 'November', not months such as 2026-11"),
    ("months", {"S": "2026-11,2026-13"}, "months is '2026-11,2026-13', not months such as 2026-11"),
    ("reserved_at", None, "reserved_at is missing"),
    ("reserved_at", {"S": "yesterday"}, "reserved_at is 'yesterday', not a date"),
    ("reserved_at", {"N": "20261124"}, "reserved_at is the number 20261124, not a text"),
    ("ends_by", {"S": "soon"}, "ends_by is 'soon', not a date"),
    ("keep_until", {"S": ""}, "keep_until is '', not a date"),
    ("endpoint_created_at", {"S": "then"}, "endpoint_created_at is 'then', not a date"),
    ("endpoint_2_gone_at", {"S": "later"}, "endpoint_2_gone_at is 'later', not a date"),
]  # fmt: skip


@pytest.fixture(scope="module")
def account() -> Iterator[Any]:
    with moto_dynamodb() as client:
        yield client


def but(item: dict[str, Any], name: str, value: dict[str, Any] | None) -> dict[str, Any]:
    return {k: v for k, v in item.items() if k != name} | ({} if value is None else {name: value})


def test_a_good_item_is_read_with_its_types() -> None:
    row = read_row(GOOD)
    assert (row.run, row.problems, row.is_damaged, row.is_open) == ("captune-a", (), False, True)
    assert row.item["reserved_cents"] == 600
    assert row.item["months"] == "2026-11,2026-12"
    settled = read_row(SETTLED)
    assert (settled.is_damaged, settled.is_open) == (False, False)


@pytest.mark.parametrize(("name", "value", "problem"), ODD)
def test_what_is_odd_is_said_in_words(name: str, value: dict[str, Any] | None, problem: str) -> None:
    row = read_row(but(GOOD, name, value))
    assert row.is_damaged
    assert row.is_open
    assert len(row.problems) == 1
    assert row.problems[0].startswith(problem)
    assert row.run == "captune-a"
    assert name not in row.item
    assert len(row.item) == len(but(GOOD, name, None))


@pytest.mark.parametrize(("name", "value", "problem"), ODD)
def test_one_odd_item_blinds_nobody(account: Any, name: str, value: dict[str, Any] | None, problem: str) -> None:
    table = empty_table(account)
    ledger = Ledger(table, "ledger", lambda seconds: None)
    ledger.reserve(Reservation("captune-b", "arn:b", 100, ("2026-11",), {}), CAP, NOW)
    table.put_item(TableName="ledger", Item=but(GOOD, name, value))

    rows = {row.run: row for row in ledger.rows()}
    assert rows["captune-b"].problems == ()
    assert rows["captune-b"].item["reserved_cents"] == 100
    assert rows["captune-a"].problems[0].startswith(problem)
    assert ledger.run("captune-b") == rows["captune-b"].item
    with pytest.raises(LedgerDamaged, match=r"RUN#captune-a cannot be read: .*make ledger"):
        ledger.run("captune-a")


@pytest.mark.parametrize("missing", ["actual_cents", "settled_at"])
def test_a_settled_item_without_its_settlement_is_open(missing: str) -> None:
    row = read_row(but(SETTLED, missing, None))
    assert (row.problems, row.is_open) == ((f"{missing} is missing",), True)


def test_a_damaged_item_that_is_provably_settled_is_not_open() -> None:
    row = read_row(but(SETTLED, "status", {"BOOL": True}))
    assert (row.is_damaged, row.is_open) == (True, False)


def test_a_number_that_is_whole_is_read_however_it_is_written() -> None:
    assert [whole_number({"N": text}) for text in ("5", "5.0", "5E+2", "-3")] == [5, 5, 500, -3]
    assert [whole_number(value) for value in (None, {"S": "5"}, {"N": "5.5"}, {"N": "NaN"}, {"N": "x"}, {"N": None})] == [
        None
    ] * 6  # fmt: skip


class TestWhatARunHoldsOfAMonth:
    def test_an_open_run_holds_its_reservation_in_each_of_its_months(self) -> None:
        row = read_row(GOOD)
        assert [row.cents_in(month, CAP) for month in ("2026-10", "2026-11", "2026-12", "2027-01")] == [0, 600, 600, 0]

    def test_a_settled_run_holds_what_it_did_cost(self) -> None:
        row = read_row(SETTLED)
        assert [row.cents_in(month, CAP) for month in ("2026-11", "2026-12", "2027-01")] == [100, 50, 0]

    def test_a_damaged_item_holds_its_reservation_where_that_can_be_read(self) -> None:
        row = read_row(but(GOOD, "state", {"BOOL": True}))
        assert [row.cents_in(month, CAP) for month in ("2026-10", "2026-11", "2026-12")] == [0, 600, 600]

    def test_and_the_whole_cap_where_it_cannot(self) -> None:
        row = read_row(but(GOOD, "reserved_cents", {"N": "1.5"}))
        assert [row.cents_in(month, CAP) for month in ("2026-10", "2026-11")] == [0, CAP]

    def test_without_its_months_it_holds_every_month_from_its_reservation_on(self) -> None:
        row = read_row(but(GOOD, "months", None))
        assert [row.cents_in(month, CAP) for month in ("2026-10", "2026-11", "2027-03")] == [0, 600, 600]

    def test_without_any_date_it_holds_every_month(self) -> None:
        row = read_row(but(but(GOOD, "months", None), "reserved_at", None))
        assert [row.cents_in(month, CAP) for month in ("2020-01", "2027-03")] == [600, 600]

    def test_a_damaged_item_that_is_settled_holds_its_settlement_where_that_adds_up(self) -> None:
        row = read_row(but(SETTLED, "status", {"BOOL": True}))
        assert [row.cents_in(month, CAP) for month in ("2026-11", "2026-12", "2027-01")] == [100, 50, 0]

    def test_and_its_reservation_where_it_does_not(self) -> None:
        row = read_row(but(SETTLED, "actual_cents_2026-12", {"BOOL": True}))
        assert [row.cents_in(month, CAP) for month in ("2026-11", "2026-12", "2027-01")] == [600, 600, 0]

    def test_what_was_booked_beyond_the_reservation_counts_too(self) -> None:
        row = read_row(but(SETTLED, "state", None) | {"actual_cents_2026-11": {"N": "700"}})
        assert [row.cents_in(month, CAP) for month in ("2026-11", "2026-12")] == [700, 600]


class TestTheLivesOfEndpoints:
    def test_each_attempt_has_its_own(self) -> None:
        item: Any = {
            "endpoint_2_created_at": "2026-11-24T19:00:00+00:00",
            "endpoint_1_created_at": "2026-11-24T18:00:00+00:00",
            "endpoint_1_gone_at": "2026-11-24T18:30:00+00:00",
            "endpoint_1_instance_type": "ml.g5.2xlarge",
            "endpoint_1_instance_count": 2,
            "endpoint_1_failed": 1,
        }
        assert endpoint_lives(item) == {
            1: EndpointLife(NOW, NOW.replace(minute=30), "ml.g5.2xlarge", 2, failed=True),
            2: EndpointLife(NOW.replace(hour=19)),
        }
        assert list(endpoint_lives(item)) == [1, 2]

    @pytest.mark.parametrize(
        ("name", "attempt"), [("captune-a-try3", 3), ("captune-a", 1), (None, 1), ("captune-a-try3-b", 1)]
    )
    def test_an_item_of_an_earlier_deployment_tells_of_one(self, name: str | None, attempt: int) -> None:
        item: Any = {
            "endpoint_created_at": "2026-11-24T18:00:00+00:00",
            "endpoint_gone_at": "2026-11-24T19:00:00+00:00",
        }
        assert endpoint_lives(item | ({"endpoint_name": name} if name else {})) == {
            attempt: EndpointLife(NOW, NOW.replace(hour=19))
        }

    def test_one_that_nobody_saw_is_none(self) -> None:
        assert endpoint_lives({"endpoint_gone_at": "2026-11-24T19:00:00+00:00"}) == {}


@pytest.fixture(params=["moto", "the proof's table"])
def ledger(request: pytest.FixtureRequest, account: Any) -> Ledger:
    ledger = Ledger(empty_table(account) if request.param == "moto" else Table(), "ledger", lambda seconds: None)
    ledger.reserve(Reservation("captune-a", "arn:a", 600, ("2026-11",), {}), CAP, NOW)
    return ledger


class TestNotingEndpoints:
    def test_two_endpoints_of_a_run_are_both_kept(self, ledger: Ledger) -> None:
        ledger.note_endpoint("captune-a", 1, NOW, NOW.replace(minute=10), failed=True)
        ledger.note_endpoint("captune-a", 2, NOW.replace(hour=19), instance_type="ml.g5.2xlarge", instance_count=1)

        assert endpoint_lives(ledger.run("captune-a") or {}) == {
            1: EndpointLife(NOW, NOW.replace(minute=10), failed=True),
            2: EndpointLife(NOW.replace(hour=19), None, "ml.g5.2xlarge", 1),
        }

    def test_the_earliest_creation_and_the_first_end_stay(self, ledger: Ledger) -> None:
        ledger.note_endpoint("captune-a", 1, NOW.replace(hour=19), "2026-11-24T20:00:00Z")
        ledger.note_endpoint("captune-a", 1, NOW, "2026-11-24T21:00:00Z")
        ledger.note_endpoint("captune-a", 1, NOW.replace(hour=20))

        assert endpoint_lives(ledger.run("captune-a") or {}) == {1: EndpointLife(NOW, NOW.replace(hour=20))}

    def test_moments_of_another_zone_are_compared_as_moments(self, ledger: Ledger) -> None:
        ledger.note_endpoint("captune-a", 1, NOW)
        ledger.note_endpoint("captune-a", 1, "2026-11-24T18:59:59+01:00")

        item: Any = ledger.run("captune-a")
        assert item["endpoint_1_created_at"] == "2026-11-24T17:59:59+00:00"

    def test_a_run_that_the_ledger_does_not_know_is_left_unknown(self, ledger: Ledger) -> None:
        ledger.note_endpoint("captune-b", 1, NOW, NOW, failed=True)

        assert ledger.run("captune-b") is None
