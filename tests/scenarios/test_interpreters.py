"""Small machines made at random go the same way in our interpreter and in moto's: same states, same end, same output."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearsal.account.cloud import Cloud
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining
from tests.doubles import PATIENCE_SECONDS
from verification.simulation.interpreter import Failure, Interpreter, catches
from verification.simulation.world import NOON, Execution, Steps, World

pytestmark = pytest.mark.slow
ROLE = "arn:aws:iam::123456789012:role/machine-role"
# What a call can come to: an answer, or an error that a rule may name. moto's SNS and SQS need no account of ours: a topic that is
# there answers, one that is not fails.
THERE, NOT_THERE = "arn:aws:sns:us-east-1:123456789012:there", "arn:aws:sns:us-east-1:123456789012:missing"
NOT_FOUND = "Sns.NotFoundException"


def _task(there: bool, retry: list[Any], catch: bool) -> dict[str, Any]:
    state: dict[str, Any] = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sns:getTopicAttributes",
        "Arguments": {"TopicArn": THERE if there else NOT_THERE},
        # moto lets an Output see what the Assign beside it has just set; AWS evaluates both with the values before. Ours do not meet.
        "Output": {"answered": "{% $exists($states.result) %}"},
        "Assign": {"n": "{% $n + 1 %}"},
    }
    if retry:
        state["Retry"] = [{"ErrorEquals": retry, "MaxAttempts": 2, "IntervalSeconds": 1}]
    if catch:
        caught = {"ErrorEquals": ["States.ALL"], "Assign": {"n": "{% $n + 10 %}"}}
        state["Catch"] = [{**caught, "Output": {"error": "{% $states.errorOutput.Error %}"}, "Next": "Last"}]
    return state


tasks = st.builds(
    _task,
    st.booleans(),
    st.sampled_from([[], ["States.ALL"], ["States.TaskFailed"], [NOT_FOUND], ["Other"]]),
    st.booleans(),
)
passes = st.builds(lambda more: {"Type": "Pass", "Assign": {"n": f"{{% $n * {more} %}}"}}, st.integers(1, 3))
waits = st.builds(lambda seconds: {"Type": "Wait", "Seconds": seconds}, st.integers(1, 60))
choices = st.builds(
    lambda bound: {
        "Type": "Choice",
        "Choices": [{"Condition": f"{{% $n > {bound} %}}", "Output": {"more": "{% $n %}"}, "Next": "Last"}],
    },
    st.integers(0, 12),
)


def _chain(states: list[dict[str, Any]], end: str) -> dict[str, Any]:
    """The states in a row, then the last one."""
    named = {f"S{number}": dict(state) for number, state in enumerate(states)}
    names = [*named, "Last"]
    for name, following in zip(names, names[1:], strict=False):
        named[name]["Default" if named[name]["Type"] == "Choice" else "Next"] = following
    last: dict[str, Any] = {"Type": end, "Error": "Ended", "Cause": "{% 'at ' & $string($n) %}"}
    if end == "Succeed":
        last = {"Type": "Succeed", "Output": {"n": "{% $n %}", "given": "{% $states.input %}"}}
    return {
        "StartAt": "Start",
        "States": {"Start": {"Type": "Pass", "Assign": {"n": 1}, "Next": names[0]}, **named, "Last": last},
    }


def _branch(state: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": "Alone", "States": {"Alone": {**state, "End": True}}}


plain = st.one_of(tasks, passes, waits, choices)
parallel = st.builds(
    lambda states, catch: {
        "Type": "Parallel",
        # A branch reads the variables outside it, and may not assign one of their names.
        "Branches": [
            _branch({key: part for key, part in one.items() if key not in {"Catch", "Assign"}}) for one in states
        ],
        **({"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Last"}]} if catch else {}),
    },
    st.lists(tasks, min_size=1, max_size=2),
    st.booleans(),
)
machines = st.builds(
    _chain, st.lists(st.one_of(plain, parallel), min_size=1, max_size=5), st.sampled_from(["Succeed", "Fail"])
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder: Path = tmp_path_factory.mktemp("interpreters")
    with Cloud(folder, training=FakeTraining(), hosting=FakeHosting(), time_scale=20_000) as account:
        account.client("sns").create_topic(Name="there")
        yield account


def _in_moto(cloud: Cloud, definition: dict[str, Any], name: str) -> tuple[Any, ...]:
    made = cloud.client("stepfunctions").create_state_machine(
        name=name, definition=json.dumps({"QueryLanguage": "JSONata", **definition}), roleArn=ROLE
    )
    execution = cloud.start({}, machine=made["stateMachineArn"])
    cloud.settle(execution, timeout=PATIENCE_SECONDS)
    output = execution.output if execution.status == "SUCCEEDED" else None
    return execution.status, execution.error or "", _without_answers(output), _in_order(execution.states())


def _in_ours(definition: dict[str, Any]) -> tuple[Any, ...]:
    def call(state: str, resource: str, asked: Any) -> Steps[Any]:
        yield 0.1, True
        if asked["TopicArn"] == NOT_THERE:
            raise Failure(NOT_FOUND, "Topic does not exist")
        return {"Attributes": {}}

    world, execution = World(random.Random(1), NOON, 0), Execution("one", "arn", NOON)
    steps = Interpreter(world, definition, {"Execution": {}}, call, execution).run({})
    try:
        while True:
            seconds, _ = next(steps)
            world.spawn(iter(()), seconds)  # type: ignore[arg-type]
            world.step()
    except StopIteration as done:
        return "SUCCEEDED", "", _without_answers(done.value), _in_order(execution.states())
    except Failure as failure:
        return "FAILED", failure.error, None, _in_order(execution.states())


def _in_order(states: list[str]) -> list[str]:
    """The states as they were entered; those inside a Parallel take turns."""
    return [name for name in states if name != "Alone"] + ["Alone"] * states.count("Alone")


def _without_answers(output: Any) -> Any:
    """An output without what SNS answered, and without an error's own words."""
    if isinstance(output, dict):
        kept = {key: value for key, value in output.items() if key not in {"Attributes", "Cause"}}
        return {key: _without_answers(value) for key, value in kept.items()}
    return [_without_answers(one) for one in output] if isinstance(output, list) else output


_NUMBER = iter(range(10**6))


@settings(max_examples=60, derandomize=True)
@given(machines)
def test_both_interpreters_go_the_same_way(cloud: Cloud, definition: dict[str, Any]) -> None:
    assert _in_ours(definition) == _in_moto(cloud, definition, f"machine-{next(_NUMBER)}")


@pytest.mark.parametrize(
    ("wildcard", "error", "caught"),
    [
        ("States.ALL", "SageMaker.SageMakerException", True),
        ("States.ALL", "States.Timeout", True),
        ("States.ALL", "States.DataLimitExceeded", False),
        ("States.TaskFailed", "SageMaker.SageMakerException", True),
        ("States.TaskFailed", "States.Timeout", False),
    ],
)
def test_a_wildcard_catches_what_aws_documents_and_no_more(wildcard: str, error: str, caught: bool) -> None:
    assert catches({"ErrorEquals": [wildcard]}, error) is caught
    assert catches({"ErrorEquals": [error]}, error)
