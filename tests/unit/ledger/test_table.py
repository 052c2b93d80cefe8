"""The table that the proof runs on answers like DynamoDB as moto imitates it, result by result and error by error."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.errors import CaptuneError
from common.ledger.ledger import Ledger, Reservation
from proof.simulation.aws.expressions import Malformed, condition, update
from proof.simulation.aws.table import Table
from tests.doubles.moto_table import empty_table, moto_dynamodb

NOW = datetime(2026, 11, 24, tzinfo=UTC)
METADATA = {"ResponseMetadata", "ConsumedCapacity", "ItemCollectionMetrics"}


@pytest.fixture(scope="module")
def account() -> Iterator[Any]:
    with moto_dynamodb() as client:
        yield client


@pytest.fixture
def dynamodb(account: Any) -> Any:
    return empty_table(account)


def told(call: Callable[[], Any]) -> Any:
    """What a call answers or how it is refused, in a form that two implementations can be compared in."""
    try:
        answer = call()
    except ClientError as error:
        reasons = [reason["Code"] for reason in error.response.get("CancellationReasons", [])]
        return error.response["Error"]["Code"], reasons
    except CaptuneError as error:
        return type(error).__name__, str(error)
    if isinstance(answer, dict):
        return {name: value for name, value in answer.items() if name not in METADATA}
    return answer


def rows(client: Any) -> list[dict[str, Any]]:
    pages = client.get_paginator("scan").paginate(TableName="ledger", ConsistentRead=True)
    return sorted((item for page in pages for item in page["Items"]), key=lambda item: item["pk"]["S"])


def some_update(dice: random.Random, pk: str) -> dict[str, Any]:
    number = str(dice.randint(-3, 9))
    expression, condition_text, values, names = dice.choice(
        [
            ("SET c = if_not_exists(c, :z) + :a", "attribute_not_exists(c) OR c <= :r", {":z": "0", ":a": number, ":r": "4"}, {}),
            ("SET c = if_not_exists(c, :z) + :a", None, {":z": "0", ":a": number}, {}),
            ("SET #s = :a, #t = :b", "#s = :e", {":a": number, ":b": "2", ":e": "1"}, {"#s": "s", "#t": "t-u"}),
            ("SET #s = if_not_exists(#s, :a)", "attribute_exists(pk)", {":a": number}, {"#s": "s"}),
            ("SET s = :a", "attribute_exists(s) AND s <= :a OR attribute_not_exists(s)", {":a": number}, {}),
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


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_random_requests_have_the_same_answers_and_leave_the_same_rows(dynamodb: Any, seed: int) -> None:
    dice, table = random.Random(seed), Table()
    for _ in range(100):
        keys = dice.sample("abcdef", dice.randint(1, 3))
        kind = dice.choice(["get", "update", "transact", "transact", "twice"])
        if kind == "get":
            request: dict[str, Any] = {"TableName": "ledger", "Key": {"pk": {"S": keys[0]}}}
            pair = told(lambda: table.get_item(**request)), told(lambda: dynamodb.get_item(**request))  # noqa: B023
        elif kind == "update":
            request = some_update(dice, keys[0])
            pair = told(lambda: table.update_item(**request)), told(lambda: dynamodb.update_item(**request))  # noqa: B023
        else:
            keys = [keys[0], keys[0]] if kind == "twice" else keys
            writes = [
                {"Put": some_put(dice, key)} if dice.random() < 0.3 else {"Update": some_update(dice, key)}
                for key in keys
            ]
            pair = (
                told(lambda: table.transact_write_items(TransactItems=writes)),  # noqa: B023
                told(lambda: dynamodb.transact_write_items(TransactItems=writes)),  # noqa: B023
            )
        assert pair[0] == pair[1]
    assert rows(table) == rows(dynamodb)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_the_ledger_says_the_same_over_both(dynamodb: Any, seed: int) -> None:
    dice = random.Random(seed)
    both = [Ledger(client, "ledger", lambda seconds: None) for client in (Table(), dynamodb)]
    for _ in range(60):
        run, month = f"captune-{dice.choice('abcdefgh')}", dice.choice(["2026-11", "2026-12"])
        months = ("2026-11", "2026-12") if dice.random() < 0.3 else (month,)
        asked = Reservation(
            run,
            dice.choice(["arn:1", "arn:2"]),
            dice.randint(1, 900),
            months,
            {"keep_endpoint_seconds": dice.choice([0, 5])},
        )
        cap, cents, kind = dice.choice([300, 2500, 2500]), dice.randint(0, 900), dice.random()
        answers = []
        for ledger in both:
            if kind < 0.4:
                answers.append(told(lambda: ledger.reserve(asked, cap, NOW)))  # noqa: B023
            elif kind < 0.7:
                answers.append(told(lambda: ledger.settle(run, {month: cents}, {"status": "FAILED"}, NOW)))  # noqa: B023
            elif kind < 0.8:
                answers.append(told(lambda: ledger.note(run, {"seen": cents})))  # noqa: B023
            else:
                answers.append((ledger.committed_cents(month), ledger.run(run)))
        assert answers[0] == answers[1]
    rows = [sorted(str((row.run, row.item)) for row in ledger.rows()) for ledger in both]
    assert rows[0] == rows[1] and rows[0]


def test_a_row_that_is_not_there_is_an_answer_without_item(dynamodb: Any) -> None:
    for client in (Table(), dynamodb):
        assert "Item" not in client.get_item(TableName="ledger", Key={"pk": {"S": "x"}}, ConsistentRead=True)


class TestExpressions:
    def test_or_binds_less_than_and(self) -> None:
        holds = condition("attribute_exists(a) AND attribute_exists(b) OR attribute_exists(c)")

        assert holds({"c": {"N": "1"}}, {}, {})
        assert not holds({"a": {"N": "1"}}, {}, {})

    def test_a_missing_attribute_equals_nothing(self) -> None:
        assert not condition("#s = :v")({}, {"#s": "state"}, {":v": {"S": "reserved"}})

    @pytest.mark.parametrize("text", ["SET a", "SET a = :v extra", "REMOVE a", "SET a = :v, #b = :v"])
    def test_what_dynamodb_refuses_is_refused(self, text: str) -> None:
        with pytest.raises(Malformed):
            update(text)({}, {"#b": "a"}, {":v": {"N": "1"}})

    def test_a_value_that_no_expression_uses_is_refused(self) -> None:
        request = {"Key": {"pk": {"S": "x"}}, "UpdateExpression": "SET a = :v"}
        with pytest.raises(ClientError, match="unused"):
            Table().update_item(**request, ExpressionAttributeValues={":v": {"N": "1"}, ":w": {"N": "1"}})
