"""The condition and update expressions of DynamoDB, as far as the ledger writes them, compiled once per text."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

Value = Mapping[str, str]
Item = dict[str, Value]
Names = Mapping[str, str]
Values = Mapping[str, Value]
Condition = Callable[[Item, Names, Values], bool]
Operand = Callable[[Item, Names, Values], Value]
Update = Callable[[Item, Names, Values], Item]

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<=": operator.le,
    "<": operator.lt,
    ">": operator.gt,
}
_TOKEN = re.compile(r"\s*(<=|>=|<>|[()=<>,+-]|[:#]?[A-Za-z_][A-Za-z0-9_]*)")


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
    compiled = _either(tokens)
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


def _either(tokens: _Tokens) -> Condition:
    parts = [_both(tokens)]
    while tokens.peek() == "OR":
        tokens.take()
        parts.append(_both(tokens))
    return lambda item, names, values: any(part(item, names, values) for part in parts)


def _both(tokens: _Tokens) -> Condition:
    parts = [_comparison(tokens)]
    while tokens.peek() == "AND":
        tokens.take()
        parts.append(_comparison(tokens))
    return lambda item, names, values: all(part(item, names, values) for part in parts)


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
