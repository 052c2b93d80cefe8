"""Training jobs, models, endpoint configurations and endpoints behave as SageMaker's do, seen through botocore; what a job bills, and which requests are refused."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rehearsal.calls import ServiceError
from rehearsal.sagemaker.store import TrainingJob
from rehearsal.sagemaker.validation import check_request, service_model, violations
from tests.doubles.rehearsal.sagemaker_account import (
    BUCKET,
    GATED,
    ROLE,
    SageMakerAccount,
    StoppedClock,
    account,
    channel,
    configuration_request,
    model_request,
    refusal,
    source,
    training_request,
)
from verification.fake_engines import FakeHosting

ARN = "arn:aws:sagemaker:us-east-1:123456789012"


def test_a_job_goes_through_its_states_and_bills_its_instance(aws: SageMakerAccount, clock: StoppedClock) -> None:
    aws.train("job")
    first = aws.job("job")
    clock.advance(seconds=90.2)
    last = aws.job("job")
    assert (first["TrainingJobStatus"], first["SecondaryStatus"]) == ("InProgress", "Training")
    assert "BillableTimeInSeconds" not in first
    assert (last["TrainingJobStatus"], last["SecondaryStatus"]) == ("Completed", "Completed")
    assert last["BillableTimeInSeconds"] == last["TrainingTimeInSeconds"] == 91
    statuses = [step["Status"] for step in last["SecondaryStatusTransitions"]]
    assert statuses == ["Pending", "Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert last["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/runs/job/training/job/output/model/"
    assert "runs/job/training/job/output/model/adapter_model.safetensors" in aws.keys("runs/")


def test_answers_have_only_members_that_the_service_has(aws: SageMakerAccount) -> None:
    tags = [{"Key": "project", "Value": "captune"}]
    aws.train("it", Environment={"A": "b"}, Tags=tags)
    assert aws.sagemaker.list_tags(ResourceArn=f"{ARN}:training-job/it")["Tags"] == tags
    aws.deploy("it")
    for kind in ("TrainingJob", "Model", "Endpoint", "EndpointConfig"):
        answer = aws.standin.perform("sagemaker", f"Describe{kind}", {f"{kind}Name": "it"}, "us-east-1")
        shape = service_model("sagemaker").operation_model(f"Describe{kind}").output_shape
        assert shape is not None
        assert violations(shape, answer) == []


def test_a_stopped_job_is_stopping_first_and_cannot_be_stopped_again(aws: SageMakerAccount) -> None:
    aws.train("job")
    aws.sagemaker.stop_training_job(TrainingJobName="job")
    assert [aws.job("job")["TrainingJobStatus"] for _ in range(3)] == ["Stopping", "Stopped", "Stopped"]
    refused = refusal(lambda: aws.sagemaker.stop_training_job(TrainingJobName="job"))
    assert "in status Stopped" in refused[1]


def test_an_endpoint_is_created_serves_and_goes(aws: SageMakerAccount) -> None:
    aws.deploy("it")
    ask = partial(aws.ask, "it", model="base", prompt="Hello")
    delete = partial(aws.sagemaker.delete_endpoint, EndpointName="it")
    assert refusal(ask) == ("ValidationError", "Endpoint it of account 123456789012 not found.")
    in_progress = ("ValidationException", f'Cannot update in-progress endpoint "{ARN}:endpoint/it".')
    assert refusal(delete) == in_progress
    assert aws.endpoint("it")["EndpointStatus"] == "InService"
    assert ask()["model"] == "base"
    assert "length less than or equal to 1024" in refusal(partial(ask, attributes="x" * 1025))[1]
    delete()
    assert refusal(delete) == in_progress
    assert "Could not find endpoint" in refusal(lambda: aws.endpoint("it"))[1]


def test_an_endpoint_takes_its_name_in_every_case(aws: SageMakerAccount) -> None:
    aws.deploy("it")
    again = refusal(lambda: aws.sagemaker.create_endpoint(EndpointName="IT", EndpointConfigName="it"))
    assert again == ("ValidationException", f'Cannot create already existing endpoint "{ARN}:endpoint/IT".')


def test_an_endpoint_is_created_from_its_configuration_though_the_model_is_gone(aws: SageMakerAccount) -> None:
    aws.sagemaker.create_model(**model_request("it"))
    aws.sagemaker.create_endpoint_config(**configuration_request("it"))
    aws.sagemaker.delete_model(ModelName="it")
    assert (
        "Could not find model"
        in refusal(lambda: aws.sagemaker.create_endpoint_config(**configuration_request("other", ModelName="it")))[1]
    )
    aws.sagemaker.create_endpoint(EndpointName="it", EndpointConfigName="it")
    assert aws.endpoint("it")["EndpointStatus"] == "Creating"


def test_an_endpoint_shows_its_instances_once_it_is_in_service_and_none_if_it_failed(tmp_path: Path) -> None:
    pools = [
        {"InstanceType": kind, "Priority": number} for number, kind in enumerate(("ml.g5.2xlarge", "ml.g6.2xlarge"), 1)
    ]
    shown = {}
    for outcome in ("in service", "capacity"):
        with account(tmp_path, hosting=FakeHosting(outcome)) as aws:
            aws.deploy("it", InstanceType=None, InstancePools=pools)
            assert "ProductionVariants" not in aws.endpoint("it")
            aws.endpoint("it")
            aws.sagemaker.delete_endpoint(EndpointName="it")
            shown[outcome] = aws.endpoint("it")
    assert {seen["EndpointStatus"] for seen in shown.values()} == {"Deleting"}
    counts = [pool["CurrentInstanceCount"] for pool in shown["in service"]["ProductionVariants"][0]["InstancePools"]]
    assert counts == [1, 0]
    assert "ProductionVariants" not in shown["capacity"]


def test_what_is_missing_or_there_already_is_rejected_by_its_arn(aws: SageMakerAccount) -> None:
    sagemaker = aws.sagemaker
    kinds: list[tuple[str, str, Callable[[], Any], Callable[[], Any]]] = [
        ("model", "model", partial(sagemaker.delete_model, ModelName="it"),
         partial(sagemaker.create_model, **model_request("it"))),
        ("endpoint configuration", "endpoint-config", partial(sagemaker.delete_endpoint_config, EndpointConfigName="it"),
         partial(sagemaker.create_endpoint_config, **configuration_request("it"))),
        ("endpoint", "endpoint", partial(sagemaker.delete_endpoint, EndpointName="it"),
         partial(sagemaker.create_endpoint, EndpointName="it", EndpointConfigName="it")),
    ]  # fmt: skip
    for words, kind, delete, _ in kinds:
        assert refusal(delete) == ("ValidationException", f'Could not find {words} "{ARN}:{kind}/it".')
    assert refusal(lambda: aws.job("it")) == ("ValidationException", "Requested resource not found.")
    for (words, *_), (*_, create) in pairwise(kinds):
        assert f"Could not find {words}" in refusal(create)[1]
    for *_, create in kinds:
        create()
    for words, *_, create in kinds:
        assert f"Cannot create already existing {words}" in refusal(create)[1]
    aws.train("it")
    assert refusal(lambda: aws.train("it"))[0] == "ResourceInUse"


def test_limits_hold_for_jobs_and_endpoints(aws: SageMakerAccount) -> None:
    aws.standin.market.quotas["ml.g5.2xlarge for endpoint usage"] = 0
    aws.train("one")
    code, message = refusal(lambda: aws.train("two"))
    assert code == "ResourceLimitExceeded"
    assert "'ml.g5.2xlarge for training job usage' is 1 Instances, with current utilization of 1" in message
    assert refusal(lambda: aws.deploy("it"))[0] == "ResourceLimitExceeded"
    aws.standin.market.quotas["ml.g5.2xlarge for endpoint usage"] = 1
    aws.sagemaker.create_endpoint(EndpointName="it", EndpointConfigName="it")


def test_without_capacity_jobs_and_endpoints_fail_unbilled(aws: SageMakerAccount) -> None:
    aws.standin.market.without_capacity = {"ml.g5.2xlarge"}
    aws.train("job")
    aws.deploy("it")
    assert "CapacityError" in aws.job("job")["FailureReason"]
    assert "InsufficientInstanceCapacity" in aws.endpoint("it")["FailureReason"]
    assert aws.job("job")["BillableTimeInSeconds"] == 0
    aws.sagemaker.delete_endpoint(EndpointName="it")
    assert aws.standin.control_plane.leftovers()["endpoints"] == []


def test_lists_filter_by_name_status_and_time(aws: SageMakerAccount, clock: StoppedClock) -> None:
    aws.train("captune-one")
    aws.job("captune-one"), aws.job("captune-one")
    clock.advance(minutes=2)
    aws.train("captune-two")
    after = clock.now - timedelta(minutes=1)
    for query, expected in (
        ({"StatusEquals": "InProgress"}, ["captune-two"]),
        ({"NameContains": "Captune-O"}, ["captune-one"]),
        ({"CreationTimeAfter": after}, ["captune-two"]),
        ({}, ["captune-one", "captune-two"]),
    ):
        rows = aws.sagemaker.list_training_jobs(**query)["TrainingJobSummaries"]
        assert [row["TrainingJobName"] for row in rows] == expected, query
    assert "does not play SortBy" in refusal(lambda: aws.sagemaker.list_training_jobs(SortBy="Name"))[1]


def test_a_page_is_cut_before_it_is_filtered_and_may_be_empty(aws: SageMakerAccount) -> None:
    for name in ("mine", "other-1", "other-2"):  # at one moment: the last name comes first
        aws.sagemaker.create_model(**model_request(name))
    request = {"NameContains": "mine", "MaxResults": 2}
    first = aws.sagemaker.list_models(**request)
    assert first["Models"] == []
    second = aws.sagemaker.list_models(**request, NextToken=first["NextToken"])
    assert [row["ModelName"] for row in second["Models"]] == ["mine"]
    assert "NextToken" not in second


def test_a_jobs_longest_time_is_that_of_its_command_and_not_of_its_downloads() -> None:
    clock = StoppedClock()
    job = TrainingJob("job", "arn", training_request("job"), clock)
    for start in range(2):
        job.enter("Starting", "")
        clock.advance(seconds=5)
        job.enter("Downloading", "")
        clock.advance(seconds=100)
        assert job.ran_seconds(clock()) == 10 * start
        job.enter("Training", "")
        clock.advance(seconds=10)
        assert job.ran_seconds(clock()) == 10 * (start + 1)
        job.interrupt()
        clock.advance(seconds=1000)
    assert (job.ran_seconds(clock()), job.trained_seconds(clock())) == (20, 220)
    assert job.max_runtime == timedelta(hours=1)


def test_a_job_on_spot_bills_a_share_of_the_seconds_in_which_it_has_an_instance() -> None:
    clock = StoppedClock()
    job = TrainingJob("job", "arn", training_request("job", EnableManagedSpotTraining=True), clock)
    for _ in range(2):
        job.enter("Downloading", "")
        clock.advance(seconds=75)
        job.interrupt()
        clock.advance(seconds=1000)
    job.finish("Completed")
    answer = job.describe()
    assert (answer["TrainingTimeInSeconds"], answer["BillableTimeInSeconds"]) == (150, 60)


def test_changes_may_be_told_later_than_they_happened() -> None:
    clock = StoppedClock()
    begun, moments = clock(), [clock() + timedelta(seconds=seconds) for seconds in (60, 90, 120, 300)]
    job = TrainingJob("job", "arn", training_request("job"), clock)
    clock.advance(hours=1)
    download = partial(job.enter, "Downloading", "")
    changes: list[Callable[..., None]] = [download, job.interrupt, download, partial(job.finish, "Completed")]
    for change, moment in zip(changes, moments, strict=True):
        change(at=moment)
    told = job.describe()
    assert [step["StartTime"] for step in told["SecondaryStatusTransitions"]] == [begun, *moments]
    assert (told["TrainingStartTime"], told["TrainingEndTime"]) == (moments[0], moments[-1])
    assert told["BillableTimeInSeconds"] == 30 + 180


# requests that AWS would refuse

LICENCE = "AcceptEula value must be explicitly"


def resources(**changes: Any) -> dict[str, Any]:
    return {"ResourceConfig": training_request("x")["ResourceConfig"] | changes}


LISTED = [{"InstanceType": "ml.g5.2xlarge"}]
ON_SPOT = {
    "EnableManagedSpotTraining": True, "StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9},
}  # fmt: skip
JOBS: list[tuple[dict[str, Any], str]] = [
    ({"TrainingJobName": "under_score"}, "'under_score' at 'TrainingJobName' failed to satisfy constraint"),
    ({"StoppingCondition": {}}, "Value null at 'StoppingCondition.MaxRuntimeInSeconds'"),
    ({"StoppingCondition": {"MaxRuntimeInSeconds": 0}}, "at least 1"),
    (resources(InstanceType="ml.g5.huge"), "'ml.g5.huge' at 'ResourceConfig.InstanceType'"),
    (resources(InstancePreferences=LISTED), "either an InstanceType or InstancePreferences"),
    (resources(InstanceType=None), "either an InstanceType or InstancePreferences"),
    (resources(InstanceType=None, InstancePreferences=2 * LISTED), "only once in InstancePreferences"),
    (resources(InstanceType=None, InstancePreferences=LISTED) | ON_SPOT, "mutually exclusive with EnableManagedSpot"),
    (resources(InstanceCount=None), "Value null at 'ResourceConfig.InstanceCount'"),
    ({"AlgorithmSpecification": {"TrainingInputMode": "File"}}, "Value null at 'AlgorithmSpecification.TrainingImage'"),
    ({"InputDataConfig": [channel("model", GATED)]}, LICENCE),
    ({"InputDataConfig": [{"ChannelName": "a", "DataSource": {}}]}, "'InputDataConfig[0].DataSource.S3DataSource'"),
    ({"Environment": {"NAME": "v" * 513}}, "length at most 512"),
    ({"Tags": [{"Key": "a<b>", "Value": "c"}]}, "at 'Tags[0].Key'"),
    ({"OutputDataConfig": {"S3OutputPath": "s3://b/k"}}, "CompressionType NONE only"),
    ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds must be equal to or greater"),
    ({"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}}, "only allowed when"),
]

MODELS: list[tuple[dict[str, Any], str]] = [
    (model_request("m", ModelDataSource=source(GATED[:-1], ModelAccessConfig={"AcceptEula": True})), "forward slash"),
    (model_request("m", ModelDataSource=source(GATED)), LICENCE),
    (model_request("m", {"ChannelName": "adapter", **source(f"s3://{BUCKET}/adapter")}), "forward slash"),
    (model_request("m", {"ChannelName": "adapter", **source(f"s3://{BUCKET}/no/")}), "Could not find model data at"),
    ({"ModelName": "m", "ExecutionRoleArn": ROLE}, "Value null at 'PrimaryContainer'"),
    (model_request("m") | {"PrimaryContainer": {"ModelDataUrl": "s3://b/k"}}, "Value null at 'PrimaryContainer.Image'"),
]

VARIANTS: list[tuple[dict[str, Any], str]] = [
    ({"ContainerStartupHealthCheckTimeoutInSeconds": 3601}, "value at most 3600"),
    ({"InstanceType": None}, "either an InstanceType or InstancePools"),
]


def test_a_wrong_request_is_rejected(aws: SageMakerAccount) -> None:
    jobs = [(training_request("job") | changes, words) for changes, words in JOBS]
    configurations = [(configuration_request("it", **changes), words) for changes, words in VARIANTS]
    sagemaker = aws.sagemaker
    for create, requests in (
        (sagemaker.create_training_job, jobs),
        (sagemaker.create_model, MODELS),
        (sagemaker.create_endpoint_config, configurations),
    ):
        for request, words in requests:
            code, message = refusal(partial(create, **request))
            assert code == "ValidationException" and words in message


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"TrainingJobName": "a", "Colour": "red"}, "Unknown parameter 'Colour'"),
        ({"TrainingJobName": 5}, "Value '5' at 'TrainingJobName' failed to satisfy constraint"),
        ({}, "1 validation error detected: Value null at 'TrainingJobName'"),
        ({"TrainingJobName": "_", "Other": 1}, "2 validation errors detected"),
    ],
)
def test_what_botocore_would_never_send_is_rejected_too(request_: Any, words: str) -> None:
    with pytest.raises(ServiceError, match="ValidationException") as caught:
        check_request("sagemaker", "DescribeTrainingJob", request_)
    assert words in caught.value.message


def test_an_operation_that_is_not_played_is_rejected_by_name(aws: SageMakerAccount) -> None:
    code, message = refusal(lambda: aws.sagemaker.list_algorithms())
    assert code == "UnknownOperationException" and "ListAlgorithms" in message
