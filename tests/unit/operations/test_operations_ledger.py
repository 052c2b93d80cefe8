"""`make ledger`: what a person reads of the ledger, whatever is in it."""

from __future__ import annotations

import json
from typing import Any

from common.ledger.ledger import Reservation
from operations import ledger_listing
from tests.doubles.lambda_fakes import NOW
from tests.doubles.ledger_fakes import FakeLedger


class Account:
    """A session of an account with this ledger."""

    def __init__(self, ledger: FakeLedger) -> None:
        self._ledger = ledger

    def client(self, service: str) -> Any:
        return self._ledger.table if service == "dynamodb" else self

    def get_paginator(self, operation: str) -> Account:
        return self

    def paginate(self) -> list[dict[str, Any]]:
        outputs = [{"OutputKey": "LedgerTable", "OutputValue": "ledger"}]
        return [{"Stacks": [{"StackName": "Captune-Storage", "Outputs": outputs}]}]


def lines(ledger: FakeLedger) -> list[str]:
    return ledger_listing.show(Account(ledger), 2500).splitlines()


def test_an_empty_ledger_says_so() -> None:
    assert ledger_listing.show(Account(FakeLedger()), 2500) == "The ledger is empty: nothing was reserved or spent yet."


def test_months_and_runs_are_printed_newest_first() -> None:
    ledger = FakeLedger().with_run("a").settled("captune-a")
    ledger.reserve(Reservation("captune-b", "arn:b", 587, ("2026-11", "2026-12"), {}), 2500, NOW.replace(hour=23))
    ledger.count_start("2026-11", 9)

    printed = lines(ledger)
    assert printed[:2] == [
        "2026-12   committed    $5.87   0 executions looked at",
        "2026-11   committed    $6.19   1 executions looked at",
    ]
    assert printed[2].startswith("Besides, $0.95 of the $25.00 a month are set aside")
    assert [line.split() for line in printed[5:]] == [
        ["captune-b", "reserved", "$5.87", "-", "-", "-"],
        ["captune-a", "settled", "$6.00", "$0.26", "$0.00", "$0.32", "FAILED"],
    ]


def test_a_damaged_item_is_printed_as_such_with_what_to_do_and_hides_no_other() -> None:
    ledger = FakeLedger().with_run("a").with_run("b").with_run("c").settled("captune-c")
    ledger.table.rows["RUN#captune-a"] |= {"reserved_cents": {"N": "6.5"}, "reserved_at": {"BOOL": False}}
    ledger.table.rows["RUN#captune-c"]["status"] = {"NULL": True}

    printed = lines(ledger)
    assert [line.split()[0] for line in printed if line.startswith("captune-")] == ["captune-b"]
    at = printed.index("Items that cannot be read:")
    assert printed[at + 1 : at + 3] == [
        "  RUN#captune-a: reserved_cents is 6.5, not a whole number; reserved_at is of the type BOOL; the ledger holds whole numbers and texts",
        "  RUN#captune-c: status is of the type NULL; the ledger holds whole numbers and texts",
    ]
    assert "dearest case" in printed[at + 3] and "restore the table" in printed[at + 3]
    assert any("may be held by captune-a, captune-c" in line for line in printed)


def test_a_month_that_does_not_agree_with_its_runs_is_pointed_out() -> None:
    ledger = FakeLedger().with_run("a")
    assert not any("add up to" in line for line in lines(ledger))
    ledger.table.rows["MONTH#2026-11"]["committed_cents"] = {"N": "100"}
    assert lines(ledger)[:2] == [
        "2026-11   committed    $6.00   0 executions looked at",
        "          its runs add up to $6.00, and the month's own item says $1.00. The larger counts; the next reservation repairs an item "
        "that says less.",
    ]
    ledger.table.rows["MONTH#2026-11"]["committed_cents"] = {"N": "700"}
    assert "committed    $7.00" in lines(ledger)[0]
    del ledger.table.rows["MONTH#2026-11"]
    assert "committed    $6.00" in lines(ledger)[0]
    assert "has no readable item" in lines(ledger)[1]


def test_as_json_nothing_is_left_out() -> None:
    ledger = FakeLedger().with_run("a").with_run("b").settled("captune-b")
    ledger.count_start("2026-11", 9)
    ledger.table.rows["RUN#captune-a"]["state"] = {"BOOL": True}
    ledger.table.rows["MONTH#2026-11"]["committed_cents"] = {"S": "much"}

    found = {item["pk"]: item for item in json.loads(ledger_listing.show(Account(ledger), 2500, as_json=True))}
    assert found["MONTH#2026-11"] == {
        "pk": "MONTH#2026-11", "committed_cents": None, "runs_cents": 32, "damaged_runs": ["captune-a"],
    }  # fmt: skip
    assert found["STARTS#2026-11"] == {"pk": "STARTS#2026-11", "starts": 1}
    assert found["RUN#captune-a"]["problems"] == ["state is of the type BOOL; the ledger holds whole numbers and texts"]
    assert found["RUN#captune-a"]["reserved_cents"] == 600
    assert found["RUN#captune-b"]["actual_cents"] == 32
    assert "problems" not in found["RUN#captune-b"]
