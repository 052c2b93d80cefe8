"""JSONata for moto's interpreter, which leaves the engine open: jsonata-python, with the functions that AWS adds.

moto splices variables into an expression as text, which breaks on quotes and line breaks and parses the whole state
again for every field. Here they are handed over as values.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from jsonata import Jsonata
from jsonata.utils import Utils

_PER_THREAD = threading.local()  # a compiled expression keeps state while it is evaluated
clock: list[Callable[[], datetime]] = [lambda: datetime.now(UTC)]  # the time of $millis
_HASHES = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}


class ExpressionError(Exception):
    """The expression cannot be parsed or evaluated, or gives nothing (undefined), which AWS refuses."""


def _partition(items: list[Any], size: float) -> list[list[Any]]:
    step = int(size)
    return [list(items[start : start + step]) for start in range(0, len(items), step)]


def _range(first: float, last: float, step: float) -> list[float]:
    count = int((last - first) // step) + 1
    return [first + index * step for index in range(max(0, count))]


def _hash(text: str, algorithm: str = "SHA-256") -> str:
    return hashlib.new(_HASHES[algorithm], text.encode()).hexdigest()


def _random(seed: int | None = None) -> float:
    return random.Random(seed).random()


def _compiled(text: str) -> Jsonata:
    cache: dict[str, Jsonata] = _PER_THREAD.__dict__.setdefault("cache", {})
    if text not in cache:
        expression = Jsonata(text)
        # The functions that Step Functions adds to JSONata, or replaces.
        expression.register_lambda("uuid", lambda: str(uuid.uuid4()))
        expression.register_lambda("parse", json.loads)
        expression.register_lambda("hash", _hash)
        expression.register_lambda("partition", _partition)
        expression.register_lambda("range", _range)
        expression.register_lambda("random", _random)
        expression.register_lambda("millis", lambda: int(clock[0]().timestamp() * 1000))
        expression.output_convert_nulls = False  # null is a value, undefined is an error: keep them apart
        cache[text] = expression
    return cache[text]


def _plain(value: Any) -> Any:
    if value is Utils.NULL_VALUE or value is None:
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, (str, int, float, bool)):
        return value
    raise ExpressionError(f"returned an unsupported result type, {type(value).__name__}")


def evaluate(text: str, variables: Mapping[str, Any]) -> Any:
    """Return what the expression gives, as plain JSON values.

    Args:
        text: the expression without its {% %}.
        variables: values by name without the dollar sign; `states` among them.

    Raises:
        ExpressionError: for what AWS calls States.QueryEvaluationError.
    """
    bindings = {
        name: Utils.NULL_VALUE if value is None else json.loads(json.dumps(value, default=str))
        for name, value in variables.items()
    }
    try:
        result = _compiled(text).evaluate(None, bindings)
    except Exception as error:  # the engine raises its own and Python's errors alike
        raise ExpressionError(f"The JSONata expression '{text}' threw an error: {error}") from error
    if result is None:
        raise ExpressionError(f"The JSONata expression '{text}' returned nothing (undefined).")
    try:
        return _plain(result)
    except ExpressionError as error:
        raise ExpressionError(f"The JSONata expression '{text}' {error}.") from error
