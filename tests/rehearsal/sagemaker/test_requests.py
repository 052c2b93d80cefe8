"""A request that AWS would refuse is refused with the member named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rehearsal.calls import ServiceError
from rehearsal.sagemaker.validation import check_request
from tests.doubles.rehearsal.sagemaker_account import (
    BUCKET,
    GATED,
    ROLE,
    Account,
    account,
    channel,
    configuration_request,
    model_request,
    refusal,
    source,
    training_request,
)

LICENCE = "AcceptEula value must be explicitly"


@pytest.fixture(scope="module")
def one_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with account(tmp_path_factory.mktemp("requests")) as made:
        yield made


def algorithm(**changes: Any) -> dict[str, Any]:
    return {"AlgorithmSpecification": training_request("x")["AlgorithmSpecification"] | changes}


def resources(**changes: Any) -> dict[str, Any]:
    return {"ResourceConfig": training_request("x")["ResourceConfig"] | changes}


def inputs(*channels: dict[str, Any]) -> dict[str, Any]:
    return {"InputDataConfig": list(channels)}


JOBS: list[tuple[dict[str, Any], str]] = [
    ({"TrainingJobName": "under_score"}, "'under_score' at 'TrainingJobName' failed to satisfy constraint"),
    ({"RoleArn": "arn:aws:iam::123456789012:user/somebody"}, "at 'RoleArn'"),
    ({"StoppingCondition": {}}, "Value null at 'StoppingCondition.MaxRuntimeInSeconds'"),
    ({"StoppingCondition": {"MaxRuntimeInSeconds": 0}}, "at least 1"),
    (resources(InstanceType="ml.g5.huge"), "'ml.g5.huge' at 'ResourceConfig.InstanceType'"),
    (resources(InstanceCount=None), "Value null at 'ResourceConfig.InstanceCount'"),
    (inputs(channel("b@d", "s3://x/y")), "at 'InputDataConfig[0].ChannelName'"),
    (inputs(channel("a", "http://x/y")), "DataSource.S3DataSource.S3Uri'"),
    (inputs(channel("model", GATED)), LICENCE),
    (inputs({"ChannelName": "a", "DataSource": {}}), "Value null at 'InputDataConfig[0].DataSource.S3DataSource'"),
    ({"Environment": {"NAME": "v" * 513}}, "length at most 512"),
    ({"Tags": [{"Key": "a<b>", "Value": "c"}]}, "at 'Tags[0].Key'"),
    (algorithm(ContainerArguments=["a" * 257]), "at 'AlgorithmSpecification.ContainerArguments[0]'"),
    (algorithm(TrainingInputMode="Stream"), "enum value set: [Pipe, File, FastFile]"),
    (algorithm(TrainingImage=None), "Value null at 'AlgorithmSpecification.TrainingImage'"),
    ({"OutputDataConfig": {"S3OutputPath": "s3://b/k"}}, "CompressionType NONE only"),
    ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds must be equal to or greater"),
    ({"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}}, "only allowed when"),
]

MODELS: list[tuple[dict[str, Any], str]] = [
    (
        model_request("m", ModelDataSource=source(GATED[:-1], ModelAccessConfig={"AcceptEula": True})),
        'must end with a forward slash ("/")',
    ),
    (model_request("m", ModelDataSource=source(GATED)), LICENCE),
    (model_request("m", {"ChannelName": "adapter", **source(f"s3://{BUCKET}/adapter")}), "forward slash"),
    ({"ModelName": "m", "ExecutionRoleArn": ROLE}, "Value null at 'PrimaryContainer'"),
    (model_request("m") | {"ExecutionRoleArn": None}, "Value null at 'ExecutionRoleArn'"),
    (model_request("m") | {"PrimaryContainer": {"ModelDataUrl": "s3://b/k"}}, "Value null at 'PrimaryContainer.Image'"),
]

VARIANTS: list[tuple[dict[str, Any], str]] = [
    ({"InferenceAmiVersion": "none"}, "ProductionVariants[0].InferenceAmiVersion"),
    ({"ContainerStartupHealthCheckTimeoutInSeconds": 3601}, "value at most 3600"),
    ({"ModelDataDownloadTimeoutInSeconds": 59}, "at least 60"),
    ({"InstanceType": None}, "Value null at 'ProductionVariants[0].InstanceType'"),
]


@pytest.mark.parametrize(
    ("operation", "request_", "words"),
    [
        *(("create_training_job", training_request("job") | changes, words) for changes, words in JOBS),
        *(("create_model", request, words) for request, words in MODELS),
        *(("create_endpoint_config", configuration_request("it", **changes), words) for changes, words in VARIANTS),
    ],
)
def test_a_wrong_request_is_refused(one_account: Account, operation: str, request_: Any, words: str) -> None:
    code, message = refusal(lambda: getattr(one_account.sagemaker, operation)(**request_))
    assert code == "ValidationException"
    assert words in message


def test_a_complete_request_with_the_licence_is_accepted(aws: Account) -> None:
    aws.train("job", InputDataConfig=[channel("model", GATED, ModelAccessConfig={"AcceptEula": True})])


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"TrainingJobName": "a", "Colour": "red"}, "Unknown parameter 'Colour'"),
        ({"TrainingJobName": 5}, "Value '5' at 'TrainingJobName' failed to satisfy constraint"),
        ({}, "1 validation error detected: Value null at 'TrainingJobName'"),
        ([], "1 validation error detected"),
        ({"TrainingJobName": "_", "Other": 1}, "2 validation errors detected"),
    ],
)
def test_what_botocore_would_never_send_is_refused_too(request_: Any, words: str) -> None:
    with pytest.raises(ServiceError, match="ValidationException") as caught:
        check_request("sagemaker", "DescribeTrainingJob", request_)
    assert words in caught.value.message


def test_an_operation_that_is_not_played_is_refused_by_name(aws: Account) -> None:
    code, message = refusal(lambda: aws.sagemaker.list_algorithms())
    assert code == "UnknownOperationException" and "ListAlgorithms" in message
