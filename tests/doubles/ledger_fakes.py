"""The real ledger: over a table in memory with the runs that a test needs, and over a table that a test edits by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from common.ledger.ledger import Ledger, Reservation
from common.ledger.rows import prices_of
from common.pricing import prices
from tests.doubles.lambda_fakes import NOW, arn
from verification.simulation.services.dynamodb import Table

CAP = 2500
# 341 and 253 cents of instances, and six of small items: six dollars.
DETAILS: dict[str, str | int] = {
    "training_prices": "ml.g5.2xlarge=1.515",
    "hosting_prices": "ml.g5.2xlarge=1.515",
    "price_source": "AWS Price List",
    "training_instances": 1,
    "max_training_seconds": 8100,
    "max_endpoint_seconds": 6000,
    "other_cents": 6,
    "keep_endpoint_seconds": 0,
}


def reservation(run: str, cents: int, *months: str, execution: str = "", **details: Any) -> Reservation:
    """What a run asks for, in November 2026 unless other months are named: so many cents of small items, or what the details come to."""
    in_months = months or ("2026-11",)
    small = {"max_training_seconds": 0, "max_endpoint_seconds": 0, "other_cents": cents - 2 * (len(in_months) - 1)}
    of_run: Any = {**DETAILS, **(details or small), "execution_name": run}
    cents = _parts_cents(of_run, len(in_months))
    return Reservation(f"captune-{run}", arn(execution or run), cents, in_months, of_run)


def _parts_cents(item: Mapping[str, Any], months: int) -> int:
    """What an item's own prices, seconds and small items come to in so many months, in cents."""
    training, hosting = (prices.dearest(prices_of(item, use)) for use in ("Training", "Hosting"))
    instances = training.times(item["training_instances"]).cents(item["max_training_seconds"])
    instances += hosting.cents(item["max_endpoint_seconds"])
    return instances + 2 * (months - 1) + int(item["other_cents"])


def before_a_write(table: Table, act: Callable[[], object]) -> None:
    """Lets somebody act once, between what a caller has read and the transaction that it writes."""

    def pause(operation: str) -> None:
        if operation == "TransactWriteItems":
            table.pause = lambda other: None
            act()

    table.pause = pause


@contextmanager
def clock_of_tokyo() -> Iterator[None]:
    """Sets the machine's own clock nine hours ahead of UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        try:
            yield
        finally:
            patch.undo()
            time.tzset()


def quiet_ledger(table: Any) -> Ledger:
    """A ledger that does not wait between attempts."""
    return Ledger(table, "ledger", lambda seconds: None)


def empty_table(client: Any) -> Any:
    """Makes the table `ledger` anew at DynamoDB and returns its client."""
    if "ledger" in client.list_tables()["TableNames"]:
        client.delete_table(TableName="ledger")
    client.create_table(
        TableName="ledger",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return client


def edit(table: Any, pk: str, name: str, value: dict[str, Any] | None) -> None:
    """Changes one attribute of an item as a person or a script would, without its seal, or removes it."""
    item = table.get_item(TableName="ledger", Key={"pk": {"S": pk}}, ConsistentRead=True)["Item"]
    kept = {key: one for key, one in item.items() if key != name} | ({name: value} if value else {})
    table.transact_write_items(TransactItems=[{"Put": {"TableName": "ledger", "Item": kept}}])


def delete(table: Any, pk: str) -> None:
    """Deletes an item as a person or a script would."""
    if isinstance(table, Table):
        del table.rows[pk]
    else:
        table.delete_item(TableName="ledger", Key={"pk": {"S": pk}})


class OneTable(Table):
    """The table `ledger`: DynamoDB holds many, so each call names it, and each read asks for the newest version."""

    def get_item(self, **request: Any) -> dict[str, Any]:
        assert (request["TableName"], request["ConsistentRead"]) == ("ledger", True)
        return super().get_item(**request)

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        assert (request["TableName"], request["ConsistentRead"]) == ("ledger", True)
        return super().paginate(**request)


class FakeLedger(Ledger):
    """A ledger whose table can be looked at and made to fail."""

    def __init__(self) -> None:
        self.table = OneTable()
        super().__init__(self.table, "ledger", pause=lambda seconds: None)

    def fall_silent(self) -> None:
        """From now on the table answers nothing."""
        self.table.trouble = lambda operation: "throttled"

    def with_run(self, execution_name: str, run: str | None = None, **details: Any) -> FakeLedger:
        """Adds an open reservation: of six dollars, where the details say nothing else."""
        asked = reservation(execution_name, 0, **{**DETAILS, **details})
        self.reserve(replace(asked, run=run or asked.run, execution_arn=arn(execution_name)), 100_000, NOW)
        return self

    def noting(self, run: str, **facts: Any) -> FakeLedger:
        """Writes facts into a run's item, as the ledger does."""
        self.update(run, lambda item: {**item, **facts})
        return self

    def damage(self, pk: str, name: str = "note", value: dict[str, Any] | None = None) -> FakeLedger:
        """Changes one attribute of an item as a person or a script would."""
        edit(self.table, pk, name, value or {"S": "changed"})
        return self

    def settled(self, run: str, moment: Any = NOW) -> FakeLedger:
        """Closes a reservation."""
        parts = {"training_seconds": 600, "endpoint_seconds": 0, "training_cents": 26, "endpoint_cents": 0}
        self.settle(run, {"2026-11": 32}, {**parts, "status": "FAILED"}, moment)
        return self
