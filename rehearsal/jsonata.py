"""JSONata for both interpreters, that of the rehearsal and that of the simulation: jsonata-python, with the functions that AWS adds.

moto splices variables into an expression as text, which breaks on quotes and line breaks and parses the whole state
again for every field. Here they are handed over as values.
"""

import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from jsonata import Jsonata
from jsonata.utils import Utils

Clock = Callable[[], datetime]
MACHINE_CLOCK: Clock = partial(datetime.now, UTC)
_PER_THREAD = threading.local()  # a compiled expression keeps state while it is evaluated


class ExpressionError(Exception):
    """The expression cannot be parsed or evaluated, or gives nothing (undefined), which AWS refuses."""


def _compiled(text: str) -> Jsonata:
    cache: dict[str, Jsonata] = _PER_THREAD.__dict__.setdefault("cache", {})
    if text not in cache:
        expression = Jsonata(text)
        # Of the functions that Step Functions adds to JSONata, or replaces, those that the two definitions call.
        expression.register_lambda("parse", json.loads)
        expression.register_lambda("millis", lambda: int(_PER_THREAD.clock().timestamp() * 1000))
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


def evaluate(text: str, variables: Mapping[str, Any], clock: Clock = MACHINE_CLOCK) -> Any:
    """What an expression without its {% %} gives, as plain JSON values; `clock` is the time of $millis.

    Variables are named without the dollar sign; `states` is among them. Raises ExpressionError for what AWS calls States.QueryEvaluationError.
    """
    bindings = {
        name: Utils.NULL_VALUE if value is None else json.loads(json.dumps(value, default=str))
        for name, value in variables.items()
    }
    _PER_THREAD.clock = clock
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
