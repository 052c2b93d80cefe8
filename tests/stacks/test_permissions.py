"""Least privilege in both directions: nobody may do what nobody does, and everybody may do what they do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stacks.access.permissions import EVERYWHERE
from tests.doubles.machines.lambda_calls import aws_actions, variables
from tests.doubles.machines.stacks_bench import Stacks, Statement, actions, as_list, synthesize

pytestmark = pytest.mark.slow  # templates of settings of their own

FUNCTIONS = {
    "preflight": "Preflight",
    "reserve": "Reserve",
    "stage": "Stage",
    "ask": "Ask",
    "report": "Report",
    "teardown": "TearDown",
    "settle": "Settle",
    "finish": "Finish",
    "sweeper": "Sweeper",
}
# What a function needs beside the calls in its source, because Lambda makes them in its name.
RUNTIME = {"logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"}

# An S3 operation and the action that allows it have different names.
_NAMED_OTHERWISE = {"s3:ListObjectsV2": "s3:ListBucket"}


def function_statements(stacks: Stacks, function: str) -> list[Statement]:
    answer: list[Any] = stacks.statements(f"Functions{FUNCTIONS[function]}Role")
    return answer


def machine_statements(stacks: Stacks, machine: str) -> list[Statement]:
    role = stacks.one("FineTuning", "AWS::StepFunctions::StateMachine", machine)["RoleArn"]["Fn::GetAtt"][0]
    answer: list[Any] = stacks.statements(role)
    return answer


def calls_of(stacks: Stacks, machine: str) -> set[str]:
    """The IAM actions behind the Task states of a machine."""
    text = stacks.one("FineTuning", "AWS::StepFunctions::StateMachine", machine)["DefinitionString"]
    found = set()
    for resource in resources_in(json.loads(text)):
        parts = resource.split(":")[5:]  # arn:aws:states:::aws-sdk:sagemaker:createModel
        if parts[0] == "lambda":
            found.add("lambda:InvokeFunction")
        else:
            found.add(f"{parts[-2]}:{parts[-1][0].upper()}{parts[-1][1:]}")
    return {_NAMED_OTHERWISE.get(action, action) for action in found}


def resources_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["Resource"]] if value.get("Type") == "Task" else []
        return own + [one for part in value.values() for one in resources_in(part)]
    return [one for part in value for one in resources_in(part)] if isinstance(value, list) else []


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_what_its_code_does_and_nothing_else(stacks: Stacks, function: str) -> None:
    granted = actions(function_statements(stacks, function)) - RUNTIME
    used = aws_actions(function)
    if "s3:GetObject" in used:
        used.add("s3:ListBucket")  # or a missing object would look like a forbidden one
    if function == "sweeper":
        used.add("sqs:SendMessage")  # its dead-letter queue
    assert granted == used


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_gets_the_variables_its_code_reads_and_no_other(stacks: Stacks, function: str) -> None:
    found = stacks.resources("FineTuning", "AWS::Lambda::Function").values()
    (properties,) = [e["Properties"] for e in found if e["Properties"]["Handler"].startswith(f"{function}.")]
    assert set(properties["Environment"]["Variables"]) == variables(function)


@pytest.mark.parametrize("machine", ["FineTuning", "TearDown"])
def test_a_machine_may_make_the_calls_of_its_states_and_no_other(stacks: Stacks, machine: str) -> None:
    granted = {a for a in actions(machine_statements(stacks, machine)) if not a.startswith(("logs:", "xray:"))}
    beside = {"iam:PassRole"} | ({"sagemaker:AddTags"} if machine == "FineTuning" else set())
    assert granted == calls_of(stacks, machine) | beside


def test_nobody_may_do_everything(stacks: Stacks) -> None:
    for owner, statement in stacks.all_statements():
        if statement["Effect"] == "Allow":
            for action in as_list(statement["Action"]):
                assert "*" not in action, f"{owner}: {action}"


def test_the_resource_star_is_only_for_actions_that_aws_authorises_on_nothing_narrower(stacks: Stacks) -> None:
    for owner, statement in stacks.all_statements():
        if statement["Effect"] == "Allow" and "*" in as_list(statement.get("Resource", [])):
            for action in as_list(statement["Action"]):
                assert EVERYWHERE.get(action), f"{owner}: {action}"


def test_no_reason_is_given_for_an_action_that_nobody_has(stacks: Stacks) -> None:
    assert set(EVERYWHERE) <= {a for _, s in stacks.all_statements() for a in as_list(s["Action"])}


def test_sagemaker_and_schedules_are_touched_only_under_the_projects_prefix(stacks: Stacks) -> None:
    for owner, statement in stacks.all_statements():
        for action in as_list(statement["Action"]):
            listing = action.startswith("sagemaker:List")
            if action.startswith(("sagemaker:", "scheduler:")) and statement["Effect"] == "Allow" and not listing:
                for resource in as_list(statement["Resource"]):
                    assert json.dumps(resource).count("/captune-*") == 1, f"{owner}: {resource}"


def test_roles_are_passed_by_name_and_to_one_service_each(stacks: Stacks) -> None:
    passed = [(owner, s) for owner, s in stacks.all_statements() if "iam:PassRole" in as_list(s["Action"])]
    assert len(passed) == 3
    for owner, statement in passed:
        (service,) = statement["Condition"]["StringEquals"].values()
        assert service in ("sagemaker.amazonaws.com", "scheduler.amazonaws.com"), owner
        for resource in as_list(statement["Resource"]):
            name = resource["Fn::GetAtt"][0]
            expected = ("SchedulerRole",) if service.startswith("scheduler") else ("TrainingRole", "HostingRole")
            assert name.startswith(expected), owner


def test_the_dead_mans_switch_may_start_the_tear_down_and_nothing_else(stacks: Stacks) -> None:
    (statement,) = stacks.statements("SchedulerRole")
    assert statement["Action"] == "states:StartExecution"
    assert json.dumps(statement["Resource"]).endswith(':stateMachine:captune-tear-down"]]}')


@pytest.mark.parametrize("role", ["TrainingRole", "HostingRole"])
def test_a_container_reads_the_weights_and_the_run_and_deletes_nothing_but_checkpoints(
    stacks: Stacks, role: str
) -> None:
    statements = stacks.statements(role)
    text = json.dumps(statements)
    for bucket in ("jumpstart-private-cache-prod-us-east-1", "jumpstart-cache-prod-us-east-1"):
        assert f"arn:aws:s3:::{bucket}/*" in text
        assert f'arn:aws:s3:::{bucket}"' in text
    deleting = [s for s in statements if any("Delete" in action for action in as_list(s["Action"]))]
    assert [(s["Action"], json.dumps(s["Resource"]).count("/checkpoints/*")) for s in deleting] == (
        [("s3:DeleteObject", 1)] if role == "TrainingRole" else []
    )
    rest = actions([s for s in statements if s not in deleting])
    assert {a for a in rest if a.startswith("s3:")} <= {"s3:GetObject", "s3:PutObject", "s3:ListBucket"}
    assert not [a for a in rest if a.startswith(("iam:", "sagemaker:", "lambda:"))]


def test_the_training_job_writes_only_adapters_and_checkpoints(stacks: Stacks) -> None:
    (writing,) = [s for s in stacks.statements("TrainingRole") if "s3:PutObject" in as_list(s["Action"])]
    ends = sorted(resource["Fn::Join"][1][-1] for resource in as_list(writing["Resource"]))
    assert ends == ["/checkpoints/*", "/runs/*/training/*"]


def test_preflight_writes_nothing_into_the_bucket(stacks: Stacks) -> None:
    """The run may yet be refused, and its prefix may be another run's."""
    granted = {action for action in actions(function_statements(stacks, "preflight")) if action.startswith("s3:")}
    assert granted == {"s3:GetObject", "s3:ListBucket"}


