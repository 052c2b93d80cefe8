"""Runs of the deployed project: the usual one, an endpoint that is kept, and calls that the deployed policies refuse.

What fails in a state is told by the table of failures. That no run needs a call that is refused, `project` asserts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from captune import limits, serving
from captune.account import Refused
from common.contracts import run_folder
from common.errors import BudgetExceeded
from common.names import run_name
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining
from rehearsal.step_functions.executions import Execution
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.rehearsal.deployed import DeployedProject
from verification.simulation import material


@pytest.fixture(scope="class")
def run(deployed: DeployedProject) -> Execution:
    """The usual run in an emptied account, at its end and that of its TearDown."""
    deployed.cloud.reset(training=FakeTraining(), hosting=FakeHosting())
    return deployed.run()


class TestUsualRun:
    """What one run leaves. Tests of a class are not mixed with others, which empty the account."""

    def test_a_usual_run_succeeds_and_leaves_nothing(self, deployed: DeployedProject, run: Execution) -> None:
        assert run.status == "SUCCEEDED", run.cause
        tear_down = deployed.tear_downs()[0]
        assert tear_down.status == "SUCCEEDED", tear_down.cause
        assert tear_down.input == {
            "executionArn": run.arn, "executionName": run.name, "status": "SUCCEEDED", "reason": "event",
        }  # fmt: skip
        assert deployed.nothing_left()

    def test_it_answers_the_open_questions_of_a_run(self, deployed: DeployedProject, run: Execution) -> None:
        evidence = limits.read_evidence(deployed.cloud.client, deployed.deployment.bucket, run_name(run.name))
        lines = [line.split(" | ") for line in limits.table(evidence).splitlines() if line.startswith("| ")]
        said = {row.removeprefix("| "): text for row, text in lines}
        assert "adapter_model.safetensors" in evidence.adapter
        assert said["SageMaker accepts JumpStart's gated *hosting* weights"].startswith(
            "downloaded; the job is Completed"
        )
        assert said["vLLM's GPU build"].endswith("s and both models answered |")
        assert "s reserved" in said["whether `MaxRuntimeInSeconds`"]

    def test_an_adapter_is_served_again_without_training(self, deployed: DeployedProject, run: Execution) -> None:
        def served() -> str:
            container = deployed.requests("CreateModel")[-1]["PrimaryContainer"]
            return str(container["AdditionalModelDataSources"][0]["S3DataSource"]["S3Uri"])

        uri = served()

        second = deployed.run(adapterUri=uri)

        assert second.status == "SUCCEEDED", second.cause
        assert len(deployed.requests("CreateTrainingJob")) == 1
        assert served() == uri
        old, new = (deployed.document(one, f"{run_folder.REPORT}{run_folder.SUMMARY}") for one in (run, second))
        assert new["heldout"]["tuned_loss"] == old["heldout"]["tuned_loss"]
        assert new["cost"]["training_cents"] == 0 < old["cost"]["training_cents"]
        assert deployed.nothing_left()


def test_an_endpoint_is_started_kept_for_longer_and_ended(project: DeployedProject) -> None:
    cloud, deployed = project.cloud, project.deployment
    for key, content in material.earlier(deployed.weights_uri).items():
        project.put(key, content)

    def deployment(cap_cents: int = 2500) -> serving.Deployment:
        names = deployed.bucket, deployed.table, deployed.fine_tuning, deployed.tear_down
        return serving.Deployment(cloud.client, *names, cap_cents)

    run = serving.serve(deployment(), "captune-earlier", 60)["run"]
    (execution,) = cloud.executions.of_machine(deployed.fine_tuning)
    assert run_name(execution.name) == run
    with pytest.raises(Refused, match="serves this adapter already"):
        serving.serve(deployment(), "captune-earlier", 60)
    cloud.settle(execution, timeout=PATIENCE_SECONDS)
    assert execution.status == "SUCCEEDED" and cloud.leftovers()["endpoints"] == [run]
    kept = project.ledger_item(execution)
    reserved = int(kept["reserved_cents"])

    found = serving.extend(deployment(), run, 30, cloud.clock())
    assert found["reservedCents"] == reserved + found["moreCents"] and 70 < found["moreCents"] < 90
    schedule = cloud.client("scheduler").get_schedule(Name=run)
    assert schedule["ScheduleExpression"] == f"at({found['keepUntil'].removesuffix('+00:00')})"
    with pytest.raises(BudgetExceeded, match="The longer stay"):
        serving.extend(deployment(cap_cents=found["reservedCents"] + 150), run, 60, cloud.clock())
    assert int(project.ledger_item(execution)["reserved_cents"]) == found["reservedCents"]

    serving.stop(deployment(), run, cloud.clock())
    cloud.settle(timeout=PATIENCE_SECONDS)
    assert project.nothing_left()
    settled = project.ledger_item(execution)
    assert settled["state"] == "settled" and 0 < int(settled["actual_cents"]) < reserved
    with pytest.raises(Refused):
        serving.stop(deployment(), run, cloud.clock())
    # Its number is used, so the next one has another.
    assert serving.serve(deployment(), "captune-earlier", 60)["run"] == "captune-serve-earlier-2"
    cloud.settle(timeout=PATIENCE_SECONDS)
    serving.stop(deployment(), "captune-serve-earlier-2", cloud.clock())
    cloud.settle(timeout=PATIENCE_SECONDS)
    assert project.nothing_left()


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


def test_a_condition_is_compared_with_the_request(refusing: DeployedProject) -> None:
    bucket, s3 = refusing.deployment.bucket, refusing.cloud.client("s3", refusing.deployment.fine_tuning_role)

    assert answer(lambda: s3.list_objects_v2(Bucket=bucket, Prefix="runs/one/training/"))[0] == "done"
    assert answer(lambda: s3.list_objects_v2(Bucket=bucket, Prefix="corpora/"))[0] == "AccessDenied"
    assert answer(lambda: s3.list_objects_v2(Bucket=bucket))[0] == "AccessDenied"
