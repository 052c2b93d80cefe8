"""A DynamoDB table in memory: exactly the calls of the ledger, atomic under a lock, and troublesome on request.

Every test of tests/unit/ledger/test_ledger.py runs over it and over another implementation of DynamoDB.
"""

from __future__ import annotations

import operator
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
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
Condition = Callable[[Item, Names, Values], bool]
Operand = Callable[[Item, Names, Values], Value]
Update = Callable[[Item, Names, Values], Item]
# What can happen to a call; a committed change: its key, the item before and the item after.
Trouble = Callable[[str], str | None]
Change = tuple[str, Item | None, Item]
PLACEHOLDER = re.compile(r"[:#][A-Za-z_][A-Za-z0-9_]*")

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<=": operator.le,
    "<": operator.lt,
    ">": operator.gt,
}
_TOKEN = re.compile(r"\s*(<=|>=|<>|[()=<>,+-]|[:#]?[A-Za-z_][A-Za-z0-9_]*)")


def number(item: Mapping[str, Any], name: str, otherwise: int = 0) -> int:
    """A number of an item, or what stands for one that it does not have."""
    return int(item[name]["N"]) if name in item else otherwise


class Malformed(ValueError):
    """DynamoDB would refuse the request with a ValidationException."""


class _Tokens:
    """The words of one expression, read from left to right."""

    def __init__(self, text: str) -> None:
        self._words: list[str] = []
        at = 0
        while at < len(text.rstrip()):
            found = _TOKEN.match(text, at)
            if found is None:
                raise Malformed(f"no token at {text[at:]!r}")
            self._words.append(found.group(1))
            at = found.end()

    def peek(self) -> str:
        return self._words[0] if self._words else ""

    def take(self, expected: str | None = None) -> str:
        word = self._words.pop(0) if self._words else ""
        if not word or (expected is not None and word != expected):
            raise Malformed(f"expected {expected or 'a word'}, found {word!r}")
        return word


@cache
def condition(text: str) -> Condition:
    """Compiles a ConditionExpression: AND, OR, comparisons, attribute_exists and attribute_not_exists."""
    tokens = _Tokens(text)
    compiled = _joined(tokens, "OR", any, lambda tokens: _joined(tokens, "AND", all, _comparison))
    if tokens.peek():
        raise Malformed(f"{tokens.peek()!r} is left over")
    return compiled


@cache
def update(text: str) -> Update:
    """Compiles an UpdateExpression of one SET clause. All operands see the item as it was before."""
    tokens = _Tokens(text)
    tokens.take("SET")
    targets = []
    while True:
        name = tokens.take()
        tokens.take("=")
        targets.append((name, _sum(tokens)))
        if not tokens.peek():
            break
        tokens.take(",")

    def apply(item: Item, names: Names, values: Values) -> Item:
        resolved = [_name(name, names) for name, _ in targets]
        if len(set(resolved)) != len(resolved):
            raise Malformed("two document paths overlap")
        return item | dict(zip(resolved, (operand(item, names, values) for _, operand in targets), strict=True))

    return apply


def _joined(
    tokens: _Tokens, word: str, holds: Callable[[Iterable[bool]], bool], read: Callable[[_Tokens], Condition]
) -> Condition:
    """What `read` reads once, and again after each `word`."""
    parts = [read(tokens)]
    while tokens.peek() == word:
        tokens.take()
        parts.append(read(tokens))
    return lambda item, names, values: holds(part(item, names, values) for part in parts)


def _comparison(tokens: _Tokens) -> Condition:
    word = tokens.take()
    if word in {"attribute_exists", "attribute_not_exists"}:
        tokens.take("(")
        path = tokens.take()
        tokens.take(")")
        wanted = word == "attribute_exists"
        return lambda item, names, values: (_name(path, names) in item) == wanted
    sign, right = tokens.take(), tokens.take()
    if sign not in _COMPARE or not right.startswith(":"):
        raise Malformed(f"the ledger does not write {word} {sign} {right}")

    def compare(item: Item, names: Names, values: Values) -> bool:
        ours, theirs = item.get(_name(word, names)), _value(right, values)
        if ours is None or ours.keys() != theirs.keys():
            return False
        if sign == "=" and "N" not in ours:
            return ours == theirs
        if "N" in ours:
            return bool(_COMPARE[sign](Decimal(ours["N"]), Decimal(theirs["N"])))
        return "S" in ours and bool(_COMPARE[sign](ours["S"], theirs["S"]))

    return compare


def _sum(tokens: _Tokens) -> Operand:
    left = _operand(tokens)
    if tokens.peek() != "+":
        return left
    tokens.take()
    right = _operand(tokens)

    def add(item: Item, names: Names, values: Values) -> Value:
        first, second = left(item, names, values), right(item, names, values)
        if "N" not in first or "N" not in second:
            raise Malformed("only numbers can be added")
        return {"N": str(int(first["N"]) + int(second["N"]))}

    return add


def _operand(tokens: _Tokens) -> Operand:
    word = tokens.take()
    if word == "if_not_exists":
        tokens.take("(")
        path = tokens.take()
        tokens.take(",")
        otherwise = _operand(tokens)
        tokens.take(")")

        def present_or_otherwise(item: Item, names: Names, values: Values) -> Value:
            found = item.get(_name(path, names))
            return otherwise(item, names, values) if found is None else found

        return present_or_otherwise
    if word.startswith(":"):
        return lambda item, names, values: _value(word, values)

    def attribute(item: Item, names: Names, values: Values) -> Value:
        found = item.get(_name(word, names))
        if found is None:
            raise Malformed(f"the item has no attribute {word}")
        return found

    return attribute


def _name(word: str, names: Names) -> str:
    if not word.startswith("#"):
        return word
    if word not in names:
        raise Malformed(f"{word} is not among the attribute names")
    return names[word]


def _value(word: str, values: Values) -> Value:
    if word not in values:
        raise Malformed(f"{word} is not among the attribute values")
    return values[word]


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
