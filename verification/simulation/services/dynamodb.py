"""A DynamoDB table in memory: exactly the calls of the ledger, atomic under a lock, and troublesome on request.

Every test of tests/unit/ledger/test_ledger.py runs over it and over another implementation of DynamoDB.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from botocore.exceptions import ClientError, ConnectionClosedError

from verification.simulation.faults import Fault
from verification.simulation.services import client_error

Value = Mapping[str, str]
Item = dict[str, Value]
# What can happen to a call; a committed change: its key, the item before and the item after.
Trouble = Callable[[str], Fault | None]
Change = tuple[str, Item | None, Item]

# The forms in which the ledger writes a condition, and no others.
_CONDITION = re.compile(r"attribute_not_exists\((?P<missing>\w+)\)|(?P<name>\w+) = (?P<value>:\w+)")


def number(item: Mapping[str, Any], name: str, otherwise: int = 0) -> int:
    """A number of an item, or what stands for one that it does not have."""
    return int(item[name]["N"]) if name in item else otherwise


class Malformed(ValueError):
    """DynamoDB would refuse the request with a ValidationException, or the ledger does not write it."""


def _holds(request: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    """Whether the condition of a write holds for the item that is there; one without any always does."""
    text, values = request.get("ConditionExpression"), request.get("ExpressionAttributeValues", {})
    found = _CONDITION.fullmatch(text or "")
    if text and not found or {found["value"] if found else None} - {None} != set(values):
        raise Malformed(f"the ledger does not write {text} with {values}")
    if found is None:
        return True
    return found["missing"] not in item if found["missing"] else bool(item.get(found["name"]) == values[found["value"]])


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
                raise client_error("ValidationException", str(error), "TransactWriteItems") from None
            if None in changes:
                _cancel(["ConditionalCheckFailed" if change is None else "None" for change in changes])
            self._commit([change for change in changes if change is not None])
        if lost:
            raise ConnectionClosedError(endpoint_url="dynamodb")
        return {}

    def get_paginator(self, operation: str) -> Self:
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
        fault = self.trouble(operation)
        if fault and fault.error == "TransactionConflict":
            if operation == "TransactWriteItems":
                _cancel([fault.error, "None"])
        elif fault and fault.error:
            raise client_error(fault.error, operation=operation)
        return fault is not None and fault.after

    def _evaluate(self, write: dict[str, Any]) -> Change | None:
        """What a write would change, or None when its condition does not hold."""
        request, key = write["Put"], _key(write)
        before = self.rows.get(key)
        return (key, before, dict(request["Item"])) if _holds(request, before or {}) else None

    def _commit(self, changes: list[Change]) -> None:
        for key, _, after in changes:
            self.rows[key] = after
        self.observe(changes)


def _key(write: dict[str, Any]) -> str:
    return str(write["Put"]["Item"]["pk"]["S"])


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
