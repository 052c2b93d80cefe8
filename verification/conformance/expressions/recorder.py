"""What each expression met in rehearsed runs: the values that it could read, the time, and what it gave.

with Recorder() as recorder:
    …runs of a Cloud…
recorder.evaluations
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rehearsal.step_functions import expressions


@dataclass(frozen=True)
class Result:
    """What an expression gave: a JSON value, or an error where AWS has States.QueryEvaluationError."""

    value: Any = None
    error: str = ""

    def __str__(self) -> str:
        return f"the error {self.error!r}" if self.error else json.dumps(self.value, ensure_ascii=False)


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: the variables by name (`states` among them), the time of $millis, and the result."""

    text: str
    variables: Mapping[str, Any] = field(repr=False)
    milliseconds: int
    result: Result

    @property
    def machine(self) -> str:
        """The name of the state machine."""
        return str(self._context.get("StateMachine", {}).get("Id", "")).rpartition(":")[2]

    @property
    def state(self) -> str:
        """The name of the state."""
        return str(self._context.get("State", {}).get("Name", ""))

    @property
    def _context(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.variables.get("states", {}).get("context", {})
        return found


class Recorder:
    """Listens to the interpreter's evaluations while it is in a with-statement; the cloud must be open already."""

    def __init__(self) -> None:
        self.evaluations: list[Evaluation] = []
        self._moment = threading.local()

    def __enter__(self) -> Recorder:
        self._evaluate, self._clock = expressions.evaluate, expressions.clock[0]
        expressions.evaluate = self._listen
        expressions.clock[:] = [self._time]
        return self

    def __exit__(self, *_: object) -> None:
        expressions.evaluate = self._evaluate
        expressions.clock[:] = [self._clock]

    def _time(self) -> datetime:
        # One moment for one evaluation, so that another implementation can be given the same.
        moment: datetime | None = getattr(self._moment, "value", None)
        return moment if moment is not None else self._clock()

    def _listen(self, text: str, variables: Mapping[str, Any]) -> Any:
        # A copy: the interpreter goes on with these values.
        kept = json.loads(json.dumps(variables, default=str))
        self._moment.value = moment = self._clock()
        milliseconds = int(moment.timestamp() * 1000)
        try:
            value = self._evaluate(text, variables)
        except expressions.ExpressionError as error:
            self.evaluations.append(Evaluation(text, kept, milliseconds, Result(error=str(error))))
            raise
        finally:
            self._moment.value = None
        self.evaluations.append(Evaluation(text, kept, milliseconds, Result(json.loads(json.dumps(value)))))
        return value
