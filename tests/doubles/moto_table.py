"""One DynamoDB of moto for a whole module of tests: making a client takes longer than a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto import mock_aws


@contextmanager
def moto_dynamodb() -> Iterator[Any]:
    """A client of an empty account."""
    with mock_aws():
        yield boto3.client("dynamodb", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")


def empty_table(client: Any) -> Any:
    """Makes the table `ledger` anew and answers its client."""
    if "ledger" in client.list_tables()["TableNames"]:
        client.delete_table(TableName="ledger")
    client.create_table(
        TableName="ledger",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return client
