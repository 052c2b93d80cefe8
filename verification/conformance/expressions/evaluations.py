"""The result of each expression: ours, recorded for every interpreter that evaluates it, and that of the reference implementation.

with Recorder() as recorder:
    …runs…
recorder.evaluations

The reference is npm jsonata, at the version that AWS documents, in one Node process.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rehearsal.step_functions import expressions
from verification.conformance.programs import StepFailed, beside_python, locked_version, node_packages

_HERE = Path(__file__).parent
_PATIENCE_SECONDS = 300


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: the variables by name (`states` among them), the time of $millis, and what the expression gave.

    That is {"value": …}, or {"error": …} where AWS has States.QueryEvaluationError, as the reference answers.
    """

    text: str
    variables: Mapping[str, Any] = field(repr=False)
    milliseconds: int
    result: Mapping[str, Any]


class Recorder:
    """Records each different evaluation once while it is in a with-statement.

    It stands in the place of `rehearsal.step_functions.expressions.evaluate`, which every interpreter calls by its module.
    """

    def __init__(self) -> None:
        self.evaluations: list[Evaluation] = []
        self._known: set[tuple[str, str]] = set()
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> Recorder:
        self._evaluate = expressions.evaluate
        expressions.evaluate = self._record
        return self

    def __exit__(self, *_: object) -> None:
        expressions.evaluate = self._evaluate

    def _record(self, text: str, variables: Mapping[str, Any]) -> Any:
        # As text: the interpreter may change these values later.
        given = json.dumps(variables, default=str)
        with self._one_at_a_time:
            if (text, given) in self._known:
                return self._evaluate(text, variables)
            self._known.add((text, given))
            # The clock stands still during the evaluation, so that the reference can be given the same moment.
            clock = expressions.clock[0]
            moment = clock()
            expressions.clock[0] = lambda: moment
            made = partial(Evaluation, text, json.loads(given), int(moment.timestamp() * 1000))
            try:
                value = self._evaluate(text, variables)
            except expressions.ExpressionError as error:
                self.evaluations.append(made({"error": str(error)}))
                raise
            finally:
                expressions.clock[0] = clock
            self.evaluations.append(made({"value": json.loads(json.dumps(value))}))
        return value


def reference() -> str:
    """The reference implementation with its pinned version."""
    return f"npm jsonata {locked_version(_HERE, 'jsonata')}"


def ask_reference(requests: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the answers to requests as reference.cjs describes them, in their order.

    Raises:
        CannotRun: Node or the package is missing and cannot be installed.
        StepFailed: the process ended before it had answered, or took more than five minutes.
    """
    packages = node_packages(_HERE, "conformance-jsonata")
    lines = [json.dumps(request, ensure_ascii=True) for request in requests]
    command = [str(beside_python("node")), str(_HERE / "reference.cjs"), str(packages)]
    text = "".join(f"{line}\n" for line in lines)
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise StepFailed(f"the reference did not answer within {_PATIENCE_SECONDS} s") from None
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or len(answers) != len(lines):
        raise StepFailed(
            f"the reference answered {len(answers)} of {len(lines)} requests. {done.stderr.strip()[-500:]}"
        )
    return answers
