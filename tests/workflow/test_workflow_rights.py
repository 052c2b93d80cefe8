"""The rehearsed account refuses what the deployed policies do not allow. That no run needs such a thing, each test here that uses `cloud` asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rehearsal.account.cloud import Cloud
from rehearsal.sagemaker.fake import FakeTraining, TrainingPlan


def test_an_aborted_run_and_its_sweeper_need_no_right_that_they_do_not_have(cloud: Cloud) -> None:
    cloud.reset(training=FakeTraining(TrainingPlan(outcome="hangs")))
    held = cloud.sagemaker.faults.add(operation="DescribeTrainingJob", by=cloud.machine_role, hang=True)
    execution = cloud.start({})
    assert held.reached.wait(60)
    cloud.events.drop_next()  # so that something is left to sweep
    cloud.stop(execution)
    held.release()
    cloud.settle()
    assert any(cloud.leftovers().values())

    cloud.clock.advance(minutes=16)  # beyond the sweeper's grace: before, it would have nothing to do
    cloud.events.fire_timed_rules()
    cloud.settle(timeout=120)

    assert cloud.deployment is not None
    (swept,) = cloud.executions.of(cloud.deployment.tear_down)
    assert (swept.input["reason"], swept.status) == ("sweeper", "SUCCEEDED"), swept.cause
    assert not any(cloud.leftovers().values())


@pytest.fixture
def refusing(cloud: Cloud) -> Iterator[Cloud]:
    """The account, of which these tests ask what it refuses."""
    yield cloud
    cloud.refused.clear()


def role_of(cloud: Cloud, part: str) -> str:
    names: list[str] = [role["RoleName"] for role in cloud.client("iam").list_roles()["Roles"]]
    return next(name for name in names if part in name)


def answer(call: Callable[[], object]) -> tuple[str, int]:
    """The error's code and HTTP status; "done" where there is none."""
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return "done", 200


def test_each_service_refuses_in_its_own_words(refusing: Cloud) -> None:
    cloud, deployment = refusing, refusing.deployment
    assert deployment is not None
    role = role_of(cloud, "SchedulerRole")  # which may start a state machine, and nothing else

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


def test_a_right_reaches_as_far_as_its_resources(refusing: Cloud) -> None:
    sagemaker = refusing.client("sagemaker", role_of(refusing, "FineTuningRole"))

    assert answer(lambda: sagemaker.delete_endpoint(EndpointName="captune-x")) == ("ValidationException", 400)
    assert answer(lambda: sagemaker.delete_endpoint(EndpointName="others-x")) == ("AccessDeniedException", 400)
    # Only what was made to be tried may be taken away again by this machine.
    assert answer(lambda: sagemaker.delete_model(ModelName="captune-x-try0")) == ("ValidationException", 400)
    assert answer(lambda: sagemaker.delete_model(ModelName="captune-x")) == ("AccessDeniedException", 400)


def test_a_condition_is_held_against_what_the_request_says(refusing: Cloud) -> None:
    assert refusing.deployment is not None
    bucket, s3 = refusing.deployment.bucket, refusing.client("s3", role_of(refusing, "FineTuningRole"))

    assert answer(lambda: s3.list_objects_v2(Bucket=bucket, Prefix="runs/one/training/"))[0] == "done"
    assert answer(lambda: s3.list_objects_v2(Bucket=bucket, Prefix="corpora/"))[0] == "AccessDenied"
    assert answer(lambda: s3.list_objects_v2(Bucket=bucket))[0] == "AccessDenied"
