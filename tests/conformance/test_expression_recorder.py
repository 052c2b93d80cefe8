"""What the rehearsal's evaluations see and give is kept as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from verification.conformance.expressions.recorder import Recorder
from rehearsal.step_functions import expressions

CONTEXT = {"State": {"Name": "Say"}, "StateMachine": {"Id": "arn:aws:states:us-east-1:123456789012:stateMachine:m"}}


def test_an_evaluation_is_kept_with_its_place_its_variables_and_its_result() -> None:
    variables: dict[str, Any] = {"states": {"context": CONTEXT, "input": {"a": [1]}}}

    with Recorder() as recorder:
        expressions.evaluate("$states.input.a[0] + 1", variables)
        variables["states"]["input"]["a"].append(2)

    (kept,) = recorder.evaluations
    assert (kept.machine, kept.state, kept.result.value) == ("m", "Say", 2)
    assert kept.variables["states"]["input"] == {"a": [1]}


def test_an_error_is_kept_and_raised() -> None:
    with Recorder() as recorder, pytest.raises(expressions.ExpressionError):
        expressions.evaluate("$missing", {})

    assert "undefined" in recorder.evaluations[0].result.error


def test_the_time_that_an_expression_saw_is_the_one_that_is_kept() -> None:
    with Recorder() as recorder:
        seen = expressions.evaluate("$millis()", {})

    assert seen == recorder.evaluations[0].milliseconds
    assert abs(seen - datetime.now(UTC).timestamp() * 1000) < 60_000


def test_afterwards_nobody_listens() -> None:
    with Recorder() as recorder:
        pass
    expressions.evaluate("1", {})

    assert recorder.evaluations == []
