"""The FineTuning stack: the Lambdas, two state machines, the result topic, the dashboard and the outputs."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from preflight import checks
from preflight.account import quotas
from preflight.prompts import prompt_file
from stacks.configuration.catalog import BASE_MODELS
from stacks.configuration.images import hosting_image, training_image
from stage import copying
from tests.doubles.machines.stacks_bench import Stacks, synthesize

SIZES = {
    "preflight": (1769, 180),
    "reserve": (256, 30),
    "stage": (1769, 240),
    "ask": (512, 900),
    "report": (2048, 900),
    "teardown": (256, 300),
    "settle": (256, 120),
    "finish": (2048, 300),
    "sweeper": (256, 600),
}


def functions(stacks: Stacks) -> dict[str, dict[str, Any]]:
    found = stacks.resources("FineTuning", "AWS::Lambda::Function").values()
    return {entry["Properties"]["Handler"].split(".")[0]: entry["Properties"] for entry in found}


def test_the_functions_are_of_the_agreed_size_and_time(stacks: Stacks) -> None:
    assert {name: (f["MemorySize"], f["Timeout"]) for name, f in functions(stacks).items()} == SIZES
    assert {f["Handler"] for f in functions(stacks).values()} == {f"{name}.handler.handle" for name in SIZES}


def test_reading_prompts_and_corpus_leaves_time_for_what_comes_before_and_after() -> None:
    # Ten seconds for what AWS is asked, ten for the comparison with held-out text; StageInput writes in place of the former.
    reading = {"preflight": checks.READ_SECONDS, "stage": copying.READ_SECONDS}
    for name, seconds in reading.items():
        assert seconds + 20 <= SIZES[name][1]
        assert seconds > prompt_file.PARSE_SECONDS
    assert checks.READ_SECONDS - quotas.ASKING_SECONDS > 2 * 50, (
        "what a text of 1 GB takes of a core, and as much for the way from S3"
    )
    assert reading["stage"] > reading["preflight"], "what Preflight has read in time can be read again in time"


def test_every_function_is_current_traced_and_logs_json_for_a_month(stacks: Stacks) -> None:
    groups = stacks.resources("FineTuning", "AWS::Logs::LogGroup")
    for function in functions(stacks).values():
        assert (function["Runtime"], function["Architectures"]) == ("python3.14", ["arm64"])
        assert function["TracingConfig"] == {"Mode": "Active"}
        assert function["LoggingConfig"]["LogFormat"] == "JSON"
        assert function["LoggingConfig"]["LogGroup"]["Ref"] in groups
    assert {group["Properties"]["RetentionInDays"] for group in groups.values()} == {30}
    assert {group["DeletionPolicy"] for group in groups.values()} == {"Delete"}


def test_all_functions_share_one_asset_without_compiled_files(stacks: Stacks) -> None:
    keys = {function["Code"]["S3Key"] for function in functions(stacks).values()}
    assert len(keys) == 1
    folder = stacks.folder / f"asset.{keys.pop().removesuffix('.zip')}"
    assert (folder / "common" / "ledger" / "ledger.py").is_file()
    assert not [path for path in folder.rglob("*") if "__pycache__" in path.parts or path.suffix == ".pyc"]


def test_preflight_knows_the_settings_and_the_facts_of_the_base_model() -> None:
    stacks = synthesize("accept_eula=true", "epochs=5", "base_model=llama-2-7b-chat", "region=eu-west-1")
    settings = json.loads(functions(stacks)["preflight"]["Environment"]["Variables"]["SETTINGS_JSON"])
    assert settings.pop("base_model") == {
        "id": "llama-2-7b-chat",
        "name": "Llama 2 7B Chat",
        "parameters": 6_738_415_616,
        "weights_uri": "s3://jumpstart-private-cache-prod-eu-west-1/meta-textgeneration/meta-textgeneration-llama-2-7b-f/"
        "artifacts/inference-prepack/v1.1.0/",
        "own_weights": False,
        "requires_eula": True,
        "licensor": "Meta",
        "eula_uri": "s3://jumpstart-cache-prod-eu-west-1/fmhMetadata/eula/llamaEula.txt",
        "served_tokens": 4096,
        "has_chat_template": True,
        "shape": dataclasses.asdict(BASE_MODELS["llama-2-7b"].shape),
    }
    assert settings == {
        "region": "eu-west-1",
        "domain": "medical",
        "training_instance_types": ["ml.g5.2xlarge"],
        "hosting_instance_types": ["ml.g5.2xlarge"],
        "training_instance_count": 1,
        "training_image": training_image("eu-west-1").uri,
        "hosting_image": hosting_image("eu-west-1").uri,
        "lora_rank": 16,
        "epochs": 5,
        "max_training_seconds": 7200,
        "endpoint_deadline_minutes": 60,
        "accept_eula": True,
        "samples_per_prompt": 2,
        "seed": 42,
        "sequence_length": 512,
        "learning_rate": "auto",
        "adapter_strength": 0.6,
        "corpus_words": 0,
        "long_records": "split",
        "document_order": "auto",
        "spot": False,
        "checkpoint_minutes": 10,
        "accept_lost_ledger": "",
    }


def test_the_cap_reaches_the_functions_in_cents() -> None:
    variables = {n: f["Environment"]["Variables"] for n, f in functions(synthesize("budget_usd=7")).items()}
    assert {name for name, values in variables.items() if values.get("CAP_CENTS") == "700"} == {
        "preflight",
        "reserve",
        "settle",
    }


def test_only_the_sweeper_is_called_asynchronously_so_only_it_has_a_dead_letter_queue(stacks: Stacks) -> None:
    assert {name for name, function in functions(stacks).items() if "DeadLetterConfig" in function} == {"sweeper"}


@pytest.mark.parametrize(
    ("machine", "name"), [("FineTuning", "captune-fine-tuning"), ("TearDown", "captune-tear-down")]
)
def test_both_machines_are_standard_traced_and_log_everything(stacks: Stacks, machine: str, name: str) -> None:
    properties = stacks.one("FineTuning", "AWS::StepFunctions::StateMachine", machine)
    assert (properties["StateMachineName"], properties["StateMachineType"]) == (name, "STANDARD")
    assert properties["TracingConfiguration"] == {"Enabled": True}
    logging = properties["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ALL", True)
    (destination,) = logging["Destinations"]
    group, attribute = destination["CloudWatchLogsLogGroup"]["LogGroupArn"]["Fn::GetAtt"]
    assert attribute == "Arn"
    kept = stacks.resources("FineTuning", "AWS::Logs::LogGroup")[group]["Properties"]
    assert (kept["LogGroupName"], kept["RetentionInDays"]) == (f"/aws/vendedlogs/states/{name}", 30)


def test_the_images_instances_and_weights_are_those_of_the_region(stacks: Stacks) -> None:
    values = stacks.one("FineTuning", "AWS::StepFunctions::StateMachine", "FineTuning")["DefinitionSubstitutions"]
    registry = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
    image = f"{registry}/huggingface-pytorch-training:2.9.0-transformers5.3.0-gpu-py312-cu130-ubuntu22.04"
    assert values["TrainingImage"] == image
    assert values["HostingImage"] == f"{registry}/vllm:server-sagemaker-cuda-v2.4"
    assert values["InferenceAmiVersion"] == "al2023-ami-sagemaker-inference-gpu-4-1"
    assert (
        values["WeightsUri"].startswith("s3://jumpstart-private-cache-prod-us-east-1/")
        and values["WeightsUri"][-1] == "/"
    )
    assert (values["LoraRank"], values["MaxConcurrentRequests"]) == ("16", "64")


@pytest.mark.parametrize(("email", "subscribers"), [("", []), ("owner@example.org", ["owner@example.org"])])
def test_results_go_by_email_only_where_an_address_is_given(email: str, subscribers: list[str]) -> None:
    stacks = synthesize(f"alert_email={email}")
    found = stacks.resources("FineTuning", "AWS::SNS::Subscription").values()
    assert [entry["Properties"]["Endpoint"] for entry in found] == subscribers


def test_every_topic_refuses_messages_without_tls(stacks: Stacks) -> None:
    for name, topics in (("FineTuning", 1), ("Guardrail", 2)):
        policies = stacks.resources(name, "AWS::SNS::TopicPolicy").values()
        assert len(policies) == len(stacks.resources(name, "AWS::SNS::Topic")) == topics
        for policy in policies:
            denied = [s for s in policy["Properties"]["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
            assert denied and denied[0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_the_dashboard_shows_dollars_runs_gpu_and_endpoint(stacks: Stacks) -> None:
    body = json.dumps(stacks.one("FineTuning", "AWS::CloudWatch::Dashboard")["DashboardBody"])
    for shown in ("CommittedCents", "ActualCents", "CapCents", "ExecutionsFailed", "GPUUtilization", "Invocations"):
        assert shown in body


def test_the_outputs_say_where_to_click_what_to_type_and_where_to_look(stacks: Stacks) -> None:
    outputs = {**stacks.template("FineTuning")["Outputs"], **stacks.template("Storage")["Outputs"]}
    assert {
        "StateMachineConsole", "StartCommand", "FineTuningArn", "TearDownArn", "BucketName", "ReportPrefix", "LedgerTable",
        "FineTuningRoleName", "ResultTopicArn", "DashboardConsole",
    } <= set(outputs)  # fmt: skip
    command = "".join(
        part if isinstance(part, str) else "ARN" for part in outputs["StartCommand"]["Value"]["Fn::Join"][1]
    )
    assert command == "aws stepfunctions start-execution --region us-east-1 --state-machine-arn ARN --input '{}'"


def test_everything_that_can_carry_a_tag_carries_the_project(stacks: Stacks) -> None:
    tag = {"Key": "project", "Value": "captune"}
    taggable = ("AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::Lambda::Function", "AWS::IAM::Role", "AWS::SNS::Topic",
                "AWS::SQS::Queue", "AWS::Logs::LogGroup", "AWS::StepFunctions::StateMachine")  # fmt: skip
    for name in ("Storage", "FineTuning", "Guardrail"):
        for key, entry in stacks.template(name)["Resources"].items():
            if entry["Type"] in taggable:
                assert tag in entry["Properties"].get("Tags", []), key
