"""The project deployed with a chat model of the user's own and two instance types, trained on records. No licence is accepted."""

import json
from collections.abc import Iterator

import pytest

from common.contracts import run_folder
from common.names import run_name
from tests.doubles.rehearsal.deployed import DeployedProject, deployed_project, shared_assembly
from tests.doubles.texts import conversations, lines

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


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedProject]:
    """The project in an account that knows both instance types."""
    prices = {FIRST: "1.515", SECOND: "1.222"}
    folder, assembly = tmp_path_factory.mktemp("account"), shared_assembly(tmp_path_factory, **SETTINGS)
    with deployed_project(folder, assembly, prices=prices) as project:
        yield project


def test_conversations_are_trained_and_served_on_the_second_type(project: DeployedProject) -> None:
    """Whole groups are held out, each held-out record is a prompt with its reference, and both models answered it."""
    project.cloud.sagemaker.market.without_capacity = {FIRST}
    for name, body in FILES.items():
        project.cloud.client("s3").put_object(Bucket=BUCKET, Key=FOLDER + name, Body=body)
    corpus = f"{run_folder.CORPORA}talks.jsonl"
    project.put(corpus, lines(conversations(40)))

    execution = project.run(corpus=corpus)

    assert execution.status == "SUCCEEDED", execution.cause
    run = run_name(execution.name)
    training, held_out = (
        [json.loads(line) for line in project.read(run_folder.key(run, path)).splitlines()]
        for path in (run_folder.RECORDS, run_folder.HELD_OUT)
    )
    assert not {one["group"] for one in training} & {one["group"] for one in held_out}
    summary = project.document(execution, f"{run_folder.REPORT}{run_folder.SUMMARY}")
    assert len(summary["prompts"]) == len(held_out) == 10
    assert all(row["reference"] and row["base"]["greedy"] != row["tuned"]["greedy"] for row in summary["prompts"])
    routes = {request["CustomAttributes"] for request in project.requests("InvokeEndpoint")}
    assert routes == {"route=/v1/chat/completions"}
    (job,), models = project.requests("CreateTrainingJob"), project.requests("CreateModel")
    assert [one["InstanceType"] for one in job["ResourceConfig"]["InstancePreferences"]] == [FIRST, SECOND]
    sources = [job["InputDataConfig"][0]["DataSource"]["S3DataSource"]]
    sources += [model["PrimaryContainer"]["ModelDataSource"]["S3DataSource"] for model in models]
    assert {source["S3Uri"] for source in sources} == {URI}
    assert not any("ModelAccessConfig" in source for source in sources)
    assert {model["PrimaryContainer"]["Environment"]["SM_VLLM_MAX_MODEL_LEN"] for model in models} == {"2048"}
    item = project.ledger_item(execution)
    assert item["training_prices"] == f"{FIRST}=1.515 {SECOND}=1.222"
    assert [life["instanceType"] for life in json.loads(item["endpoint_seen"])["lives"]] == [SECOND]
    configuration = summary["configuration"]
    assert (configuration["training_instance_type"], configuration["hosting_instance_type"]) == (SECOND, SECOND)
    assert project.nothing_left()
