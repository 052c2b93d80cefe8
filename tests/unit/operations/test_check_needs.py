"""Which rights are asked for: read from the states, so that a new call is asked for without a word here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from operations.check.needs import Need, Place, Unread, images, of_definition, of_hosting, of_scheduler, of_training

PLACE = Place("123456789012", "us-east-1", "data")
SAGEMAKER = "arn:aws:sagemaker:us-east-1:123456789012"
RUN = "captune-check-aws"
ROLE = "arn:aws:iam::123456789012:role/training"
WEIGHTS = "s3://jumpstart-cache/llama/"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:2.4"


def task(resource: str, **arguments: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Arguments": arguments, "End": True}


def definition(**states: dict[str, Any]) -> str:
    return json.dumps({"States": states})


def needs(resource: str, **arguments: Any) -> list[Need]:
    found, unread = of_definition(definition(State=task(resource, **arguments)), PLACE)
    assert not unread
    return found


TRAINING = task(
    "aws-sdk:sagemaker:createTrainingJob",
    TrainingJobName="{% $jobName %}",
    RoleArn=ROLE,
    AlgorithmSpecification={"TrainingImage": IMAGE},
    InputDataConfig=[{"DataSource": {"S3DataSource": {"S3Uri": WEIGHTS}}}],
    Tags=[],
)
HOSTING = task(
    "aws-sdk:sagemaker:createModel",
    ModelName="{% $plan.runName %}",
    PrimaryContainer={"Image": IMAGE, "ModelDataSource": {"S3DataSource": {"S3Uri": WEIGHTS}}},
)


def test_a_call_needs_its_action_on_the_resource_it_names_its_tags_and_the_role_it_hands_over() -> None:
    found, _ = of_definition(definition(StartTraining=TRAINING), PLACE)
    job = f"{SAGEMAKER}:training-job/{RUN}"
    assert found == [
        Need("sagemaker:CreateTrainingJob", job),
        Need("sagemaker:AddTags", job),
        Need("iam:PassRole", ROLE, (("iam:PassedToService", "sagemaker.amazonaws.com"),)),
    ]


def test_a_trial_has_a_name_of_its_own_and_roles_may_name_it() -> None:
    assert needs("aws-sdk:sagemaker:deleteModel", ModelName="{% $plan.hosting.trialName %}") == [
        Need("sagemaker:DeleteModel", f"{SAGEMAKER}:model/{RUN}-try0")
    ]


def test_an_endpoint_is_authorised_on_its_configuration_too_and_tagged_itself() -> None:
    arguments = {"EndpointName": "{% $endpointName %}", "EndpointConfigName": "{% $plan.runName %}", "Tags": []}
    configuration, endpoint = f"{SAGEMAKER}:endpoint-config/{RUN}", f"{SAGEMAKER}:endpoint/{RUN}"
    assert needs("aws-sdk:sagemaker:createEndpoint", **arguments) == [
        Need("sagemaker:CreateEndpoint", configuration),
        Need("sagemaker:CreateEndpoint", endpoint),
        Need("sagemaker:AddTags", endpoint),
    ]


def test_a_schedule_hands_its_role_to_the_scheduler() -> None:
    found = needs("aws-sdk:scheduler:createSchedule", Name="{% $plan.runName %}", Target={"RoleArn": ROLE, "Arn": "m"})
    assert found == [
        Need("scheduler:CreateSchedule", f"arn:aws:scheduler:us-east-1:123456789012:schedule/default/{RUN}"),
        Need("iam:PassRole", ROLE, (("iam:PassedToService", "scheduler.amazonaws.com"),)),
    ]


@pytest.mark.parametrize(
    ("resource", "arguments", "expected"),
    [
        ("lambda:invoke", {"FunctionName": "arn:f"}, Need("lambda:InvokeFunction", "arn:f")),
        ("aws-sdk:sns:publish", {"TopicArn": "arn:t"}, Need("sns:Publish", "arn:t")),
        (
            "aws-sdk:s3:listObjectsV2",
            {"Bucket": "{% $plan.bucket %}"},
            Need("s3:ListBucket", "arn:aws:s3:::data", (("s3:prefix", f"runs/{RUN}/training/metrics.json"),)),
        ),
    ],
)
def test_calls_of_other_services(resource: str, arguments: dict[str, str], expected: Need) -> None:
    assert needs(resource, **arguments) == [expected]


def test_branches_and_maps_are_read_too() -> None:
    inner = {"States": {"Ask": task("lambda:invoke", FunctionName="arn:ask")}}
    outer: dict[str, Any] = {
        "Both": {"Type": "Parallel", "Branches": [inner]},
        "Each": {"Type": "Map", "ItemProcessor": {"States": {"Say": task("lambda:invoke", FunctionName="arn:say")}}},
        "Done": {"Type": "Succeed"},
    }
    found, _ = of_definition(definition(**outer), PLACE)
    assert [need.resource for need in found] == ["arn:ask", "arn:say"]


@pytest.mark.parametrize(
    "resource", ["aws-sdk:glue:startJobRun", "aws-sdk:sns:publish", "aws-sdk:sagemaker:listModels"]
)
def test_a_call_that_nobody_knows_the_resource_of_is_said_to_be_unread(resource: str) -> None:
    found, unread = of_definition(definition(State=task(resource)), PLACE)
    service, operation = resource.split(":")[1:]
    assert (found, unread) == ([], [Unread("State", f"{service}:{operation}")])


def test_the_containers_read_the_weights_that_the_definition_names_and_pull_its_images() -> None:
    both = definition(StartTraining=TRAINING, CreateModel=HOSTING)
    repository = "arn:aws:ecr:us-east-1:763104351884:repository/vllm"
    for found in (of_training(both, PLACE), of_hosting(both, PLACE)):
        assert Need("s3:GetObject", "arn:aws:s3:::jumpstart-cache/llama/config.json") in found
        assert Need("s3:ListBucket", "arn:aws:s3:::jumpstart-cache", (("s3:prefix", "llama/"),)) in found
        assert Need("ecr:BatchGetImage", repository, is_of_others=True) in found
        assert "kms:Decrypt" not in {need.action for need in found}
    assert images(both) == [IMAGE]


def test_a_folder_of_the_user_s_own_may_be_encrypted_with_a_key_that_the_containers_use_through_s3() -> None:
    both = definition(StartTraining=TRAINING, CreateModel=HOSTING).replace(WEIGHTS, "s3://mine/one/")
    context = (
        ("kms:ViaService", "s3.us-east-1.amazonaws.com"),
        ("kms:EncryptionContext:aws:s3:arn", "arn:aws:s3:::mine/one/config.json"),
    )
    expected = Need("kms:Decrypt", "arn:aws:kms:us-east-1:123456789012:key/of-the-weights", context)
    for found in (of_training(both, PLACE), of_hosting(both, PLACE)):
        assert [need for need in found if need.action == "kms:Decrypt"] == [expected]


def test_training_writes_what_hosting_reads_and_its_checkpoints() -> None:
    both = definition(StartTraining=TRAINING, CreateModel=HOSTING)
    written = {need.resource for need in of_training(both, PLACE) if need.action == "s3:PutObject"}
    read = {need.resource for need in of_hosting(both, PLACE) if need.action == "s3:GetObject"}
    assert written & read
    assert {one.removeprefix("arn:aws:s3:::data/").partition("/")[0] for one in written - read} == {"checkpoints"}


def test_the_schedule_starts_the_machine_that_it_targets() -> None:
    schedule = task("aws-sdk:scheduler:createSchedule", Name="n", Target={"Arn": "arn:tear-down", "RoleArn": ROLE})
    assert of_scheduler(definition(Schedule=schedule)) == [Need("states:StartExecution", "arn:tear-down")]
