"""What a run starts is what its plan says, which is what was reserved; and a deployment in its middle changes neither."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from common.names import run_name
from rehearsal.account.cloud import Cloud
from rehearsal.step_functions.executions import Execution

Rehearse = Callable[..., Execution]


def requests(cloud: Cloud, operation: str) -> list[dict[str, Any]]:
    return [dict(call.request) for call in cloud.calls if call.operation == operation]


def plan_of(cloud: Cloud, execution: Execution) -> dict[str, Any]:
    assert cloud.deployment is not None
    key = f"runs/{run_name(execution.name)}/plan.json"
    return dict(json.loads(cloud.client("s3").get_object(Bucket=cloud.deployment.bucket, Key=key)["Body"].read()))


def staged(cloud: Cloud, execution: Execution) -> list[str]:
    """What lies below the run's prefix of what a run is given."""
    assert cloud.deployment is not None
    prefix = f"runs/{run_name(execution.name)}/"
    found = cloud.client("s3").list_objects_v2(Bucket=cloud.deployment.bucket, Prefix=prefix).get("Contents", [])
    keys = [item["Key"].removeprefix(prefix) for item in found]
    return [key for key in keys if key == "plan.json" or key.startswith(("input/", "code/", "training/"))]


@contextmanager
def redeployed(cloud: Cloud, *functions: str) -> Iterator[Callable[[], None]]:
    """Gives what brings functions the variables of another deployment, and takes them away at the end."""
    assert cloud.deployment is not None
    client = cloud.client("lambda")
    names = [cloud.deployment.functions[function] for function in functions]
    kept = {name: client.get_function_configuration(FunctionName=name)["Environment"]["Variables"] for name in names}

    def update(**changed: str) -> None:
        for name, before in kept.items():
            client.update_function_configuration(FunctionName=name, Environment={"Variables": {**before, **changed}})
        cloud.functions.recycle()

    try:
        yield lambda: update(DEFINITION_VERSION="of another deployment")
    finally:
        update()


def test_job_and_endpoint_are_started_as_the_plan_says(cloud: Cloud, rehearse: Rehearse) -> None:
    execution = rehearse()

    training, hosting = (plan_of(cloud, execution)[part] for part in ("training", "hosting"))
    (job,) = requests(cloud, "CreateTrainingJob")
    assert job["ResourceConfig"] == {
        "InstanceType": training["instanceType"],
        "InstanceCount": training["instanceCount"],
        "VolumeSizeInGB": training["volumeSizeGb"],
    }
    assert job["StoppingCondition"] == {
        "MaxRuntimeInSeconds": training["maxRuntimeSeconds"],
        "MaxPendingTimeInSeconds": training["maxPendingSeconds"],
    }
    configurations = requests(cloud, "CreateEndpointConfig")
    assert len(configurations) == 2, "the trial and the real one"
    for (variant,) in (configuration["ProductionVariants"] for configuration in configurations):
        assert variant["InstanceType"] == hosting["instanceType"]
        assert variant["InitialInstanceCount"] == hosting["instanceCount"]
        assert variant["ModelDataDownloadTimeoutInSeconds"] == hosting["downloadSeconds"]
        assert variant["ContainerStartupHealthCheckTimeoutInSeconds"] == hosting["startSeconds"]


@pytest.mark.parametrize("function", ["preflight", "reserve"])
def test_a_run_that_meets_another_deployment_before_it_has_reserved_is_refused(
    cloud: Cloud, rehearse: Rehearse, function: str
) -> None:
    with redeployed(cloud, function) as deploy:
        deploy()
        execution = rehearse()

    assert (execution.status, execution.error) == ("FAILED", "DeployInProgress")
    assert "start a new execution" in str(execution.cause)
    created = [call.operation for call in cloud.sagemaker.calls if call.operation.startswith("Create")]
    assert created == []
    assert staged(cloud, execution) == []
    assert not any(cloud.leftovers().values())


def test_a_corpus_that_changes_after_the_reservation_ends_the_run_before_anything_is_copied(
    cloud: Cloud, rehearse: Rehearse
) -> None:
    assert cloud.deployment is not None
    bucket, s3 = cloud.deployment.bucket, cloud.client("s3")

    def change(call: Any) -> None:
        for item in s3.list_objects_v2(Bucket=bucket, Prefix="corpora/")["Contents"]:
            if item["Key"].endswith("-corpus.txt"):
                body = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
                s3.put_object(Bucket=bucket, Key=item["Key"], Body=body + b" One more sentence.")

    met = cloud.faults.add(operation="CreateSchedule", before=change)
    execution = rehearse()

    assert met.hits == 1
    assert (execution.status, execution.error) == ("FAILED", "DatasetChanged")
    assert "corpora/rehearsal-corpus.txt" in str(execution.cause)
    assert staged(cloud, execution) == []
    assert not any(cloud.leftovers().values())


def test_a_run_that_has_reserved_goes_on_through_a_deployment_as_it_was_planned(
    cloud: Cloud, rehearse: Rehearse
) -> None:
    with redeployed(cloud, "preflight", "reserve") as deploy:
        met = cloud.sagemaker.faults.add(operation="CreateTrainingJob", before=lambda call: deploy())
        execution = rehearse()

    assert met.hits == 1
    assert execution.status == "SUCCEEDED", execution.cause
    assert not any(cloud.leftovers().values())
