"""Least privilege: no right is wider than its purpose. That each call is allowed is seen in the rehearsed account, which checks it."""

import json
import re
from collections.abc import Sequence

import pytest

from rehearsal.account.rights import Need, speaks_of
from stacks.access.permissions import EVERYWHERE
from tests.doubles.machines.stacks_bench import Stacks, actions, as_list

pytestmark = pytest.mark.slow

# A call and the action that allows it have different names.
NAMED_OTHERWISE = {"s3:ListObjectsV2": "s3:ListBucket", "lambda:Invoke": "lambda:InvokeFunction"}


def role_of(stacks: Stacks, machine: str) -> str:
    return str(stacks.machine(machine)["RoleArn"]["Fn::GetAtt"][0])


def calls_of(stacks: Stacks, machine: str) -> set[str]:
    text = stacks.machine(machine)["DefinitionString"]
    calls = re.findall(r'"Resource":"arn:aws:states:::(?:aws-sdk:)?(\w+):(\w)(\w+)', text)
    found = {f"{service}:{first.upper()}{rest}" for service, first, rest in calls}
    return {NAMED_OTHERWISE.get(action, action) for action in found}


@pytest.mark.parametrize("machine", ["FineTuning", "TearDown"])
def test_a_machine_may_make_the_calls_of_its_states_and_no_other(stacks: Stacks, machine: str) -> None:
    statements = stacks.statements(role_of(stacks, machine))
    granted = {action for action in actions(statements) if not action.startswith(("logs:", "xray:"))}
    beside = {"iam:PassRole"} | ({"sagemaker:AddTags"} if machine == "FineTuning" else set())
    assert granted == calls_of(stacks, machine) | beside


def test_no_right_is_wider_than_its_purpose(stacks: Stacks) -> None:
    for owner, statement in stacks.all_statements():
        if statement["Effect"] != "Allow":
            continue
        resources = as_list(statement.get("Resource", []))
        for action in as_list(statement["Action"]):
            assert "*" not in action, f"{owner}: {action}"
            assert action != "kms:Decrypt", "for weights in a bucket of the user's only"
            # The resource * is only for actions that AWS authorises on nothing narrower.
            assert "*" not in resources or EVERYWHERE.get(action), f"{owner}: {action}"
            if action.startswith(("sagemaker:", "scheduler:")) and not action.startswith("sagemaker:List"):
                for resource in resources:
                    # JumpStart's hub and one version of a model in it are nobody's own.
                    text, of_hub = json.dumps(resource), ":aws:hub"
                    assert (of_hub in text and "*" not in text) or text.count("/captune-*") == 1, f"{owner}: {text}"
    assert set(EVERYWHERE) <= {action for _, s in stacks.all_statements() for action in as_list(s["Action"])}


def allows(built: Stacks, role: str, action: str, **context: Sequence[str]) -> bool:
    """Whether a role may make a call with these values of the condition keys, on what it may make it on at all."""
    keys = {
        "types": "sagemaker:InstanceTypes",
        "seconds": "sagemaker:MaxRuntimeInSeconds",
        "items": "dynamodb:LeadingKeys",
    }
    need = Need(action, "*", tuple((keys[name], tuple(values)) for name, values in context.items()))
    return any(speaks_of({**statement, "Resource": "*"}, need) for statement in built.statements(role))


RUN, MONTH, STARTS = "RUN#captune-one", "MONTH#2026-12", "STARTS#2026-12"


@pytest.mark.parametrize(
    ("function", "writes"),
    [
        ("Preflight", [STARTS]),
        ("Reserve", [RUN, MONTH]),
        ("TearDown", [RUN]),
        ("Settle", [RUN, MONTH]),
        ("Sweeper", [RUN]),
    ],
)
def test_a_function_writes_its_own_items_of_the_ledger_and_no_other(
    stacks: Stacks, function: str, writes: list[str]
) -> None:
    role, items = f"Functions{function}Role", [RUN, MONTH, STARTS]
    assert [one for one in items if allows(stacks, role, "dynamodb:PutItem", items=[one])] == writes
    assert not allows(stacks, role, "dynamodb:PutItem", items=items)
    granted = {action for action in actions(stacks.statements(role)) if action.startswith("dynamodb:")}
    assert granted - {"dynamodb:Scan"} == {"dynamodb:GetItem", "dynamodb:PutItem"}


G5, G6, P5 = "ml.g5.2xlarge", "ml.g6.2xlarge", "ml.p5.48xlarge"