def test_stage_writes_the_input_of_a_run_and_nothing_that_comes_of_it(stacks: Stacks) -> None:
    (writing,) = [s for s in function_statements(stacks, "stage") if "s3:PutObject" in as_list(s["Action"])]
    ends = sorted(resource["Fn::Join"][1][-1] for resource in as_list(writing["Resource"]))
    assert ends == ["/runs/*/code/*", "/runs/*/input/*", "/runs/*/plan.json", "/runs/*/training/trial/*"]


def test_the_endpoint_writes_nothing_into_the_bucket(stacks: Stacks) -> None:
    assert "s3:PutObject" not in actions(stacks.statements("HostingRole"))


def test_every_role_is_taken_by_one_service_and_where_it_says_so_for_this_account_only(stacks: Stacks) -> None:
    for name in ("FineTuning", "Guardrail"):
        for key, entry in stacks.resources(name, "AWS::IAM::Role").items():
            (statement,) = entry["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            service = statement["Principal"]["Service"].removesuffix(".amazonaws.com")
            own = statement.get("Condition", {}).get("StringEquals", {}).get("aws:SourceAccount")
            assert (own == {"Ref": "AWS::AccountId"}) is (service not in ("lambda", "events")), key
            assert not entry["Properties"].get("ManagedPolicyArns"), f"{key} has rights that are written elsewhere"


def test_a_machine_takes_its_role_only_for_itself(stacks: Stacks) -> None:
    for machine, name in (("FineTuning", "captune-fine-tuning"), ("TearDown", "captune-tear-down")):
        role = stacks.one("FineTuning", "AWS::StepFunctions::StateMachine", machine)["RoleArn"]["Fn::GetAtt"][0]
        (statement,) = stacks.one("FineTuning", "AWS::IAM::Role", role)["AssumeRolePolicyDocument"]["Statement"]
        assert name in json.dumps(statement["Condition"]["ArnLike"]["aws:SourceArn"])


OWN = "arn:aws:s3:::mine"


@pytest.mark.parametrize("role", ["TrainingRole", "HostingRole", "FunctionsPreflightRole"])
def test_of_a_bucket_of_the_users_nothing_but_the_folder_of_the_weights_may_be_read(role: str) -> None:
    stacks = synthesize("weights_uri=s3://mine/models/one/")
    found = [
        (action, resource, statement.get("Condition"))
        for statement in stacks.statements(role)
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        if isinstance(resource, str) and resource.startswith((OWN, "arn:aws:s3:::jumpstart"))
    ]
    described = ["config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"]
    files = described if "Preflight" in role else ["*"]
    listed = ("s3:ListBucket", OWN, {"StringLike": {"s3:prefix": "models/one/*"}})
    assert sorted(found, key=str) == sorted(
        [listed, *(("s3:GetObject", f"{OWN}/models/one/{file}", None) for file in files)], key=str
    )


@pytest.mark.parametrize("role", ["TrainingRole", "HostingRole", "FunctionsPreflightRole"])
def test_a_key_of_whatever_account_opens_the_folder_of_the_weights_through_s3_and_nothing_else(role: str) -> None:
    stacks = synthesize("weights_uri=s3://mine/models/one/")
    (opening,) = [one for one in stacks.statements(role) if "kms" in json.dumps(one["Action"])]
    assert opening == {
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": "arn:aws:kms:us-east-1:*:key/*",
        "Condition": {
            "StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"},
            "StringLike": {"kms:EncryptionContext:aws:s3:arn": [OWN, f"{OWN}/models/one/*"]},
        },
    }


def test_nobody_else_may_use_a_key_and_nobody_at_all_without_weights_of_the_user_s_own(stacks: Stacks) -> None:
    def using(built: Stacks) -> list[str]:
        return sorted(owner for owner, one in built.all_statements() if "kms:Decrypt" in as_list(one["Action"]))

    assert using(stacks) == []
    found = using(synthesize("weights_uri=s3://mine/models/one/"))
    assert [next(name for name in ("Preflight", "Training", "Hosting") if name in owner) for owner in found] == [
        "Preflight", "Hosting", "Training",
    ]  # fmt: skip


@pytest.mark.parametrize("role", ["TrainingRole", "HostingRole"])
@pytest.mark.parametrize("setting", ["base_model=llama-3.1-8b", "base_model=mistral-7b"])
def test_a_run_that_began_before_other_weights_were_deployed_can_still_read_its_own(role: str, setting: str) -> None:
    text = json.dumps(synthesize(setting).statements(role))
    assert "arn:aws:s3:::jumpstart-private-cache-prod-us-east-1" in text
    assert "arn:aws:s3:::jumpstart-cache-prod-us-east-1" in text
    assert "jumpstart" not in json.dumps(synthesize("weights_uri=s3://mine/models/one/").statements(role))


@pytest.mark.parametrize(("model", "gated"), [("llama-3.1-8b", True), ("mistral-7b", False)])
def test_preflight_looks_into_the_bucket_of_the_weights_alone(model: str, gated: bool) -> None:
    text = json.dumps(synthesize(f"base_model={model}").statements("FunctionsPreflightRole"))
    assert ("arn:aws:s3:::jumpstart-private-cache-prod-us-east-1" in text) is gated
    assert ("arn:aws:s3:::jumpstart-cache-prod-us-east-1" in text) is not gated


@pytest.mark.parametrize(
    ("setting", "named"),
    # The trial of the model, the model itself, and the training job on demand and on spot.
    [("base_model=llama-3.1-8b", 4), ("base_model=mistral-7b", 0), ("weights_uri=s3://mine/models/one/", 0)],
)
def test_a_licence_is_named_to_sagemaker_for_gated_weights_only(setting: str, named: int) -> None:
    machine = synthesize(setting).one("FineTuning", "AWS::StepFunctions::StateMachine", "FineTuning")
    assert machine["DefinitionString"].count('"ModelAccessConfig":{"AcceptEula":') == named
