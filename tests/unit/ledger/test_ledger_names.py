"""The names in the ledger that nobody may change: attributes of existing tables, and the codes of DynamoDB."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import ServiceUnreachable
from common.ledger import keys
from common.ledger.ledger import Ledger, Reservation
from common.ledger.rows import RunItem, RunRow, cents_by_month, read_row
from proof.simulation.aws.table import Table
from tests.doubles.lambda_fakes import NOW, refusal

RESERVED = {
    "pk": {"S": "RUN#captune-a"},
    "state": {"S": "reserved"},
    "execution_arn": {"S": "arn:a"},
    "reserved_cents": {"N": "600"},
    "months": {"S": "2026-11"},
    "reserved_at": {"S": "2026-11-24T18:00:00+00:00"},
}

KEYS = ("RUN#captune-a", "MONTH#2026-11", "STARTS#2026-11", "XRUN#")


def test_the_keys_of_a_table_that_exists_stay() -> None:
    assert (keys.of_run("captune-a"), keys.of_month("2026-11")) == ("RUN#captune-a", "MONTH#2026-11")
    assert keys.of_starts("2026-11") == "STARTS#2026-11"


def test_a_key_tells_whose_item_it_is_and_no_other_one_does() -> None:
    found = {key: (keys.run_in(key), keys.month_in(key), keys.starts_in(key)) for key in KEYS}
    assert found == {
        "RUN#captune-a": ("captune-a", None, None),
        "MONTH#2026-11": (None, "2026-11", None),
        "STARTS#2026-11": (None, None, "2026-11"),
        "XRUN#": (None, None, None),
    }


@pytest.mark.parametrize(
    "name",
    ["state", "execution_arn", "execution_name", "months", "status", "price_source", "training_prices", "hosting_prices",
     "reserved_at", "settled_at", "ends_by", "keep_until"],
)  # fmt: skip
def test_a_number_in_the_place_of_a_text_is_a_problem(name: str) -> None:
    assert f"{name} is the number 7, not a text" in read_row(RESERVED | {name: {"N": "7"}}).problems


@pytest.mark.parametrize("name", ["reserved_at", "settled_at", "ends_by", "keep_until"])
def test_a_text_in_the_place_of_a_date_is_a_problem(name: str) -> None:
    assert f"{name} is 'soon', not a date" in read_row(RESERVED | {name: {"S": "soon"}}).problems


def test_a_row_bears_the_name_of_its_run_and_an_empty_one_where_that_cannot_be_read() -> None:
    assert read_row(RESERVED).run == "captune-a"
    assert read_row({name: value for name, value in RESERVED.items() if name != "pk"}).run == ""


def test_what_was_booked_is_told_by_month_and_nothing_else_is() -> None:
    item = {"actual_cents": 150, "actual_cents_2026-11": 100, "actual_cents_2026-12": 50, "training_cents": 7}
    assert cents_by_month(item) == {"2026-11": 100, "2026-12": 50}


def test_an_item_has_no_problems_until_one_is_found() -> None:
    assert RunRow("captune-a", {}).problems == ()


def test_a_settlement_is_proved_by_its_state_its_cents_and_its_moment_alone() -> None:
    item: RunItem = {"state": "settled", "actual_cents": 1, "settled_at": "2026-11-24T18:00:00+00:00"}
    assert not RunRow("captune-a", item, ("months is missing",)).is_open


@pytest.mark.parametrize(
    "code",
    ["InternalServerError", "ProvisionedThroughputExceededException", "RequestLimitExceeded", "ServiceUnavailable",
     "ThrottlingException", "TransactionInProgressException"],
)  # fmt: skip
def test_an_error_of_dynamodb_that_passes_is_one_to_try_again(code: str) -> None:
    class Troubled(Table):
        def get_item(self, **request: Any) -> dict[str, Any]:
            raise refusal(code)

    with pytest.raises(ServiceUnreachable):
        Ledger(Troubled(), "ledger", lambda seconds: None).run("captune-a")


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_transaction_that_was_cancelled_for_what_passes_is_made_again(code: str) -> None:
    class Troubled(Table):
        def transact_write_items(self, **request: Any) -> dict[str, Any]:
            error = refusal("TransactionCanceledException")
            error.response["CancellationReasons"] = [{"Code": "None"}, {"Code": code}]
            raise error

    reservation = Reservation("captune-a", "arn:a", 600, ("2026-11",), {})
    with pytest.raises(ServiceUnreachable):
        Ledger(Troubled(), "ledger", lambda seconds: None).reserve(reservation, 2500, NOW)
