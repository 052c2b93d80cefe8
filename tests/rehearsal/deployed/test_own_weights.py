"""The project deployed with a chat model of the user's own and two instance types, trained on records. No licence is accepted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.contracts import run_folder
from common.names import run_name
from rehearsal.sagemaker.market import Quota
from rehearsal.step_functions.executions import Execution
from tests.doubles.rehearsal.deployed import DeployedProject, deployed_project, shared_assembly
from tests.doubles.texts.made_up_records import conversations, lines, pairs, table

pytestmark = pytest.mark.thorough

FIRST, SECOND = "ml.g5.2xlarge", "ml.g6.2xlarge"
TYPES = f"{FIRST},{SECOND}"
URI, BUCKET, FOLDER = "s3://mine/models/tiny/", "mine", "models/tiny/"
SETTINGS = {
    "base_model": "llama-2-7b-chat", "weights_uri": URI, "training_instance_type": TYPES, "hosting_instance_type": TYPES,
}  # fmt: skip
CONFIGURATION = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 400, "max_position_embeddings": 2048,
}  # fmt: skip
FILES = {
    "config.json": json.dumps(CONFIGURATION).encode(),
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b'{"chat_template": "{{ messages }}"}',
    "model.safetensors.index.json": b'{"weight_map": {"one": "model.safetensors"}}',
    "model.safetensors": bytes(2 * 125_248),
}
COLUMNS = {"prompt": "question", "completion": "answer", "group": "patient"}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedProject]:
    """The project in an account that knows both instance types."""
    quotas = {
        "L-G6T": Quota(f"{SECOND} for training job usage", 1.0),
        "L-G6E": Quota(f"{SECOND} for endpoint usage", 1.0),
    }
    prices = {FIRST: "1.515", SECOND: "1.222"}
    folder, assembly = tmp_path_factory.mktemp("account"), shared_assembly(tmp_path_factory, **SETTINGS)
    with deployed_project(folder, assembly, quotas=quotas, prices=prices) as project:
        yield project


def run_on(project: DeployedProject, files: dict[str, bytes], corpus: str, content: bytes, **more: Any) -> Execution:
    """A run on records, with these files in the folder of the weights and no others."""
    s3 = project.cloud.client("s3")
    for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=entry["Key"])
    for name, body in files.items():
        s3.put_object(Bucket=BUCKET, Key=FOLDER + name, Body=body)
    project.put(run_folder.CORPORA + corpus, content)
    return project.run(corpus=run_folder.CORPORA + corpus, **more)


def model_sources(project: DeployedProject) -> list[dict[str, Any]]:
    """Where the training job and each model read the weights from."""
    channels = [one for request in project.requests("CreateTrainingJob") for one in request["InputDataConfig"]]
    read = [channel["DataSource"]["S3DataSource"] for channel in channels if channel["ChannelName"] == "model"]
    models = [request["PrimaryContainer"]["ModelDataSource"] for request in project.requests("CreateModel")]
    return read + [model["S3DataSource"] for model in models]


def instance_types(project: DeployedProject) -> tuple[list[str], list[str]]:
    """The instance types that were tried for training and for the endpoint, in their order; the trial apart."""
    jobs = [request["ResourceConfig"]["InstanceType"] for request in project.requests("CreateTrainingJob")]
    configurations = [
        request
        for request in project.requests("CreateEndpointConfig")
        if not request["EndpointConfigName"].endswith("-try0")
    ]
    return jobs, [request["ProductionVariants"][0]["InstanceType"] for request in configurations]


def records(project: DeployedProject, execution: Execution, path: str) -> list[dict[str, Any]]:
    """The records that were staged for a run."""
    content = project.read(run_folder.key(run_name(execution.name), path))
    return [json.loads(line) for line in content.splitlines()]


def check_records(project: DeployedProject, execution: Execution, count: int, route: str) -> None:
    """Whole groups are held out, each held-out record is a prompt with its reference, and both models answered it."""
    training = records(project, execution, run_folder.RECORDS)
    held_out = records(project, execution, run_folder.HELD_OUT)
    assert not {one["group"] for one in training} & {one["group"] for one in held_out}
    summary = project.document(execution, f"{run_folder.REPORT}{run_folder.SUMMARY}")
    assert len({one["group"] for one in held_out}) == 10
    assert len(summary["prompts"]) == len(held_out) == count
    assert all(row["reference"] and row["base"]["greedy"] != row["tuned"]["greedy"] for row in summary["prompts"])
    assert {request["CustomAttributes"] for request in project.requests("InvokeEndpoint")} == {f"route={route}"}


def test_a_table_is_trained_and_served_on_the_first_type(project: DeployedProject) -> None:
    content = table(pairs(40, groups=20), **COLUMNS)

    execution = run_on(project, FILES, "table.csv", content, columns=COLUMNS)

    assert execution.status == "SUCCEEDED", execution.cause
    check_records(project, execution, 20, "/v1/completions")
    assert instance_types(project) == ([FIRST], [FIRST])
    assert project.ledger_item(execution)["training_prices"] == f"{FIRST}=1.515 {SECOND}=1.222"
    sources = model_sources(project)
    assert [source["S3Uri"] for source in sources] == [URI] * 3
    assert not any("ModelAccessConfig" in source for source in sources)
    for model in project.requests("CreateModel"):
        assert model["PrimaryContainer"]["Environment"]["SM_VLLM_MAX_MODEL_LEN"] == "2048"
    assert project.nothing_left()


def test_conversations_are_trained_and_served_on_the_second_type(project: DeployedProject) -> None:
    project.cloud.sagemaker.market.without_capacity = {FIRST}

    execution = run_on(project, FILES, "talks.jsonl", lines(conversations(40)))

    assert execution.status == "SUCCEEDED", execution.cause
    check_records(project, execution, 10, "/v1/chat/completions")
    assert instance_types(project) == ([FIRST, SECOND], [FIRST, SECOND])
    item = project.ledger_item(execution)
    assert (item["endpoint_2_instance_type"], "endpoint_1_instance_type" in item) == (SECOND, False)
    configuration = project.document(execution, f"{run_folder.REPORT}{run_folder.SUMMARY}")["configuration"]
    assert (configuration["training_instance_type"], configuration["hosting_instance_type"]) == (SECOND, SECOND)
    assert project.nothing_left()


def test_a_folder_without_a_tokenizer_is_refused_before_training(project: DeployedProject) -> None:
    files = {name: content for name, content in FILES.items() if name != "tokenizer.json"}

    execution = run_on(project, files, "pairs.jsonl", lines(pairs(40)))

    assert (execution.status, execution.error) == ("FAILED", "WeightsRejected")
    assert "tokenizer" in str(execution.cause)
    assert model_sources(project) == []


def test_a_missing_object_is_denied_without_a_right_to_list(refusing: DeployedProject) -> None:
    """S3 says that an object is missing only to a role that may list the whole bucket."""
    refusing.cloud.client("s3").put_object(Bucket=BUCKET, Key=f"{FOLDER}config.json", Body=b"{}")
    s3 = refusing.cloud.client("s3", refusing.role_of("preflight"))

    assert s3.get_object(Bucket=BUCKET, Key=f"{FOLDER}config.json")["Body"].read() == b"{}"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.get_object(Bucket=BUCKET, Key=f"{FOLDER}missing.json")
