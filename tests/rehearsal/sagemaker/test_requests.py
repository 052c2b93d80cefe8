"""A request that AWS would refuse is refused with the member named; calls are recorded and meet the faults in force."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rehearsal.calls import Call, ServiceError
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

FILE_SYSTEM = {
    "FileSystemId": "fs-0123456789a", "FileSystemAccessMode": "ro", "FileSystemType": "EFS", "DirectoryPath": "/a",
}  # fmt: skip
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
    (inputs(channel("a", "s3://x/y"), channel("a", "s3://x/z")), "Duplicate channel names"),
    (inputs(channel("model", GATED)), LICENCE),
    (inputs({"ChannelName": "a", "DataSource": {"FileSystemDataSource": FILE_SYSTEM}}), "channel a has another"),
    ({"Environment": {"NAME": "v" * 513}}, "length at most 512"),
    ({"Tags": [{"Key": "a<b>", "Value": "c"}]}, "at 'Tags[0].Key'"),
    (algorithm(ContainerArguments=["a" * 257]), "at 'AlgorithmSpecification.ContainerArguments[0]'"),
    (algorithm(TrainingInputMode="Stream"), "enum value set: [Pipe, File, FastFile]"),
    (algorithm(AlgorithmName="mine"), "either an algorithm name or a training image"),
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
    ({"ModelName": "m", "ExecutionRoleArn": ROLE}, "exactly one container"),
    (model_request("m") | {"ExecutionRoleArn": None}, "Value null at 'ExecutionRoleArn'"),
    (model_request("m") | {"PrimaryContainer": {"ModelDataUrl": "s3://b/k"}}, "needs an Image"),
    (model_request("m", *[{"ChannelName": "a", **source("s3://b/a/")}] * 2), "Duplicate channel names"),
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


# calls and faults --------------------------------------------------------------------------------------------------------


def test_a_fault_meets_as_many_calls_as_it_is_for_or_all_until_it_is_cleared(aws: Account) -> None:
    fault = aws.faults.add(operation="ListModels", error="ThrottlingException", times=2, skip=1)
    aws.sagemaker.list_models()
    assert [refusal(aws.sagemaker.list_models)[0] for _ in range(2)] == ["ThrottlingException"] * 2
    assert aws.sagemaker.list_models()["Models"] == []
    assert fault.hits == 2
    aws.faults.add(operation="*", error="InternalFailure", message="broken", status=503, times=None)
    assert {refusal(aws.sagemaker.list_models) for _ in range(3)} == {("InternalFailure", "broken")}
    aws.faults.clear()
    aws.sagemaker.list_models()


def test_faults_choose_their_calls_by_request_and_role(aws: Account) -> None:
    add = aws.faults.add
    add(operation="CreateTrainingJob", by="another", error="AccessDeniedException")
    add(operation="CreateTrainingJob", by="AKIDTEST", error="ServiceUnavailable", when=lambda r: "two" in str(r))
    aws.train("one")
    assert refusal(lambda: aws.train("two"))[0] == "ServiceUnavailable"


def test_an_answer_can_be_lost_after_the_work_is_done_or_malformed(aws: Account) -> None:
    aws.faults.add(operation="CreateTrainingJob", error="InternalFailure", after=True)
    assert refusal(lambda: aws.train("job"))[0] == "InternalFailure"
    assert refusal(lambda: aws.train("job"))[0] == "ResourceInUse"
    aws.faults.add(operation="DescribeTrainingJob", answer={"Surprise": 1})
    aws.faults.add(operation="DescribeTrainingJob", answer=b"<html>")
    # botocore reads neither as an error: a caller has to look at what it got.
    assert ["TrainingJobStatus" in aws.job("job") for _ in range(3)] == [False, False, True]


def test_something_can_happen_just_before_a_call_which_then_hangs_until_it_is_released(aws: Account) -> None:
    seen: list[Call] = []
    fault = aws.faults.add(operation="CreateTrainingJob", before=seen.append, hang=True)
    calling = threading.Thread(target=aws.train, args=("job",))
    calling.start()
    assert fault.reached.wait(10)
    assert aws.standin.leftovers()["training jobs"] == []
    fault.release()
    calling.join(10)
    assert aws.standin.leftovers()["training jobs"] == ["job"]
    assert [call.operation for call in seen] == ["CreateTrainingJob"]


def test_every_call_is_recorded_with_its_caller_and_its_end(aws: Account) -> None:
    aws.faults.add(operation="InvokeEndpoint", error="ModelError")
    assert refusal(lambda: aws.ask("it", model="base", prompt="Hello"))[0] == "ModelError"
    aws.sagemaker.list_models(MaxResults=5)
    refused, answered = aws.calls[-2:]
    assert (refused.service, refused.operation, refused.error) == ("sagemaker-runtime", "InvokeEndpoint", "ModelError")
    assert (answered.access_key, answered.request, answered.status) == ("AKIDTEST", {"MaxResults": 5}, 200)
    assert answered.time.tzinfo is not None
