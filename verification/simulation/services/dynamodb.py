"""A DynamoDB table in memory: exactly the calls of the ledger, atomic under a lock, and troublesome on request.

Every test of tests/unit/ledger/test_ledger.py runs over it and over another implementation of DynamoDB.
"""

from __future__ import annotations

import operator
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError

from verification.simulation.services import client_error
from verification.simulation.world import BROKEN, CONFLICT, LOST_ANSWER, THROTTLED

Value = Mapping[str, str]
Item = dict[str, Value]
Names = Mapping[str, str]
Values = Mapping[str, Value]
# What can happen to a call; a committed change: its key, the item before and the item after.
Trouble = Callable[[str], str | None]
Change = tuple[str, Item | None, Item]
PLACEHOLDER = re.compile(r"[:#][A-Za-z_][A-Za-z0-9_]*")

# The forms in which the ledger writes a term of a condition and an assignment, and no others.
_TERM = re.compile(r"attribute_(?P<not>not_)?exists\((?P<path>#?\w+)\)|(?P<name>#?\w+) (?P<sign>[=<>]) (?P<value>:\w+)")
_ASSIGNMENT = re.compile(
    r"(?P<target>#?\w+) = (?:if_not_exists\((?P<kept>#?\w+), )?(?P<value>:\w+)(?(kept)\))(?: \+ (?P<more>:\w+))?"
)
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {"=": operator.eq, "<": operator.lt, ">": operator.gt}


def number(item: Mapping[str, Any], name: str, otherwise: int = 0) -> int:
    """A number of an item, or what stands for one that it does not have."""
    return int(item[name]["N"]) if name in item else otherwise


class Malformed(ValueError):
    """DynamoDB would refuse the request with a ValidationException, or the ledger does not write it."""


@cache
def _condition(text: str) -> list[list[re.Match[str]]]:
    """The terms of a ConditionExpression: one group of them has to hold, and in it each term."""
    return [[_read(_TERM, term) for term in group.split(" AND ")] for group in text.split(" OR ")]


@cache
def _assignments(text: str) -> list[re.Match[str]]:
    """The assignments of an UpdateExpression of one SET clause."""
    if not text.startswith("SET "):
        raise Malformed(f"the ledger does not write {text}")
    # A comma parts two assignments, but not inside if_not_exists.
    return [_read(_ASSIGNMENT, one) for one in re.split(r", (?!:)", text.removeprefix("SET "))]


def _read(form: re.Pattern[str], text: str) -> re.Match[str]:
    found = form.fullmatch(text)
    if found is None:
        raise Malformed(f"the ledger does not write {text}")
    return found


def _holds(term: re.Match[str], item: Item, names: Names, values: Values) -> bool:
    if term["path"]:
        return (_given(term["path"], names) in item) != bool(term["not"])
    theirs: Value = _given(term["value"], values)
    ours = item.get(_given(term["name"], names))
    if ours is None or ours.keys() != theirs.keys():
        return False
    ((kind, left),) = ours.items()
    if kind == "N":
        return _COMPARE[term["sign"]](Decimal(left), Decimal(theirs["N"]))
    if term["sign"] == "=":
        return ours == theirs
    return kind == "S" and _COMPARE[term["sign"]](left, theirs["S"])


def _updated(text: str, item: Item, names: Names, values: Values) -> Item:
    """The item after an UpdateExpression, whose assignments all see it as it was before."""
    found = {_given(one["target"], names): _assigned(one, item, names, values) for one in _assignments(text)}
    if len(found) != len(_assignments(text)):
        raise Malformed("two document paths overlap")
    return item | found


def _assigned(assignment: re.Match[str], item: Item, names: Names, values: Values) -> Value:
    value: Value = _given(assignment["value"], values)
    if assignment["kept"]:
        value = item.get(_given(assignment["kept"], names), value)
    if not assignment["more"]:
        return value
    more = _given(assignment["more"], values)
    if "N" not in value or "N" not in more:
        raise Malformed("only numbers can be added")
    return {"N": str(int(value["N"]) + int(more["N"]))}


def _given(word: str, given: Mapping[str, Any]) -> Any:
    """What a request gives for a placeholder; an attribute's own name stands for itself."""
    if word[0] not in ":#":
        return word
    if word not in given:
        raise Malformed(f"{word} is not among the names or values")
    return given[word]


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
                raise client_error("ValidationException", str(error), "UpdateItem") from None
            if change is None:
                raise client_error("ConditionalCheckFailedException", "The conditional request failed", "UpdateItem")
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
                raise client_error("ValidationException", str(error), "TransactWriteItems") from None
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
            raise client_error("ProvisionedThroughputExceededException", "Throughput exceeded", operation)
        if kind == BROKEN:
            raise client_error("InternalServerError", "Internal server error", operation)
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
        unused = ({*names, *values}) - set(PLACEHOLDER.findall(texts))
        if unused:
            raise Malformed(f"unused in expressions: {', '.join(sorted(unused))}")
        held = request.get("ConditionExpression")
        groups = _condition(held) if held else [[]]
        if not any(all(_holds(term, before or {}, names, values) for term in group) for group in groups):
            return None
        if kind == "Put":
            return key, before, dict(request["Item"])
        return key, before, _updated(request["UpdateExpression"], before or dict(request["Key"]), names, values)

    def _commit(self, changes: list[Change]) -> None:
        for key, _, after in changes:
            self.rows[key] = after
        self.observe(changes)


def _key(write: dict[str, Any]) -> str:
    kind, request = next(iter(write.items()))
    return str((request["Item"] if kind == "Put" else request["Key"])["pk"]["S"])


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
