"""The simulation's table answers like DynamoDB as moto imitates it, result by result and error by error."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.doubles.ledger_tables import empty_table, moto_dynamodb
from verification.simulation.services.dynamodb import Table

ADD, EARLIER = "SET c = if_not_exists(c, :z) + :a", "attribute_exists(pk) AND attribute_not_exists(#s) OR #s > :a"
METADATA = {"ResponseMetadata", "ConsumedCapacity", "ItemCollectionMetrics"}


@pytest.fixture(scope="module")
def account() -> Iterator[Any]:
    with moto_dynamodb() as client:
        yield client


@pytest.fixture
def dynamodb(account: Any) -> Any:
    return empty_table(account)


def outcome(client: Any, operation: str, request: dict[str, Any]) -> Any:
    """What a call returns or how it is refused, in a form that two implementations can be compared in."""
    try:
        answer = getattr(client, operation)(**request)
    except ClientError as error:
        reasons = [reason["Code"] for reason in error.response.get("CancellationReasons", [])]
        return error.response["Error"]["Code"], reasons
    return {name: value for name, value in answer.items() if name not in METADATA}


def rows(client: Any) -> list[dict[str, Any]]:
    pages = client.get_paginator("scan").paginate(TableName="ledger", ConsistentRead=True)
    return sorted((item for page in pages for item in page["Items"]), key=lambda item: item["pk"]["S"])


def some_update(dice: random.Random, pk: str) -> dict[str, Any]:
    number = str(dice.randint(-3, 9))
    expression, condition_text, values, names = dice.choice(
        [
            (ADD, "attribute_not_exists(c) OR c <= :r", {":z": "0", ":a": number, ":r": "4"}, {}),
            (ADD, None, {":z": "0", ":a": number}, {}),
            ("SET #s = :a, #t = :b", "#s = :e", {":a": number, ":b": "2", ":e": "1"}, {"#s": "s", "#t": "t-u"}),
            ("SET #s = if_not_exists(#s, :a)", "attribute_exists(pk)", {":a": number}, {"#s": "s"}),
            ("SET s = :a", "attribute_exists(s) AND s <= :a OR attribute_not_exists(s)", {":a": number}, {}),
            ("SET #s = :a", EARLIER, {":a": number}, {"#s": "s"}),
        ]
    )  # fmt: skip
    request: dict[str, Any] = {
        "TableName": "ledger",
        "Key": {"pk": {"S": pk}},
        "UpdateExpression": expression,
        "ExpressionAttributeValues": {name: {"N": value} for name, value in values.items()},
    }
    if names:
        request["ExpressionAttributeNames"] = names
    if condition_text:
        request["ConditionExpression"] = condition_text
    return request


def some_put(dice: random.Random, pk: str) -> dict[str, Any]:
    item = {"pk": {"S": pk}, "s": {"N": str(dice.randint(0, 2))}}
    return {"TableName": "ledger", "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}


def some_request(dice: random.Random) -> tuple[str, dict[str, Any]]:
    """An operation of DynamoDB and what it is called with."""
    keys = dice.sample("abcdef", dice.randint(1, 3))
    kind = dice.choice(["get", "update", "transact", "transact", "twice"])
    if kind == "get":
        return "get_item", {"TableName": "ledger", "Key": {"pk": {"S": keys[0]}}}
    if kind == "update":
        return "update_item", some_update(dice, keys[0])
    keys = [keys[0], keys[0]] if kind == "twice" else keys
    writes = [
        {"Put": some_put(dice, key)} if dice.random() < 0.3 else {"Update": some_update(dice, key)} for key in keys
    ]
    return "transact_write_items", {"TransactItems": writes}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_random_requests_have_the_same_answers_and_leave_the_same_rows(dynamodb: Any, seed: int) -> None:
    dice, table = random.Random(seed), Table()
    for _ in range(100):
        operation, request = some_request(dice)
        assert outcome(table, operation, request) == outcome(dynamodb, operation, request)
    assert rows(table) == rows(dynamodb)
