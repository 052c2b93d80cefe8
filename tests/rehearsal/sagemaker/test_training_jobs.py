"""Training jobs behave as SageMaker's do, seen through botocore; on spot they are interrupted and bill less than they train."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.sagemaker.api.validation import service_model, violations
from rehearsal.sagemaker.fake import FakeTraining, TrainingPlan
from tests.doubles.rehearsal.sagemaker_account import BUCKET, Account, Clock, model_request, refusal

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
ON_SPOT: dict[str, Any] = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
}
START = ["Starting", "Downloading", "Training"]


def statuses(answer: dict[str, Any]) -> list[str]:
    return [step["Status"] for step in answer["SecondaryStatusTransitions"]]


def test_a_job_goes_through_its_states_and_bills_its_instance(aws: Account, clock: Clock) -> None:
    aws.train("job")
    first = aws.job("job")
    clock.advance(seconds=90.2)
    last = aws.job("job")
    assert (first["TrainingJobStatus"], first["SecondaryStatus"]) == ("InProgress", "Training")
    assert "BillableTimeInSeconds" not in first
    assert (last["TrainingJobStatus"], last["SecondaryStatus"]) == ("Completed", "Completed")
    assert last["BillableTimeInSeconds"] == last["TrainingTimeInSeconds"] == 91
    assert statuses(last) == ["Pending", *START, "Uploading", "Completed"]
    assert last["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/runs/job/training/job/output/model/"
    assert "runs/job/training/job/output/model/adapter_model.safetensors" in aws.keys("runs/")
    assert aws.standin.billed_seconds()["training"] == {"job": 91}


def test_answers_have_only_members_that_the_service_has(aws: Account) -> None:
    aws.train("it", Environment={"A": "b"}, Tags=[{"Key": "project", "Value": "captune"}])
    aws.deploy("it")
    for kind in ("TrainingJob", "Model", "Endpoint", "EndpointConfig"):
        answer = aws.standin.control.call(f"Describe{kind}", {f"{kind}Name": "it"}, "us-east-1")
        shape = service_model("sagemaker").operation_model(f"Describe{kind}").output_shape
        assert shape is not None
        assert violations(shape, answer) == []


@pytest.mark.parametrize(
    ("plan", "state", "reason", "billed"),
    [
        (TrainingPlan("failed"), ("Failed", "Failed"), "AlgorithmError", 5),
        (TrainingPlan("killed"), ("Failed", "Failed"), "signal 9", 5),
        (TrainingPlan("capacity"), ("Failed", "Failed"), "CapacityError", 0),
        (TrainingPlan("waits"), ("Stopped", "Stopped"), "", 0),
        (TrainingPlan("cut"), ("Stopped", "MaxRuntimeExceeded"), "", 5),
        (TrainingPlan("failed", reason="another"), ("Failed", "Failed"), "another", 5),
    ],
)
def test_a_fake_job_ends_as_its_plan_says(
    aws: Account, clock: Clock, training: FakeTraining, plan: Any, state: Any, reason: str, billed: int
) -> None:
    training.plans = [plan, TrainingPlan(looks=0)]
    aws.train("job")
    clock.advance(seconds=5)
    aws.job("job")
    answer = aws.job("job")
    assert (answer["TrainingJobStatus"], answer["SecondaryStatus"]) == state
    assert reason in answer.get("FailureReason", "")
    assert answer["BillableTimeInSeconds"] == billed
    aws.train("next")
    assert aws.job("next")["TrainingJobStatus"] == "Completed", "the last plan serves all further jobs"


def test_a_job_that_hangs_ends_at_its_maximum_runtime(aws: Account, clock: Clock, training: FakeTraining) -> None:
    training.plans = [TrainingPlan("hangs")]
    aws.train("job")
    clock.advance(hours=5)
    answer = aws.job("job")
    assert (answer["TrainingJobStatus"], answer["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert answer["BillableTimeInSeconds"] == 3600


def test_a_stopped_job_is_stopping_first_and_cannot_be_stopped_again(aws: Account) -> None:
    aws.train("job")
    aws.sagemaker.stop_training_job(TrainingJobName="job")
    assert [aws.job("job")["TrainingJobStatus"] for _ in range(3)] == ["Stopping", "Stopped", "Stopped"]
    refused = refusal(lambda: aws.sagemaker.stop_training_job(TrainingJobName="job"))
    assert "in status Stopped" in refused[1]


def test_interruptions_bill_neither_the_wait_nor_the_price_on_demand(
    aws: Account, clock: Clock, training: FakeTraining
) -> None:
    training.plans = [TrainingPlan(interruptions=1)]
    aws.train("job", **ON_SPOT)
    clock.advance(seconds=100)
    taken = aws.job("job")
    clock.advance(seconds=1000)
    back = aws.job("job")
    clock.advance(seconds=50)
    aws.job("job")
    done = aws.job("job")
    assert [one["SecondaryStatus"] for one in (taken, back, done)] == ["Interrupted", "Training", "Completed"]
    assert {one["TrainingJobStatus"] for one in (taken, back)} == {"InProgress"}
    assert (done["TrainingTimeInSeconds"], done["BillableTimeInSeconds"]) == (150, 60)
    assert aws.standin.billed_seconds()["training"]["job"] == 60
    assert statuses(done) == ["Pending", *START, "Interrupted", *START, "Uploading", "Completed"]


@pytest.mark.parametrize(
    ("plan", "seconds", "state", "trained", "billed"),
    [
        (TrainingPlan("taken", looks=100), [100, 3 * 3600], "MaxWaitTimeExceeded", 100, 40),
        (TrainingPlan("waits"), [100, 0], "MaxWaitTimeExceeded", 0, 0),
        (TrainingPlan("hangs", interruptions=1), [2000, 1000, 1600], "MaxRuntimeExceeded", 3600, 1440),
    ],
)
def test_a_spot_job_ends_when_its_time_is_over(
    aws: Account,
    clock: Clock,
    training: FakeTraining,
    plan: Any,
    seconds: list[int],
    state: str,
    trained: int,
    billed: int,
) -> None:
    training.plans = [plan]
    aws.train("job", **ON_SPOT)
    for each in seconds:
        clock.advance(seconds=each)
        done = aws.job("job")
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", state)
    assert (done["TrainingTimeInSeconds"], done["BillableTimeInSeconds"]) == (trained, billed)


def test_a_job_that_waits_for_a_spot_instance_can_be_stopped(aws: Account, training: FakeTraining) -> None:
    training.plans = [TrainingPlan("taken", looks=100)]
    aws.train("job", **ON_SPOT)
    aws.job("job")
    aws.sagemaker.stop_training_job(TrainingJobName="job")
    assert [aws.job("job")["TrainingJobStatus"] for _ in range(2)] == ["Stopping", "Stopped"]


def test_limits_hold_for_jobs_and_endpoints(aws: Account) -> None:
    aws.standin.market.set_quota("L-9614C779", 0)
    aws.train("one")
    code, message = refusal(lambda: aws.train("two"))
    assert code == "ResourceLimitExceeded"
    assert "'ml.g5.2xlarge for training job usage' is 1 Instances, with current utilization of 1" in message
    assert refusal(lambda: aws.deploy("it"))[0] == "ResourceLimitExceeded"
    aws.standin.market.set_quota("L-9614C779", 1)
    aws.sagemaker.create_endpoint(EndpointName="it", EndpointConfigName="it")


def test_without_capacity_jobs_and_endpoints_fail_unbilled(aws: Account) -> None:
    aws.standin.market.without_capacity = {"ml.g5.2xlarge"}
    aws.train("job")
    aws.deploy("it")
    assert "CapacityError" in aws.job("job")["FailureReason"]
    assert "InsufficientInstanceCapacity" in aws.endpoint("it")["FailureReason"]
    assert aws.job("job")["BillableTimeInSeconds"] == 0
    aws.sagemaker.delete_endpoint(EndpointName="it")
    assert aws.standin.leftovers()["endpoints"] == []


def test_lists_filter_by_name_status_and_time(aws: Account, clock: Clock) -> None:
    aws.train("captune-one")
    aws.job("captune-one"), aws.job("captune-one")
    clock.advance(minutes=1)
    middle = clock.now
    clock.advance(minutes=1)
    aws.train("captune-two")

    def names(**query: Any) -> list[str]:
        return [row["TrainingJobName"] for row in aws.sagemaker.list_training_jobs(**query)["TrainingJobSummaries"]]

    assert names(StatusEquals="InProgress") == ["captune-two"]
    assert names(NameContains="captune-o") == ["captune-one"]
    assert names(CreationTimeBefore=middle) == ["captune-one"]
    assert names(CreationTimeAfter=middle) == ["captune-two"]
    assert names(SortOrder="Descending") == ["captune-two", "captune-one"]


def test_pages_survive_a_deletion_between_them(aws: Account) -> None:
    for number in range(25):
        aws.sagemaker.create_model(**model_request(f"model-{number:02}"))
    order = {"SortBy": "Name", "SortOrder": "Ascending"}
    first = aws.sagemaker.list_models(**order)
    assert len(first["Models"]) == 10
    aws.sagemaker.delete_model(ModelName="model-03")
    pages = aws.sagemaker.get_paginator("list_models").paginate(
        **order, PaginationConfig={"StartingToken": first["NextToken"]}
    )
    rest = [row["ModelName"] for page in pages for row in page["Models"]]
    assert rest == [f"model-{number:02}" for number in range(10, 25)]


def test_a_page_is_cut_before_it_is_filtered_and_may_be_empty(aws: Account) -> None:
    for name in ("mine", "other-1", "other-2"):
        aws.sagemaker.create_model(**model_request(name))
    request = {"SortBy": "Name", "SortOrder": "Descending", "NameContains": "mine", "MaxResults": 2}
    first = aws.sagemaker.list_models(**request)
    assert first["Models"] == []
    second = aws.sagemaker.list_models(**request, NextToken=first["NextToken"])
    assert [row["ModelName"] for row in second["Models"]] == ["mine"]
    assert "NextToken" not in second


def test_tags_belong_to_what_exists(aws: Account) -> None:
    tags = [{"Key": "project", "Value": "captune"}]
    aws.train("job", Tags=tags)
    assert aws.sagemaker.list_tags(ResourceArn=f"{ARN}:training-job/job")["Tags"] == tags
    assert refusal(lambda: aws.sagemaker.list_tags(ResourceArn=f"{ARN}:endpoint/none"))[0] == "ValidationException"
