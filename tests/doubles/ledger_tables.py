"""What the tests of the ledger share: moto's table, edits by hand, and reservations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import boto3
from moto import mock_aws

from common.ledger.ledger import Ledger, Reservation
from verification.simulation.services.dynamodb import Table

NOW = datetime(2026, 11, 24, 18, tzinfo=UTC)
CAP = 2500


@contextmanager
def moto_dynamodb() -> Iterator[Any]:
    """A client of an empty account, for a whole module: making one takes longer than a test."""
    with mock_aws():
        yield boto3.client("dynamodb", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")


def empty_table(client: Any) -> Any:
    """Makes the table `ledger` anew and returns its client."""
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
    """Changes one attribute of an item as a person or a script would, or removes it."""
    item = {**table.get_item(TableName="ledger", Key={"pk": {"S": pk}})["Item"]}
    item.pop(name, None)
    item |= {name: value} if value else {}
    if isinstance(table, Table):
        table.rows[pk] = item
    else:
        table.put_item(TableName="ledger", Item=item)


def delete(table: Any, pk: str) -> None:
    """Deletes an item as a person or a script would."""
    if isinstance(table, Table):
        del table.rows[pk]
    else:
        table.delete_item(TableName="ledger", Key={"pk": {"S": pk}})


def quiet_ledger(table: Any) -> Ledger:
    """A ledger that does not wait between attempts."""
    return Ledger(table, "ledger", lambda seconds: None)


def reservation(run: str, cents: int, *months: str, arn: str = "") -> Reservation:
    """A run's reservation, in November 2026 unless other months are named."""
    return Reservation(f"captune-{run}", arn or f"arn:{run}", cents, months or ("2026-11",), {"execution_name": run})
