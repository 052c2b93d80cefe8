"""The calls of the ledger to DynamoDB: items that are put whole, transactions made again when they collide, errors that pass named as such."""

import random
from collections.abc import Callable, Iterable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.errors import ServiceUnreachable
from common.ledger.seal import SEAL, Item, RawItem, sealed
from common.outside import sleep

CONFLICT_ATTEMPTS = 12
# A write that was cancelled for one of these said nothing about the money: it is made again.
_PASSING_REASONS = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
# What is left of a service error after botocore's own attempts, when trying again later is right.
_PASSING_ERRORS = {
    "InternalServerError", "ProvisionedThroughputExceededException", "RequestLimitExceeded", "ServiceUnavailable",
    "ThrottlingException", "TransactionInProgressException",
}  # fmt: skip
# An item that is to be written, and the one in whose place it is put; None where there was none.
Replacement = tuple[Item, RawItem | None]


class Table:
    """The ledger's table. `pause` waits between attempts at a transaction that collided with another one (seconds)."""

    def __init__(self, dynamodb: Any, name: str, pause: Callable[[float], None] = sleep) -> None:
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
            return list(self._dynamodb.get_paginator("scan").paginate(TableName=self.name, ConsistentRead=True))

        return [item for page in _passing(pages) for item in page["Items"]]

    def replace(self, items: Iterable[Replacement]) -> bool:
        """Puts items whole in the place of those that were read, all or none: nothing where one has changed since. Answers whether they
        were put. Raises ServiceUnreachable for what passes."""
        writes = [self.put(item, as_read) for item, as_read in items]
        for attempt in range(CONFLICT_ATTEMPTS):
            try:
                self._call("transact_write_items", TransactItems=writes)
                return True
            except ClientError as error:
                if error.response["Error"]["Code"] != "TransactionCanceledException":
                    raise
                reasons = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
                if not reasons & _PASSING_REASONS:
                    if "ConditionalCheckFailed" in reasons:
                        return False
                    raise
            self.pause(attempt)
        raise busy()

    def put(self, item: Item, as_read: RawItem | None) -> dict[str, Any]:
        """The write of an item, for a transaction. It holds while the seal is the one that was read."""
        write: dict[str, Any] = {"TableName": self.name, "Item": sealed(item)}
        if as_read is None:
            return {"Put": {**write, "ConditionExpression": "attribute_not_exists(pk)"}}
        if SEAL not in as_read:
            return {"Put": {**write, "ConditionExpression": f"attribute_not_exists({SEAL})"}}
        values = {":seal": as_read[SEAL]}
        return {"Put": {**write, "ConditionExpression": f"{SEAL} = :seal", "ExpressionAttributeValues": values}}

    def pause(self, attempt: int) -> None:
        """Waits before the next attempt (0, 1, …): longer each time, at random so that rivals part, two seconds at most."""
        self._pause(random.uniform(0, min(2.0, 0.05 * 2**attempt)))

    def _call(self, operation: str, **arguments: Any) -> Any:
        return _passing(lambda: getattr(self._dynamodb, operation)(**arguments))


def _passing(call: Callable[[], Any]) -> Any:
    """Calls DynamoDB. Raises ServiceUnreachable for what passes: the write may have happened, and may be repeated."""
    try:
        return call()
    except BotoCoreError as error:
        raise ServiceUnreachable(f"The ledger did not answer: {error}. Try again in a minute.") from error
    except ClientError as error:
        if error.response["Error"]["Code"] in _PASSING_ERRORS:
            raise ServiceUnreachable(f"The ledger did not answer: {error}. Try again in a minute.") from error
        raise


def busy() -> ServiceUnreachable:
    """The error of a call that met other runs in each of its attempts."""
    return ServiceUnreachable("The ledger was busy with other runs in every attempt. Try again in a minute.")
