"""moto's interpreter with our patches does what Step Functions does: values, errors, waits, stops and timeouts."""

from typing import Any

import pytest

from rehearsal.account.cloud import Cloud
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.rehearsal.deployed import Workbench, sdk
from tests.doubles.rehearsal.sagemaker_account import eventually

WAIT = {"Type": "Wait", "Seconds": 86_400_000, "End": True}
LOOK = sdk("sagemaker:listEndpoints", {})
EXPRESSIONS = [
    ("$states.input.a", {"a": None}, None),
    ("$states.input", {"text": 'a "quote", a \\ and a\nline', "list": [], "nothing": None}, ...),
    ("$states.input.list", {"list": [1]}, [1]),
    ("$exists($states.input.keepUntil) and $states.input.keepUntil != null", {"keepUntil": None}, False),
    ("$contains($states.input.reason, /capacity/i)", {"reason": "No Capacity"}, True),
    ("$parse($states.input.text).errorMessage", {"text": '{"errorMessage": "why"}'}, "why"),
    ("$contains($states.context.Execution.StartTime, /^20[0-9-]{8}T[0-9:]{8}[.][0-9]{3}Z$/)", {}, True),
    ("$states.context.Execution.Input.a", {"a": "x"}, "x"),
]


def test_expressions_give_what_they_give_on_aws(bench: Workbench) -> None:
    for expression, run_input, expected in EXPRESSIONS:
        execution = bench.evaluate(expression, run_input)
        assert execution.status == "SUCCEEDED", execution.cause
        assert execution.output == (run_input if expected is ... else expected), expression


def test_an_expression_without_a_value_is_a_query_evaluation_error(bench: Workbench) -> None:
    for expression in ("$states.input.missing", "$error('no')", "$sum", "1 + 'a'", "$number('x')"):
        execution = bench.evaluate(expression, {})
        assert (execution.status, execution.error) == ("FAILED", "States.QueryEvaluationError")
        assert expression in str(execution.cause)


@pytest.mark.parametrize("field", ["Arguments", "Output"])
def test_a_failed_expression_of_a_task_can_be_caught(bench: Workbench, field: str) -> None:
    catch = [{"ErrorEquals": ["States.QueryEvaluationError"], "Next": "Caught"}]
    states = {"Ask": {**LOOK, field: "{% $states.input.missing %}", "Catch": catch}, "Caught": {"Type": "Succeed"}}
    assert bench.run(states, {}).states() == ["Ask", "Caught"]


def test_a_parameter_that_the_api_does_not_know_is_rejected(bench: Workbench) -> None:
    execution = bench.run({"Ask": sdk("sagemaker:describeEndpoint", {"EndpointNam": "x"})})
    assert (execution.status, execution.error) == ("FAILED", "States.Runtime")
    assert "EndpointNam" in str(execution.cause)


def test_a_stop_in_the_first_moment_keeps_error_and_cause(cloud: Cloud, bench: Workbench) -> None:
    machine = bench.machine({"Wait": WAIT})
    for _ in range(10):
        execution = cloud.start(machine=machine)
        cloud.stop(execution, error="Changed", cause="My mind.")
        cloud.settle(execution, timeout=PATIENCE_SECONDS)
        answer = cloud.client("stepfunctions").describe_execution(executionArn=execution.arn)
        assert (answer["status"], answer["error"], answer["cause"]) == ("ABORTED", "Changed", "My mind.")
    assert execution.history()[-1]["type"] == "ExecutionAborted"


BRANCHES = [{"StartAt": name, "States": {name: WAIT}} for name in ("One", "Other")]
RETRY = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 99_999_999, "MaxAttempts": 3}]
RETRIED = sdk("sagemaker:describeEndpoint", {"EndpointName": "none"}, Retry=RETRY)


@pytest.mark.parametrize(
    "state", [LOOK, RETRIED, {"Type": "Parallel", "Branches": BRANCHES, "End": True}],
    ids=["during a call", "during the interval of a retry", "in both branches of a parallel state"],
)  # fmt: skip
def test_a_stop_is_heard_at_once(cloud: Cloud, bench: Workbench, state: dict[str, Any]) -> None:
    cloud.faults.add(operation="ListEndpoints", hang=True)
    execution = cloud.start(machine=bench.machine({"State": state}))
    eventually(lambda: execution.states()[1:] or [one for one in cloud.calls if one.access_key == "machine-role"])
    cloud.stop(execution)
    cloud.settle(execution, timeout=PATIENCE_SECONDS)
    assert execution.status == "ABORTED"


def test_an_execution_ends_at_its_timeout_and_has_a_stop_date(bench: Workbench, cloud: Cloud) -> None:
    execution = bench.run({"Wait": WAIT}, TimeoutSeconds=1)
    assert execution.status == "TIMED_OUT"
    assert "stopDate" in cloud.client("stepfunctions").describe_execution(executionArn=execution.arn)


def test_a_task_ends_at_its_timeout_and_can_be_caught(cloud: Cloud, bench: Workbench) -> None:
    cloud.faults.add(operation="ListEndpoints", hang=True)
    catch = [{"ErrorEquals": ["States.Timeout"], "Next": "Late"}]
    execution = bench.run({"Ask": {**LOOK, "TimeoutSeconds": 1, "Catch": catch}, "Late": {"Type": "Succeed"}})
    assert execution.states() == ["Ask", "Late"]
