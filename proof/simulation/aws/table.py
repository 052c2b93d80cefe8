"""A DynamoDB table in memory: exactly the calls of the ledger, atomic under a lock, and troublesome on request.

tests/unit/ledger/test_table.py holds it against another implementation of DynamoDB, result by result and error by error.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError

from proof.simulation.aws.expressions import Item, Malformed, condition, update

# What can happen to a call: nothing; the answer is lost after the call took effect; it is refused before.
CONFLICT, THROTTLED, BROKEN, LOST_ANSWER = "conflict", "throttled", "broken", "lost answer"
Trouble = Callable[[str], str | None]
Change = tuple[str, Item | None, Item]
_PLACEHOLDER = re.compile(r"[:#][A-Za-z_][A-Za-z0-9_]*")


class Table:
    """The table. `trouble(operation)` decides what happens to a call, `pause(operation)` runs before it takes effect,
    `observe(changes)` sees every committed change (key, item before, item after) under the lock."""

    def __init__(
        self,
        trouble: Trouble = lambda operation: None,
        pause: Callable[[str], None] = lambda operation: None,
        observe: Callable[[list[Change]], None] = lambda changes: None,
    ) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.trouble = trouble
        self.pause = pause
        self.observe = observe
        self._lock = threading.Lock()

    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool = False) -> dict[str, Any]:
        """One item, always the newest version."""
        if self._before("GetItem"):
            raise ConnectionClosedError(endpoint_url="dynamodb")
        with self._lock:
            row = self.rows.get(Key["pk"]["S"])
            return {} if row is None else {"Item": dict(row)}

    def update_item(self, **request: Any) -> dict[str, Any]:
        """Changes one item when its condition holds."""
        lost = self._before("UpdateItem")
        with self._lock:
            try:
                change = self._evaluate({"Update": request})
            except Malformed as error:
                raise _error("ValidationException", str(error), "UpdateItem") from None
            if change is None:
                raise _error("ConditionalCheckFailedException", "The conditional request failed", "UpdateItem")
            self._commit([change])
        if lost:
            raise ConnectionClosedError(endpoint_url="dynamodb")
        return {}

    def transact_write_items(self, *, TransactItems: list[dict[str, Any]]) -> dict[str, Any]:
        """Changes several items, all or none."""
        lost = self._before("TransactWriteItems")
        with self._lock:
            try:
                changes = [self._evaluate(write) for write in TransactItems]
                keys = [_key(write) for write in TransactItems]
                if len(set(keys)) != len(keys):
                    raise Malformed("Transaction request cannot include multiple operations on one item")
            except Malformed as error:
                raise _error("ValidationException", str(error), "TransactWriteItems") from None
            if None in changes:
                _cancel(["ConditionalCheckFailed" if change is None else "None" for change in changes])
            self._commit([change for change in changes if change is not None])
        if lost:
            raise ConnectionClosedError(endpoint_url="dynamodb")
        return {}

    def get_paginator(self, operation: str) -> Table:
        """The paginator of `scan`, which is this table itself."""
        if operation != "scan":
            raise ValueError(f"the ledger does not page through {operation}")
        return self

    def paginate(self, *, TableName: str, ConsistentRead: bool = False) -> Iterator[dict[str, Any]]:
        """All items, three on a page."""
        if self._before("Scan"):
            raise ConnectionClosedError(endpoint_url="dynamodb")
        with self._lock:
            rows = [dict(row) for row in self.rows.values()]
        for start in range(0, max(1, len(rows)), 3):
            yield {"Items": rows[start : start + 3]}

    def _before(self, operation: str) -> bool:
        """Lets others go first, then refuses the call if it is to be refused; answers whether its answer will be lost."""
        self.pause(operation)
        kind = self.trouble(operation)
        if kind == THROTTLED:
            raise _error("ProvisionedThroughputExceededException", "Throughput exceeded", operation)
        if kind == BROKEN:
            raise _error("InternalServerError", "Internal server error", operation)
        if kind == CONFLICT and operation == "TransactWriteItems":
            _cancel(["TransactionConflict", "None"])
        return kind == LOST_ANSWER

    def _evaluate(self, write: dict[str, Any]) -> Change | None:
        """What a write would change, or None when its condition does not hold."""
        kind, request = next(iter(write.items()))
        key = _key(write)
        before = self.rows.get(key)
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        texts = request.get("ConditionExpression", "") + " " + request.get("UpdateExpression", "")
        unused = ({*names, *values}) - set(_PLACEHOLDER.findall(texts))
        if unused:
            raise Malformed(f"unused in expressions: {', '.join(sorted(unused))}")
        held = request.get("ConditionExpression")
        if held and not condition(held)(before or {}, names, values):
            return None
        if kind == "Put":
            return key, before, dict(request["Item"])
        return key, before, update(request["UpdateExpression"])(before or dict(request["Key"]), names, values)

    def _commit(self, changes: list[Change]) -> None:
        for key, _, after in changes:
            self.rows[key] = after
        self.observe(changes)


def _key(write: dict[str, Any]) -> str:
    kind, request = next(iter(write.items()))
    return str((request["Item"] if kind == "Put" else request["Key"])["pk"]["S"])


def _error(code: str, message: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


def _cancel(reasons: list[str]) -> None:
    raise ClientError(
        {
            "Error": {
                "Code": "TransactionCanceledException",
                "Message": f"Transaction cancelled, please refer cancellation reasons for specific reasons [{', '.join(reasons)}]",
            },
            "CancellationReasons": [{"Code": reason} for reason in reasons],
        },
        "TransactWriteItems",
    )
