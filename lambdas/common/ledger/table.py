"""The calls of the ledger to DynamoDB: typed attributes, transactions made again when they collide, errors that pass named as such."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.errors import ServiceUnreachable

CONFLICT_ATTEMPTS = 12
# A write that was cancelled for one of these said nothing about the money: it is made again.
_PASSING_REASONS = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
# What is left of a service error after botocore's own attempts, when trying again later is right.
_PASSING_ERRORS = {
    "InternalServerError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
    "TransactionInProgressException",
}
# An attribute as DynamoDB holds it, such as {"N": "587"}; a map or a list holds further ones.
Raw = Mapping[str, Any]
RawItem = Mapping[str, Raw]


class Table:
    """The ledger's table. `pause` waits between attempts at a transaction that collided with another one (seconds)."""

    def __init__(self, dynamodb: Any, name: str, pause: Callable[[float], None] = time.sleep) -> None:
        self._dynamodb = dynamodb
        self.name = name
        self._pause = pause

    def read(self, pk: str) -> RawItem | None:
        """The newest version of an item, or None."""
        answer = self._call("get_item", TableName=self.name, Key={"pk": {"S": pk}}, ConsistentRead=True)
        item: RawItem | None = answer.get("Item")
        return item

    def scan(self) -> list[RawItem]:
        """Every item in its newest version. A ledger has a few hundred of them, which is one page or two."""

        def pages() -> list[Any]:
            return list(
                self._dynamodb.get_paginator("scan").paginate(TableName=self.name, ConsistentRead=True),
            )

        return [item for page in _passing(pages) for item in page["Items"]]

    def change(self, pk: str, expression: str, condition: str, values: RawItem, names: Mapping[str, str]) -> bool:
        """Changes one item, and tells whether its condition held."""
        request = self.update(pk, expression, condition, values, names)["Update"]
        try:
            self._call("update_item", **request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def transact(self, writes: list[dict[str, Any]]) -> bool:
        """Writes all or nothing, and tells whether the conditions allowed it. Raises ServiceUnreachable for what passes."""
        for attempt in range(CONFLICT_ATTEMPTS):
            try:
                self._call("transact_write_items", TransactItems=writes)
                return True
            except ClientError as error:
                if error.response["Error"]["Code"] != "TransactionCanceledException":
                    raise
                reasons = {reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])}
                if not reasons & _PASSING_REASONS:
                    if "ConditionalCheckFailed" in reasons:
                        return False
                    raise
            self.pause(attempt)
        raise busy()

    def pause(self, attempt: int) -> None:
        """Waits before the next attempt (0, 1, …): longer each time, at random so that rivals part, two seconds at most."""
        self._pause(random.uniform(0, min(2.0, 0.05 * 2**attempt)))

    def put_new(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """The write of an item that must not exist yet, for a transaction."""
        return {"Put": {"TableName": self.name, "Item": typed(item), "ConditionExpression": "attribute_not_exists(pk)"}}

    def update(
        self, pk: str, expression: str, condition: str | None, values: RawItem, names: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The change of one item, for a transaction."""
        update: dict[str, Any] = {
            "TableName": self.name,
            "Key": {"pk": {"S": pk}},
            "UpdateExpression": expression,
            "ExpressionAttributeValues": dict(values),
        }
        if condition:
            update["ConditionExpression"] = condition
        if names:
            update["ExpressionAttributeNames"] = dict(names)
        return {"Update": update}

    def _call(self, operation: str, **arguments: Any) -> Any:
        return _passing(lambda: getattr(self._dynamodb, operation)(**arguments))


def _passing(call: Callable[[], Any]) -> Any:
    """Calls DynamoDB. Raises ServiceUnreachable for what passes: the write may have happened, and may be repeated."""
    try:
        return call()
    except BotoCoreError as error:
        raise ServiceUnreachable(f"The ledger did not answer: {error}") from error
    except ClientError as error:
        if error.response["Error"]["Code"] in _PASSING_ERRORS:
            raise ServiceUnreachable(f"The ledger did not answer: {error}") from error
        raise


def busy() -> ServiceUnreachable:
    """The error of a call that met other runs in each of its attempts."""
    return ServiceUnreachable("The ledger was busy with other runs in every attempt; the state machine tries again.")


def typed(values: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Values as DynamoDB takes them. The ledger holds whole numbers and texts, and nothing else."""
    return {name: {"N": str(value)} if isinstance(value, int) else {"S": str(value)} for name, value in values.items()}


def assignments(
    values: Mapping[str, str | int], form: str = "{name} = {value}"
) -> tuple[str, dict[str, Raw], dict[str, str]]:
    """The SET clause, the values and the names that write attributes of any name, each in a form."""
    clause = ", ".join(form.format(name=f"#f{i}", value=f":v{i}") for i in range(len(values)))
    numbered: dict[str, str | int] = {f":v{i}": value for i, value in enumerate(values.values())}
    return clause, dict(typed(numbered)), {f"#f{i}": name for i, name in enumerate(values)}
