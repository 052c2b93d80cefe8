"""Errors have the names and causes that AWS gives them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rehearsal.account.cloud import Cloud
from rehearsal.step_functions.error_names import aws_error_name
from tests.doubles.rehearsal.rehearsal_bench import Bench, call, sdk

MODEL: dict[str, Any] = {"ModelName": "captune-x", "ExecutionRoleArn": "arn:aws:iam::123456789012:role/hosting"}


@pytest.mark.parametrize(
    ("service", "code", "shape", "name"),
    [
        ("sagemaker", "ResourceLimitExceeded", "ResourceLimitExceeded", "SageMaker.ResourceLimitExceededException"),
        ("sagemaker", "ResourceInUse", "ResourceInUse", "SageMaker.ResourceInUseException"),
        ("sagemaker", "ValidationException", None, "SageMaker.SageMakerException"),
        ("sagemaker", "ThrottlingException", None, "SageMaker.SageMakerException"),
        ("scheduler", "ConflictException", "ConflictException", "Scheduler.ConflictException"),
        ("dynamodb", "ConditionalCheckFailedException", "ConditionalCheckFailedException", "DynamoDb.ConditionalCheckFailedException"),
        ("sns", "AuthorizationError", "AuthorizationErrorException", "Sns.AuthorizationErrorException"),
        ("sfn", "Unknown", None, "Sfn.SfnException"),
    ],
)  # fmt: skip
def test_a_service_error_is_named_as_the_java_sdk_names_it(
    service: str, code: str, shape: str | None, name: str
) -> None:
    assert aws_error_name(service, code, shape) == name


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("ResourceLimitExceeded", "SageMaker.ResourceLimitExceededException"),
        ("ThrottlingException", "SageMaker.SageMakerException"),
    ],
)
def test_an_sdk_integration_fails_with_that_name(cloud: Cloud, bench: Bench, code: str, name: str) -> None:
    cloud.sagemaker.faults.add(operation="ListEndpoints", error=code, message="no luck")

    execution = bench.run({"Ask": sdk("sagemaker:listEndpoints", {})})

    assert (execution.status, execution.error) == ("FAILED", name)
    assert str(execution.cause).startswith("no luck (Service: SageMaker, Status Code: 400, Request ID:")


def test_a_conflict_in_the_scheduler_has_its_own_name(cloud: Cloud, bench: Bench) -> None:
    arguments = {
        "Name": "captune-x", "ScheduleExpression": "at(2099-01-01T00:00:00)", "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": "arn:aws:states:us-east-1:123456789012:stateMachine:x", "RoleArn": "arn:aws:iam::123456789012:role/s"},
    }  # fmt: skip
    create = sdk("scheduler:createSchedule", arguments)

    assert bench.run({"Create": create}).status == "SUCCEEDED"
    assert bench.run({"Create": create}).error == "Scheduler.ConflictException"


def test_a_parameter_that_the_api_does_not_know_is_refused(bench: Bench) -> None:
    execution = bench.run({"Ask": sdk("sagemaker:describeEndpoint", {"EndpointNam": "x"})})

    assert (execution.status, execution.error) == ("FAILED", "States.Runtime")
    assert "EndpointNam" in str(execution.cause)


def test_an_exception_in_a_lambda_gives_its_class_and_a_json_cause(bench: Bench) -> None:
    bench.function(
        "fail", "class EulaNotAccepted(Exception): ...\ndef handle(event, context): raise EulaNotAccepted('Accept it.')"
    )

    execution = bench.run({"Ask": call("fail")})

    assert (execution.status, execution.error) == ("FAILED", "EulaNotAccepted")
    cause = json.loads(str(execution.cause))
    assert cause["errorMessage"] == "Accept it."
    assert cause["errorType"] == "EulaNotAccepted"
    assert set(cause) == {"errorMessage", "errorType", "requestId", "stackTrace"}


def test_a_throttled_lambda_is_tried_again(cloud: Cloud, bench: Bench) -> None:
    bench.function("echo", "def handle(event, context): return event")
    cloud.faults.add(operation="Invoke", error="TooManyRequestsException", status=429, times=2)
    retry = [
        {"ErrorEquals": ["Lambda.TooManyRequestsException"], "IntervalSeconds": 3, "MaxAttempts": 3, "BackoffRate": 2}
    ]

    execution = bench.run({"Ask": call("echo", Retry=retry)}, {"a": 1})

    assert (execution.status, execution.output) == ("SUCCEEDED", {"a": 1})
    assert [made.operation for made in cloud.calls].count("Invoke") == 3


def test_exhausted_retries_end_in_the_catch_with_error_and_cause(cloud: Cloud, bench: Bench) -> None:
    cloud.faults.add(operation="Publish", error="InternalError", status=500, message="broken", times=None)
    states = {
        "Tell": sdk(
            "sns:publish",
            {"TopicArn": "arn:aws:sns:us-east-1:123456789012:t", "Message": "m"},
            Retry=[{"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 2}],
            Catch=[{"ErrorEquals": ["States.ALL"], "Assign": {"problem": "{% $states.errorOutput %}"}, "Next": "Stop"}],
        ),
        "Stop": {"Type": "Fail", "Error": "{% $problem.Error %}", "Cause": "{% 'So: ' & $problem.Cause %}"},
    }

    execution = bench.run(states)

    assert execution.error == "Sns.InternalErrorException"
    assert str(execution.cause).startswith("So: broken")
    assert [made.operation for made in cloud.calls].count("Publish") == 3


def test_a_task_acts_as_the_role_of_its_machine(cloud: Cloud, bench: Bench) -> None:
    bench.run({"Ask": sdk("sagemaker:listEndpoints", {})})

    assert [made.access_key for made in cloud.calls if made.operation == "ListEndpoints"] == ["machine-role"]
