"""JSONata in the rehearsed interpreter gives what it gives on AWS."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.doubles.rehearsal.rehearsal_bench import Bench


@pytest.mark.parametrize(
    ("expression", "run_input", "expected"),
    [
        ("$states.input.a", {"a": None}, None),
        ("$states.input", {"text": 'a "quote", a \\ and a\nline', "list": [], "nothing": None}, ...),
        ("$states.input.list", {"list": [1]}, [1]),
        ("$merge([$states.input, {'reason': 'schedule'}])", {"a": 1}, {"a": 1, "reason": "schedule"}),
        ("$count($states.input.remaining) > 0", {"remaining": []}, False),
        ("$exists($states.input.keepUntil) and $states.input.keepUntil != null", {"keepUntil": None}, False),
        ("$exists($states.input.missing) ? 1 : 2", {}, 2),
        ("$contains($states.input.reason, /capacity/i)", {"reason": "No Capacity"}, True),
        ("$states.input.status in ['Failed', 'Deleting']", {"status": "Deleting"}, True),
        ("$parse($states.input.text).errorMessage", {"text": '{"errorMessage": "why"}'}, "why"),
        ("$partition([1..5], 2)", {}, [[1, 2], [3, 4], [5]]),
        ("$range(0, 10, 5)", {}, [0, 5, 10]),
        ("$hash('a', 'MD5')", {}, "0cc175b9c0f1b6a831c399e269772661"),
        ("$string({'a': $states.input.a})", {"a": "x"}, '{"a":"x"}'),
        ("$states.input.cents * 2", {"cents": 1250}, 2500),
        ("$states.context.Execution.Input.a", {"a": "x"}, "x"),
    ],
)
def test_an_expression_gives_what_it_gives_on_aws(bench: Bench, expression: str, run_input: Any, expected: Any) -> None:
    execution = bench.evaluate(expression, run_input)

    assert execution.status == "SUCCEEDED", execution.cause
    assert execution.output == (run_input if expected is ... else expected)


@pytest.mark.parametrize("expression", ["$states.input.missing", "$error('no')", "$sum", "1 + 'a'", "$number('x')"])
def test_an_expression_without_a_value_is_a_query_evaluation_error(bench: Bench, expression: str) -> None:
    execution = bench.evaluate(expression, {})

    assert (execution.status, execution.error) == ("FAILED", "States.QueryEvaluationError")
    assert expression in str(execution.cause)


def test_a_uuid_and_the_time_are_real(bench: Bench) -> None:
    made = bench.evaluate(
        "{'id': $uuid(), 'at': $fromMillis($millis(), '[Y0001]-[M01]-[D01]T[H01]:[m01]:[s01]')}"
    ).output

    assert re.fullmatch(r"[0-9a-f-]{36}", made["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", made["at"])


def test_a_variable_keeps_every_character(bench: Bench) -> None:
    states = {
        "Keep": {"Type": "Pass", "Assign": {"text": "{% $states.input %}"}, "Output": {}, "Next": "Give"},
        "Give": {"Type": "Pass", "Output": "{% $text %}", "End": True},
    }
    text = "“quoted” 'single' \"double\" \\ back\nline\ttab {% %} $money"

    assert bench.run(states, text).output == text


def test_a_failed_expression_in_the_arguments_of_a_task_can_be_caught(bench: Bench) -> None:
    bench.function("echo", "def handle(event, context): return event")
    states = {
        "Ask": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": {"FunctionName": "echo", "Payload": "{% $states.input.missing %}"},
            "Catch": [{"ErrorEquals": ["States.QueryEvaluationError"], "Next": "Caught"}],
            "End": True,
        },
        "Caught": {"Type": "Succeed"},
    }

    assert bench.run(states, {}).states() == ["Ask", "Caught"]


def test_the_start_time_of_the_context_is_iso_8601(bench: Bench) -> None:
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", bench.evaluate("$states.context.Execution.StartTime").output
    )