@pytest.mark.parametrize("action", ["sagemaker:CreateTrainingJob", "sagemaker:CreateEndpointConfig"])
@pytest.mark.parametrize(
    ("settings", "types", "allowed"),
    [
        ("stacks", [G5], True),
        ("stacks", [G6], False),
        ("stacks", [G5, P5], False),
        ("stacks", [], False),
        ("own_image", [G5], True),
        ("own_image", [G5, G6], True),
        ("own_image", [G5, P5], False),
        ("own_image", [], True),  # if IAM does not see the types of a list
    ],
)
def test_a_run_gets_the_instance_types_of_the_settings_and_no_other(
    request: pytest.FixtureRequest, settings: str, types: list[str], allowed: bool, action: str
) -> None:
    built: Stacks = request.getfixturevalue(settings)
    assert allows(built, "FineTuningRole", action, types=types, seconds=["1800"]) == allowed


@pytest.mark.parametrize(("seconds", "allowed"), [(["7200"], True), (["7201"], False), ([], False)])
def test_a_training_job_lasts_as_long_as_the_settings_allow(stacks: Stacks, seconds: list[str], allowed: bool) -> None:
    assert allows(stacks, "FineTuningRole", "sagemaker:CreateTrainingJob", types=[G5], seconds=seconds) == allowed


OWN = "arn:aws:s3:::mine"


@pytest.mark.parametrize("role", ["TrainingRole", "HostingRole", "FunctionsPreflightRole"])
def test_of_a_users_bucket_only_the_folder_of_the_weights_may_be_read(own_weights: Stacks, role: str) -> None:
    statements = own_weights.statements(role)
    found = {
        (action, resource): statement.get("Condition")
        for statement in statements
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        if isinstance(resource, str) and resource.startswith((OWN, "arn:aws:s3:::jumpstart"))
    }
    described = ["config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"]
    files = described if "Preflight" in role else ["*"]
    expected: dict[tuple[str, str], object] = {("s3:GetObject", f"{OWN}/models/one/{file}"): None for file in files}
    assert found == expected | {("s3:ListBucket", OWN): {"StringLike": {"s3:prefix": "models/one/*"}}}
    assert gated_weights(own_weights) == (0, 0)
    (opening,) = [one for one in statements if "kms" in json.dumps(one["Action"])]
    assert opening == {
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": "arn:aws:kms:us-east-1:*:key/*",
        "Condition": {
            "StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"},
            "StringLike": {"kms:EncryptionContext:aws:s3:arn": [OWN, f"{OWN}/models/one/*"]},
        },
    }


@pytest.mark.parametrize(
    ("settings", "region", "gated"), [("own_image", "us-east-1", True), ("abroad", "eu-west-1", False)]
)
def test_weights_of_jumpstart_stay_readable_and_gated_ones_name_their_licence(
    request: pytest.FixtureRequest, settings: str, region: str, gated: bool
) -> None:
    """A run before another deployment reads its weights too: training and hosting read both of JumpStart's buckets."""
    built: Stacks = request.getfixturevalue(settings)
    private, public = (f"arn:aws:s3:::jumpstart-{kind}cache-prod-{region}" for kind in ("private-", ""))
    for role in ("TrainingRole", "HostingRole"):
        text = json.dumps(built.statements(role))
        assert private in text and public in text
    text = json.dumps(built.statements("FunctionsPreflightRole"))
    assert ((private in text), (public in text)) == (gated, not gated)
    assert gated_weights(built) == ((4, 2) if gated else (0, 0)), "trial, model, training job on demand and on spot"


def gated_weights(built: Stacks) -> tuple[int, int]:
    """How often SageMaker is told that a licence was accepted, and how often that a training channel holds such a model."""
    definition = str(built.machine("FineTuning")["DefinitionString"])
    fields = '"ModelAccessConfig":{"AcceptEula":', '"ContentType":"application/x-sagemaker-model"'
    return definition.count(fields[0]), definition.count(fields[1])


def test_the_endpoint_may_pull_the_image_that_replaces_and_no_other(own_image: Stacks) -> None:
    pulling = [one for one in own_image.statements("HostingRole") if "ecr:BatchGetImage" in as_list(one["Action"])]
    (resource,) = (json.dumps(resource) for one in pulling for resource in as_list(one["Resource"]))
    assert ":ecr:us-east-1:111122223333:repository/own/vllm" in resource
    machine = own_image.machine("FineTuning")
    assert machine["DefinitionSubstitutions"]["HostingImage"].endswith("/own/vllm:v1")
