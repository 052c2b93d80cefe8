"""The stand-in's control plane behaves as SageMaker's does, seen through botocore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rehearsal.sagemaker.api.validation import service_model, violations
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining, TrainingPlan
from tests.doubles.rehearsal.sagemaker_account import (
    BUCKET,
    Account,
    Clock,
    account,
    model_request,
    refusal,
    training_request,
)

ARN = "arn:aws:sagemaker:us-east-1:123456789012"


def test_a_training_job_goes_through_its_states_and_bills_from_the_start_of_the_instance(
    aws: Account, clock: Clock
) -> None:
    aws.train("job")
    first = aws.job("job")
    clock.advance(seconds=90.2)
    last = aws.job("job")

    assert (first["TrainingJobStatus"], first["SecondaryStatus"]) == ("InProgress", "Training")
    assert "BillableTimeInSeconds" not in first
    assert (last["TrainingJobStatus"], last["SecondaryStatus"]) == ("Completed", "Completed")
    assert last["BillableTimeInSeconds"] == last["TrainingTimeInSeconds"] == 91
    steps = [step["Status"] for step in last["SecondaryStatusTransitions"]]
    assert steps == ["Pending", "Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert last["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/runs/job/training/job/output/model/"
    assert "runs/job/training/job/output/model/adapter_model.safetensors" in aws.keys("runs/")
    assert aws.standin.billed_seconds()["training"] == {"job": 91}


def test_answers_have_only_members_that_the_service_has(aws: Account) -> None:
    aws.train("job", Environment={"A": "b"}, Tags=[{"Key": "project", "Value": "captune"}])
    aws.deploy("it")
    aws.endpoint("it")
    for operation, name in (
        ("DescribeTrainingJob", "TrainingJobName"), ("DescribeModel", "ModelName"),
        ("DescribeEndpoint", "EndpointName"), ("DescribeEndpointConfig", "EndpointConfigName"),
    ):  # fmt: skip
        thing = "job" if "Training" in operation else "it"
        answer = aws.standin.control.call(operation, {name: thing}, "us-east-1")
        shape = service_model("sagemaker").operation_model(operation).output_shape
        assert shape is not None
        assert [found for found in violations(shape, answer) if "timestamp" not in found] == []


def test_a_second_job_of_one_name_is_in_use(aws: Account) -> None:
    aws.train("job")
    aws.job("job"), aws.job("job")
    code, message = refusal(lambda: aws.train("job"))
    assert code == "ResourceInUse"
    assert f"{ARN}:training-job/job" in message


def test_what_is_missing_is_a_validation_exception_worded_for_its_kind(aws: Account) -> None:
    sagemaker = aws.sagemaker
    assert refusal(lambda: aws.job("no")) == ("ValidationException", "Requested resource not found.")
    assert refusal(lambda: sagemaker.stop_training_job(TrainingJobName="no"))[1] == "Requested resource not found."
    missing = {
        f'Could not find endpoint "{ARN}:endpoint/no".': lambda: sagemaker.delete_endpoint(EndpointName="no"),
        f'Could not find endpoint configuration "{ARN}:endpoint-config/no".': lambda: sagemaker.delete_endpoint_config(
            EndpointConfigName="no"
        ),
        f'Could not find model "{ARN}:model/no".': lambda: sagemaker.delete_model(ModelName="no"),
    }
    for message, action in missing.items():
        assert refusal(action) == ("ValidationException", message)


def test_stopping_goes_over_stopping_and_a_stopped_job_cannot_be_stopped(aws: Account) -> None:
    aws.train("job")
    aws.sagemaker.stop_training_job(TrainingJobName="job")
    states = [aws.job("job")["TrainingJobStatus"] for _ in range(3)]
    assert states == ["Stopping", "Stopped", "Stopped"]
    message = "The request was rejected because the training job is in status Stopped."
    assert refusal(lambda: aws.sagemaker.stop_training_job(TrainingJobName="job"))[1] == message


@pytest.mark.parametrize(
    ("outcome", "words", "billed"),
    [("failed", "AlgorithmError", True), ("killed", "signal 9", True), ("capacity", "CapacityError", False)],
)
def test_a_fake_job_fails_as_its_plan_says(
    aws: Account, clock: Clock, training: FakeTraining, outcome: Any, words: str, billed: bool
) -> None:
    training.plans = [TrainingPlan(outcome=outcome)]
    aws.train("job")
    clock.advance(seconds=5)
    aws.job("job")
    answer = aws.job("job")
    assert answer["TrainingJobStatus"] == "Failed"
    assert words in answer["FailureReason"]
    assert (answer["BillableTimeInSeconds"] > 0) == billed


def test_a_job_that_hangs_ends_at_its_maximum_runtime(aws: Account, clock: Clock, training: FakeTraining) -> None:
    training.plans = [TrainingPlan(outcome="hangs")]
    aws.train("job")
    clock.advance(hours=5)
    answer = aws.job("job")
    assert (answer["TrainingJobStatus"], answer["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert answer["BillableTimeInSeconds"] == 3600


def test_plans_follow_one_another_and_the_last_one_stays(tmp_path: Path) -> None:
    plans = (TrainingPlan(outcome="capacity", looks=0), TrainingPlan(looks=0))
    with account(tmp_path, training=FakeTraining(*plans), hosting=FakeHosting()) as aws:
        states = []
        for name in ("one", "two", "three"):
            aws.train(name)
            states.append(aws.job(name)["TrainingJobStatus"])
    assert states == ["Failed", "Completed", "Completed"]


def test_service_limits_hold_for_jobs_and_endpoints(tmp_path: Path) -> None:
    limits = {"L-2D6DEB3C": 1, "L-9614C779": 0}
    with account(tmp_path, training=FakeTraining(), hosting=FakeHosting(), quotas=limits) as aws:
        aws.train("one")
        code, message = refusal(lambda: aws.train("two"))
        assert code == "ResourceLimitExceeded"
        assert "'ml.g5.2xlarge for training job usage' is 1 Instances, with current utilization of 1" in message
        assert refusal(lambda: aws.deploy("it"))[0] == "ResourceLimitExceeded"
        aws.standin.market.set_quota("L-9614C779", 1)
        aws.sagemaker.create_endpoint(EndpointName="it", EndpointConfigName="it")


def test_lists_filter_by_name_status_and_time(aws: Account, clock: Clock) -> None:
    aws.train("captune-one")
    aws.job("captune-one"), aws.job("captune-one")
    clock.advance(minutes=1)
    middle = clock.now
    clock.advance(minutes=1)
    aws.train("captune-two")

    def names(**query: Any) -> list[str]:
        answer = aws.sagemaker.list_training_jobs(**query)
        return [row["TrainingJobName"] for row in answer["TrainingJobSummaries"]]

    assert names(StatusEquals="InProgress") == ["captune-two"]
    assert names(NameContains="captune-o") == ["captune-one"]
    assert names(CreationTimeBefore=middle) == ["captune-one"]
    assert names(CreationTimeAfter=middle) == ["captune-two"]
    assert names(SortOrder="Descending") == ["captune-two", "captune-one"]


def test_lists_come_in_pages_that_survive_a_deletion_between_them(aws: Account) -> None:
    for number in range(25):
        aws.sagemaker.create_model(**model_request(f"model-{number:02}"))
    first = aws.sagemaker.list_models(SortBy="Name", SortOrder="Ascending")
    assert len(first["Models"]) == 10
    aws.sagemaker.delete_model(ModelName="model-03")
    pages = aws.sagemaker.get_paginator("list_models").paginate(
        SortBy="Name", SortOrder="Ascending", PaginationConfig={"StartingToken": first["NextToken"]}
    )
    rest = [row["ModelName"] for page in pages for row in page["Models"]]
    assert rest == [f"model-{number:02}" for number in range(10, 25)]


def test_a_page_is_cut_before_it_is_looked_through_and_may_be_empty(aws: Account) -> None:
    for name in ("mine", "other-1", "other-2"):
        aws.sagemaker.create_model(**model_request(name))
    request = {"SortBy": "Name", "SortOrder": "Descending", "NameContains": "mine", "MaxResults": 2}
    first = aws.sagemaker.list_models(**request)
    assert first["Models"] == []
    second = aws.sagemaker.list_models(**request, NextToken=first["NextToken"])
    assert [row["ModelName"] for row in second["Models"]] == ["mine"]
    assert "NextToken" not in second


def test_tags_are_kept_and_added_to(aws: Account) -> None:
    aws.train("job", Tags=[{"Key": "project", "Value": "captune"}])
    where = f"{ARN}:training-job/job"
    aws.sagemaker.add_tags(ResourceArn=where, Tags=[{"Key": "run", "Value": "job"}])
    tags = {tag["Key"]: tag["Value"] for tag in aws.sagemaker.list_tags(ResourceArn=where)["Tags"]}
    assert tags == {"project": "captune", "run": "job"}
    aws.sagemaker.delete_tags(ResourceArn=where, TagKeys=["run", "never set"])
    assert aws.sagemaker.list_tags(ResourceArn=where)["Tags"] == [{"Key": "project", "Value": "captune"}]


def test_what_does_not_exist_has_no_tags(aws: Account) -> None:
    where = f"{ARN}:endpoint/none"
    told = ("ValidationException", f'Could not find resource "{where}".')
    assert refusal(lambda: aws.sagemaker.list_tags(ResourceArn=where)) == told
    assert refusal(lambda: aws.sagemaker.add_tags(ResourceArn=where, Tags=[{"Key": "a", "Value": "b"}])) == told


def test_a_role_must_look_like_one(aws: Account) -> None:
    code, message = refusal(lambda: aws.train("job", RoleArn="arn:aws:iam::123456789012:user/somebody"))
    assert code == "ValidationException"
    assert message.startswith("Could not assume role") or "'roleArn'" in message


def test_an_operation_that_is_not_played_says_so(aws: Account) -> None:
    code, message = refusal(lambda: aws.sagemaker.list_algorithms())
    assert (code, message) == ("UnknownOperationException", "The rehearsal does not play ListAlgorithms.")


def test_training_request_of_these_tests_is_valid_as_it_is() -> None:
    shape = service_model("sagemaker").operation_model("CreateTrainingJob").input_shape
    assert shape is not None and violations(shape, training_request("job")) == []
