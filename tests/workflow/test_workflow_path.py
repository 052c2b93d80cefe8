"""The deployed state machines, Lambdas and rights, together, on the path that every run takes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from rehearsal.assembly import Assembly, substituted
from rehearsal.cloud import Cloud
from rehearsal.executions import Execution

Rehearse = Callable[..., Execution]


def test_a_run_succeeds_and_its_tear_down_leaves_nothing(cloud: Cloud, rehearse: Rehearse) -> None:
    execution = rehearse()

    assert execution.status == "SUCCEEDED", execution.cause
    assert cloud.deployment is not None
    (tear_down,) = cloud.executions.of(cloud.deployment.tear_down)
    assert tear_down.status == "SUCCEEDED", tear_down.cause
    assert tear_down.input == {
        "executionArn": execution.arn, "executionName": execution.name, "status": "SUCCEEDED", "reason": "event",
    }  # fmt: skip
    assert not any(cloud.leftovers().values())


@pytest.mark.parametrize("operation", ["CreateTrainingJob", "CreateModel", "CreateEndpointConfig", "CreateEndpoint"])
def test_a_lost_answer_does_not_waste_the_training(cloud: Cloud, rehearse: Rehearse, operation: str) -> None:
    lost = cloud.sagemaker.faults.add(operation=operation, error="InternalFailure", status=500, after=True)

    execution = rehearse()

    assert lost.hits == 1
    assert execution.status == "SUCCEEDED", execution.cause
    assert not any(cloud.leftovers().values())


@pytest.mark.parametrize("operation", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"])
def test_any_other_refusal_ends_the_run_with_its_reason(cloud: Cloud, rehearse: Rehearse, operation: str) -> None:
    cloud.sagemaker.faults.add(operation=operation, error="ValidationException", message="no luck", times=None)

    execution = rehearse()

    assert (execution.status, execution.error) == ("FAILED", "EndpointFailed")
    assert "no luck" in str(execution.cause)
    assert not any(cloud.leftovers().values())


def test_the_definitions_that_run_are_those_of_the_assembly(cloud: Cloud, assembly: Assembly) -> None:
    assert cloud.deployment is not None
    templates = [
        resource["Properties"]
        for stack in assembly.stacks()
        for resource in stack.template["Resources"].values()
        if resource["Type"] == "AWS::StepFunctions::StateMachine"
    ]

    running = cloud.deployment.proof()

    assert len(running) == len(templates) == 2
    for properties in templates:
        (arn,) = [arn for arn in running if arn.endswith(f":{properties['StateMachineName']}")]
        names = properties["DefinitionSubstitutions"]
        # The same text but for the values of the substitutions, which only a deployment knows.
        pattern = json.loads(substituted(properties["DefinitionString"], dict.fromkeys(names, "…")))
        assert _same_form(pattern, json.loads(running[arn]))


def _same_form(pattern: object, value: object) -> bool:
    if isinstance(pattern, dict) and isinstance(value, dict):
        return pattern.keys() == value.keys() and all(_same_form(pattern[key], value[key]) for key in pattern)
    if isinstance(pattern, list) and isinstance(value, list):
        return len(pattern) == len(value) and all(map(_same_form, pattern, value))
    if isinstance(pattern, str) and isinstance(value, str) and "…" in pattern:
        first, *_, last = pattern.split("…")
        return value.startswith(first) and value.endswith(last)
    return pattern == value


def test_the_result_is_published_with_verdict_and_cost(cloud: Cloud, rehearse: Rehearse) -> None:
    rehearse()

    assert cloud.deployment is not None
    (message,) = [text for topic, _, text in cloud.messages if topic == cloud.deployment.topic]
    assert "Verdict:" in message
    assert "Left of the cap" in message


def test_two_runs_at_once_with_room_for_one_give_exactly_one(cloud: Cloud) -> None:
    from rehearsal.materials import reserve_all_but

    reserve_all_but(cloud, 700, 2500)  # one worst case is below, two are above it
    executions = [cloud.start({"samplesPerPrompt": 0}), cloud.start({"samplesPerPrompt": 0})]
    cloud.settle(timeout=180)

    assert sorted(execution.status for execution in executions) == ["FAILED", "SUCCEEDED"]
    assert not any(cloud.leftovers().values())
