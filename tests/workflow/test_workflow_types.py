"""Two instance types in order of preference: the next one is tried where AWS has none of the first, and what it cost is booked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.names import run_name
from rehearsal.account.cloud import Cloud
from rehearsal.aws_lambda.fork_server import ForkServer
from rehearsal.conductor.materials import upload
from rehearsal.conductor.options import Options
from rehearsal.sagemaker import Quota
from rehearsal.step_functions.executions import Execution
from tests.doubles.rehearsal.deployed import deployed, emptied

PROJECT = Path(__file__).parents[2]
FIRST, SECOND = "ml.g5.2xlarge", "ml.g6.2xlarge"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServer) -> Iterator[Cloud]:
    both = f"{FIRST},{SECOND}"
    settings = {"accept_eula": "true", "training_instance_type": both, "hosting_instance_type": both}
    quotas = {
        "L-G6T": Quota(f"{SECOND} for training job usage", 1.0),
        "L-G6E": Quota(f"{SECOND} for endpoint usage", 1.0),
    }
    prices = {FIRST: "1.515", SECOND: "1.222"}
    folder = tmp_path_factory.mktemp("types")
    with deployed(folder, settings, fork_server, quotas=quotas, prices=prices) as cloud:
        yield cloud


@pytest.fixture
def cloud(account: Cloud) -> Iterator[Cloud]:
    yield from emptied(account)


def rehearse(cloud: Cloud) -> Execution:
    execution = cloud.start({**upload(cloud, Options(project=PROJECT, quick=True), "medical"), "samplesPerPrompt": 0})
    cloud.settle(execution, timeout=120)
    return execution


def tried(cloud: Cloud, operation: str) -> list[str]:
    """The instance types that were asked for, in their order, the trial apart."""
    requests: list[Any] = [call.request for call in cloud.calls if call.operation == operation]
    if operation == "CreateTrainingJob":
        return [request["ResourceConfig"]["InstanceType"] for request in requests]
    real = [request for request in requests if not request["EndpointConfigName"].endswith("-try0")]
    return [request["ProductionVariants"][0]["InstanceType"] for request in real]


def item(cloud: Cloud, execution: Execution) -> dict[str, Any]:
    assert cloud.deployment is not None
    key = {"pk": {"S": f"RUN#{run_name(execution.name)}"}}
    row = cloud.client("dynamodb").get_item(TableName=cloud.deployment.table, Key=key)["Item"]
    return {name: next(iter(value.values())) for name, value in row.items()}


def test_with_capacity_the_first_type_serves_and_the_dearest_is_reserved(cloud: Cloud) -> None:
    execution = rehearse(cloud)

    assert execution.status == "SUCCEEDED", execution.cause
    assert tried(cloud, "CreateTrainingJob") == tried(cloud, "CreateEndpointConfig") == [FIRST]
    assert item(cloud, execution)["training_prices"] == f"{FIRST}=1.515 {SECOND}=1.222"


def test_without_capacity_of_the_first_the_second_trains_and_serves(cloud: Cloud) -> None:
    cloud.sagemaker.market.without_capacity = {FIRST}

    execution = rehearse(cloud)

    assert execution.status == "SUCCEEDED", execution.cause
    assert tried(cloud, "CreateTrainingJob") == tried(cloud, "CreateEndpointConfig") == [FIRST, SECOND]
    tried_last = item(cloud, execution)
    assert (tried_last["endpoint_2_instance_type"], "endpoint_1_instance_type" in tried_last) == (SECOND, False)
    (report,) = [call.request for call in cloud.calls if call.operation == "Invoke" and "reservation" in call.request]
    assert (report["trainingInstanceType"], report["hostingInstanceType"]) == (SECOND, SECOND)
    assert not any(cloud.leftovers().values())


def test_without_capacity_of_either_the_run_ends_by_name_and_both_are_named(cloud: Cloud) -> None:
    cloud.sagemaker.market.without_capacity = {FIRST, SECOND}

    execution = rehearse(cloud)

    assert (execution.status, execution.error) == ("FAILED", "NoCapacity")
    assert f"no free {FIRST} or {SECOND} for training in 3 attempts" in str(execution.cause)
    assert tried(cloud, "CreateTrainingJob") == [FIRST, SECOND, FIRST]
    assert item(cloud, execution)["training_cents"] == "0"
