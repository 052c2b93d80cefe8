"""A run on weights of the user's own: no licence is asked for, nothing beside the folder may be read, and it ends as every run does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rehearsal.account.cloud import Cloud
from rehearsal.aws_lambda.fork_server import ForkServer
from rehearsal.conductor.materials import upload
from rehearsal.conductor.options import Options
from rehearsal.step_functions.executions import Execution
from tests.doubles.rehearsal.deployed import deployed, emptied

PROJECT = Path(__file__).parents[2]
URI, BUCKET, FOLDER = "s3://mine/models/tiny/", "mine", "models/tiny/"
CONFIGURATION = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 400, "max_position_embeddings": 2048,
}  # fmt: skip
FILES = {
    "config.json": json.dumps(CONFIGURATION).encode(),
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "model.safetensors.index.json": b'{"weight_map": {"one": "model.safetensors"}}',
    "model.safetensors": bytes(2 * 125_248),
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServer) -> Iterator[Cloud]:
    """An account in which the stacks are deployed with weights of the user's own, and without a licence accepted."""
    with deployed(tmp_path_factory.mktemp("own"), {"weights_uri": URI}, fork_server) as cloud:
        yield cloud


@pytest.fixture
def cloud(own: Cloud) -> Iterator[Cloud]:
    """The account without any trace of an earlier test."""
    yield from emptied(own)


def rehearse(cloud: Cloud, files: dict[str, bytes]) -> Execution:
    """A run to its end and that of its tear-down, with these files in the folder of the weights and no others."""
    s3 = cloud.client("s3")
    for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=entry["Key"])
    for name, content in files.items():
        s3.put_object(Bucket=BUCKET, Key=FOLDER + name, Body=content)
    execution = cloud.start({**upload(cloud, Options(project=PROJECT, quick=True), "medical"), "samplesPerPrompt": 0})
    cloud.settle(execution, timeout=120)
    return execution


def sources(cloud: Cloud, operation: str) -> list[dict[str, Any]]:
    """What the calls of an operation so far read the model from."""
    requests = [call.request for call in cloud.calls if call.operation == operation]
    if operation == "CreateModel":
        return [request["PrimaryContainer"]["ModelDataSource"]["S3DataSource"] for request in requests]
    return [
        channel["DataSource"]["S3DataSource"]
        for request in requests
        for channel in request["InputDataConfig"]
        if channel["ChannelName"] == "model"
    ]


def test_training_and_hosting_read_the_folder_and_no_licence_is_named(cloud: Cloud) -> None:
    execution = rehearse(cloud, FILES)

    assert execution.status == "SUCCEEDED", execution.cause
    for operation, times in (("CreateTrainingJob", 1), ("CreateModel", 2)):
        found = sources(cloud, operation)
        assert len(found) == times
        assert {source["S3Uri"] for source in found} == {URI}
        assert not any("ModelAccessConfig" in source for source in found)
    (served,) = {
        call.request["PrimaryContainer"]["Environment"]["SM_VLLM_MAX_MODEL_LEN"]
        for call in cloud.calls
        if call.operation == "CreateModel"
    }
    assert served == "2048"
    assert not any(cloud.leftovers().values())


def test_a_folder_that_holds_no_model_ends_the_run_before_anything_is_paid(cloud: Cloud) -> None:
    execution = rehearse(cloud, {name: content for name, content in FILES.items() if name != "tokenizer.json"})

    assert (execution.status, execution.error) == ("FAILED", "WeightsRejected")
    assert "there is no tokenizer" in str(execution.cause)
    assert not {"CreateTrainingJob", "CreateModel"} & {call.operation for call in cloud.calls}


def test_who_may_list_one_folder_alone_is_not_told_that_an_object_of_it_is_missing(cloud: Cloud) -> None:
    rehearse(cloud, FILES)
    roles = [role["RoleName"] for role in cloud.client("iam").list_roles()["Roles"]]
    s3 = cloud.client("s3", next(name for name in roles if "PreflightRole" in name))

    assert s3.get_object(Bucket=BUCKET, Key=f"{FOLDER}tokenizer.json")["Body"].read() == FILES["tokenizer.json"]
    cloud.client("s3").delete_object(Bucket=BUCKET, Key=f"{FOLDER}tokenizer.json")
    with pytest.raises(ClientError) as refusal:
        s3.get_object(Bucket=BUCKET, Key=f"{FOLDER}tokenizer.json")
    assert refusal.value.response["Error"]["Code"] == "AccessDenied"
