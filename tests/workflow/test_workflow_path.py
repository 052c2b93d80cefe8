"""The deployed state machines, Lambdas and rights, together, on the path that every run takes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from rehearsal.account.assembly import Assembly, substituted
from rehearsal.account.cloud import Cloud
from rehearsal.step_functions.executions import Execution

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


def _refuse(cloud: Cloud, operation: str, trial: bool) -> None:
    """SageMaker refuses an operation, of the trial or of what comes after it."""
    cloud.sagemaker.faults.add(
        operation=operation,
        error="ValidationException",
        message="no luck",
        times=None,
        when=lambda request: any(str(v).endswith("-try0") for v in request.values()) == trial,
    )


@pytest.mark.parametrize("operation", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"])
def test_any_other_refusal_ends_the_run_with_its_reason(cloud: Cloud, rehearse: Rehearse, operation: str) -> None:
    _refuse(cloud, operation, trial=False)

    execution = rehearse()

    assert (execution.status, execution.error) == ("FAILED", "EndpointFailed")
    assert "no luck" in str(execution.cause)
    assert 'start again with "adapterUri": "s3://' in str(execution.cause)
    assert not any(cloud.leftovers().values())


@pytest.mark.parametrize("operation", ["CreateModel", "CreateEndpointConfig"])
def test_what_hosting_refuses_is_found_before_anything_is_paid(
    cloud: Cloud, rehearse: Rehearse, operation: str
) -> None:
    _refuse(cloud, operation, trial=True)

    execution = rehearse()

    assert (execution.status, execution.error) == ("FAILED", "HostingRefused")
    assert "no luck" in str(execution.cause)
    assert "CreateTrainingJob" not in {call.operation for call in cloud.calls}
    assert not any(cloud.leftovers().values())


@pytest.mark.parametrize("operation", ["DeleteModel", "DeleteEndpointConfig"])
def test_a_trial_that_cannot_be_taken_away_does_not_stop_the_run(
    cloud: Cloud, rehearse: Rehearse, operation: str
) -> None:
    kept = cloud.sagemaker.faults.add(
        operation=operation,
        error="AccessDeniedException",
        times=None,
        by=_role_of_fine_tuning(cloud),
    )

    execution = rehearse()

    assert kept.hits > 0
    assert execution.status == "SUCCEEDED", execution.cause
    assert not any(cloud.leftovers().values())


def _role_of_fine_tuning(cloud: Cloud) -> str:
    assert cloud.deployment is not None
    machine = cloud.client("stepfunctions").describe_state_machine(stateMachineArn=cloud.deployment.fine_tuning)
    return str(machine["roleArn"]).rpartition("/")[2]


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
    from rehearsal.conductor.materials import reserve_all_but

    reserve_all_but(cloud, 700, 2500)  # one worst case is below, two are above it
    executions = [cloud.start({"samplesPerPrompt": 0}), cloud.start({"samplesPerPrompt": 0})]
    cloud.settle(timeout=180)

    assert sorted(execution.status for execution in executions) == ["FAILED", "SUCCEEDED"]
    assert not any(cloud.leftovers().values())
