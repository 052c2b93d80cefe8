"""A request that AWS would refuse is refused, with the member named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.sagemaker.api.errors import ServiceError
from rehearsal.sagemaker.api.validation import check_request
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining
from tests.doubles.rehearsal.sagemaker_account import (
    BUCKET,
    GATED,
    Account,
    account,
    channel,
    configuration_request,
    model_request,
    refusal,
    source,
    training_request,
)

FILE_SYSTEM = {
    "FileSystemId": "fs-0123456789a", "FileSystemAccessMode": "ro", "FileSystemType": "EFS", "DirectoryPath": "/a",
}  # fmt: skip


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    folder: Path = tmp_path_factory.mktemp("validation")
    with account(folder, training=FakeTraining(), hosting=FakeHosting()) as made:
        yield made


def _algorithm(**changes: Any) -> dict[str, Any]:
    return {"AlgorithmSpecification": training_request("x")["AlgorithmSpecification"] | changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"TrainingJobName": "under_score"}, "'under_score' at 'trainingJobName' failed to satisfy constraint"),
        ({"TrainingJobName": "a" * 64}, "Member must have length less than or equal to 63"),
        ({"StoppingCondition": {}}, "Value null at 'stoppingCondition.maxRuntimeInSeconds'"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 0}}, "value greater than or equal to 1"),
        (
            {"ResourceConfig": {"InstanceType": "ml.g5.huge", "InstanceCount": 1, "VolumeSizeInGB": 1}},
            "'ml.g5.huge' at 'resourceConfig.instanceType'",
        ),
        ({"ResourceConfig": {"InstanceType": "ml.g5.xlarge"}}, "Value null at 'resourceConfig.instanceCount'"),
        ({"InputDataConfig": [channel("b@d", "s3://x/y")]}, "at 'inputDataConfig.1.member.channelName'"),
        ({"InputDataConfig": [channel("a", "http://x/y")]}, "dataSource.s3DataSource.s3Uri'"),
        ({"InputDataConfig": [channel("a", "s3://x/y"), channel("a", "s3://x/z")]}, "Duplicate channel name a"),
        ({"InputDataConfig": [channel("model", GATED)]}, "AcceptEula value must be explicitly defined as True"),
        (
            {"InputDataConfig": [channel("model", GATED, ModelAccessConfig={"AcceptEula": False})]},
            "AcceptEula value must be explicitly defined as True",
        ),
        ({"HyperParameters": {"epochs": "9" * 2501}}, "at 'hyperParameters.epochs.member'"),
        ({"Environment": {"NAME": "v" * 513}}, "length less than or equal to 512"),
        ({"Tags": [{"Key": "a<b>", "Value": "c"}]}, "at 'tags.1.member.key'"),
        (_algorithm(ContainerArguments=["a" * 257]), "at 'algorithmSpecification.containerArguments.1.member'"),
        (_algorithm(TrainingInputMode="Stream"), "enum value set: [Pipe, File, FastFile]"),
        (_algorithm(AlgorithmName="mine"), "either an algorithm name or a training image"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://b/k"}}, "plays OutputDataConfig.CompressionType NONE only"),
        (
            {"InputDataConfig": [{"ChannelName": "a", "DataSource": {"FileSystemDataSource": FILE_SYSTEM}}]},
            "channel a has another",
        ),
        ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds must be equal to or greater"),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}},
            "only allowed when EnableManagedSpotTraining",
        ),
    ],
)
def test_a_training_job_is_refused(aws: Account, changes: dict[str, Any], words: str) -> None:
    code, message = refusal(lambda: _create(aws, changes))
    assert code == "ValidationException"
    assert words in message


def _create(aws: Account, changes: dict[str, Any]) -> None:
    aws.sagemaker.create_training_job(**(training_request("job") | changes))


def test_the_channel_of_gated_weights_is_accepted_with_the_licence(aws: Account) -> None:
    aws.train("job", InputDataConfig=[channel("model", GATED, ModelAccessConfig={"AcceptEula": True})])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: model_request("m", ModelDataSource=source(GATED[:-1], ModelAccessConfig={"AcceptEula": True})),
            'must end with a forward slash ("/")',
        ),
        (lambda: model_request("m", ModelDataSource=source(GATED)), "AcceptEula value must be explicitly"),
        (
            lambda: model_request("m", {"ChannelName": "adapter", **source(f"s3://{BUCKET}/adapter")}),
            'must end with a forward slash ("/")',
        ),
        (lambda: model_request("m", Environment={"NAME": "v" * 1025}), "environment.NAME.member"),
        (lambda: model_request("m", Image=""), "primaryContainer.image"),
        (lambda: {"ModelName": "m", "ExecutionRoleArn": "arn:aws:iam::123456789012:role/x"}, "exactly one container"),
        (lambda: model_request("m") | {"Containers": [{"Image": "i"}]}, "exactly one container"),
        (lambda: model_request("m") | {"ExecutionRoleArn": None}, "Could not assume role None"),
        (lambda: model_request("m") | {"PrimaryContainer": {"ModelDataUrl": "s3://b/k"}}, "needs an Image"),
        (lambda: model_request("m", ModelDataUrl="s3://b/model.tar.gz"), "exclude each other"),
        (lambda: model_request("m", *[{"ChannelName": "a", **source("s3://b/a/")}] * 2), "must differ"),
    ],
)
def test_a_model_is_refused(aws: Account, make: Callable[[], dict[str, Any]], words: str) -> None:
    code, message = refusal(lambda: aws.sagemaker.create_model(**make()))
    assert code == "ValidationException"
    assert words in message


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ({"InstanceType": "ml.g5.huge"}, "productionVariants.1.member.instanceType"),
        ({"InferenceAmiVersion": "none"}, "productionVariants.1.member.inferenceAmiVersion"),
        ({"ContainerStartupHealthCheckTimeoutInSeconds": 3601}, "value less than or equal to 3600"),
        ({"ModelDataDownloadTimeoutInSeconds": 59}, "value greater than or equal to 60"),
        ({"InstanceType": None}, "Value null at 'productionVariants.1.member.instanceType'"),
    ],
)
def test_an_endpoint_configuration_is_refused(aws: Account, variant: dict[str, Any], words: str) -> None:
    request = configuration_request("it", **variant)
    code, message = refusal(lambda: aws.sagemaker.create_endpoint_config(**request))
    assert code == "ValidationException"
    assert words in message


def test_two_variants_of_one_name_are_refused(aws: Account) -> None:
    request = configuration_request("it")
    request["ProductionVariants"] *= 2
    told = refusal(lambda: aws.sagemaker.create_endpoint_config(**request))
    assert told == ("ValidationException", "Production variant names must be unique within an endpoint configuration.")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"TrainingJobName": "a", "Colour": "red"}, "Unknown parameter 'Colour' at 'colour'"),
        (
            {"TrainingJobName": 5},
            "Value '5' at 'trainingJobName' failed to satisfy constraint: Member must be a string",
        ),
        ({}, "1 validation error detected: Value null at 'trainingJobName'"),
        ([], "Member must be an object"),
    ],
)
def test_what_botocore_would_never_send_is_refused_too(request_: Any, words: str) -> None:
    with pytest.raises(ServiceError, match="ValidationException") as caught:
        check_request("sagemaker", "DescribeTrainingJob", request_)
    assert words in caught.value.message


def test_all_violations_are_told_at_once() -> None:
    with pytest.raises(ServiceError, match="3 validation errors detected"):
        check_request("sagemaker", "CreateEndpoint", {"EndpointName": "_", "Other": 1})
