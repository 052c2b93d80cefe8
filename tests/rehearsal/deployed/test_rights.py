"""The rehearsed account refuses what the deployed policies do not allow. That no run needs such a call, `project` asserts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from tests.doubles.rehearsal.deployed import DeployedProject


def answer(call: Callable[[], object]) -> tuple[str, int]:
    """The error's code and HTTP status; "done" where there is none."""
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return "done", 200


def test_each_service_refuses_in_its_own_words(refusing: DeployedProject) -> None:
    cloud, deployment = refusing.cloud, refusing.deployment
    # A role that may start a state machine, and nothing else.
    names: list[str] = [role["RoleName"] for role in cloud.client("iam").list_roles()["Roles"]]
    role = next(name for name in names if "SchedulerRole" in name)

    def of(service: str) -> Any:
        return cloud.client(service, role)

    s3, dynamodb, sagemaker, sns = (of(name) for name in ("s3", "dynamodb", "sagemaker", "sns"))
    runtime, functions, machines = (of(name) for name in ("sagemaker-runtime", "lambda", "stepfunctions"))
    key = {"id": {"S": "RUN#x"}}
    assert [
        answer(lambda: s3.put_object(Bucket=deployment.bucket, Key="x", Body=b"")),
        answer(lambda: s3.list_objects_v2(Bucket=deployment.bucket)),
        answer(lambda: sns.publish(TopicArn=deployment.topic, Message="x")),
        answer(lambda: functions.invoke(FunctionName=deployment.functions["preflight"])),
        answer(lambda: dynamodb.get_item(TableName=deployment.table, Key=key)),
        answer(lambda: sagemaker.delete_endpoint(EndpointName="captune-x")),
        answer(lambda: runtime.invoke_endpoint(EndpointName="captune-x", Body=b"{}")),
        answer(lambda: machines.start_execution(stateMachineArn=deployment.fine_tuning)),
        answer(lambda: machines.start_execution(stateMachineArn=deployment.tear_down, input="{}")),
    ] == [
        ("AccessDenied", 403),
        ("AccessDenied", 403),
        ("AuthorizationError", 403),
        *[("AccessDeniedException", status) for status in (403, 400, 400, 400, 400)],
        ("done", 200),
    ]
    assert len(cloud.refused) == 8
    assert cloud.refused[0] == f"{role}: s3:PutObject on arn:aws:s3:::{deployment.bucket}/x"
    cloud.settle()


def test_a_right_reaches_as_far_as_its_resources(refusing: DeployedProject) -> None:
    sagemaker = refusing.cloud.client("sagemaker", refusing.deployment.fine_tuning_role)

    assert answer(lambda: sagemaker.delete_endpoint(EndpointName="captune-x")) == ("ValidationException", 400)
    assert answer(lambda: sagemaker.delete_endpoint(EndpointName="others-x")) == ("AccessDeniedException", 400)
    # This machine may delete the model of the trial, and no other.
    assert answer(lambda: sagemaker.delete_model(ModelName="captune-x-try0")) == ("ValidationException", 400)
    assert answer(lambda: sagemaker.delete_model(ModelName="captune-x")) == ("AccessDeniedException", 400)


def test_a_condition_is_compared_with_the_request(refusing: DeployedProject) -> None:
    bucket, s3 = refusing.deployment.bucket, refusing.cloud.client("s3", refusing.deployment.fine_tuning_role)

    assert answer(lambda: s3.list_objects_v2(Bucket=bucket, Prefix="runs/one/training/"))[0] == "done"
    assert answer(lambda: s3.list_objects_v2(Bucket=bucket, Prefix="corpora/"))[0] == "AccessDenied"
    assert answer(lambda: s3.list_objects_v2(Bucket=bucket))[0] == "AccessDenied"
