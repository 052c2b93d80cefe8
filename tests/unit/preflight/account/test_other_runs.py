"""What other runs hold or have left when a run begins: names, instances, resources."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from common.errors import RunNameTaken
from preflight.account.other_runs import leftovers, refuse_taken_name, runs_in_flight
from tests.doubles.lambda_fakes import NOW, SageMaker, arn, refusal
from tests.doubles.ledger_fakes import FakeLedger


def test_a_name_that_nobody_had_is_free() -> None:
    refuse_taken_name(SageMaker(jobs={"captune-abcd": "Completed"}), FakeLedger(), "captune-abc", arn("abc"))


def test_the_reservation_of_this_very_execution_takes_no_name() -> None:
    ledger = FakeLedger().with_run("abc")
    refuse_taken_name(SageMaker(jobs={"captune-abc": "InProgress"}), ledger, "captune-abc", arn("abc"))


def test_a_name_that_another_execution_has_is_refused() -> None:
    ledger = FakeLedger().with_run("abc_1", run="captune-abc-1")
    with pytest.raises(RunNameTaken, match="captune-abc-1 was used before"):
        refuse_taken_name(SageMaker(), ledger, "captune-abc-1", arn("abc-1"))


def test_a_name_that_a_settled_run_had_is_refused() -> None:
    with pytest.raises(RunNameTaken):
        refuse_taken_name(SageMaker(), FakeLedger().with_run("abc").settled("captune-abc"), "captune-abc", arn("abc"))


@pytest.mark.parametrize("job", ["captune-abc", "captune-abc-try2"])
def test_a_name_by_which_sagemaker_remembers_a_job_is_refused_even_with_a_new_ledger(job: str) -> None:
    jobs = {"captune-abc-else": "Completed", job: "Completed"}
    with pytest.raises(RunNameTaken, match="Start a new execution and leave its name to the console"):
        refuse_taken_name(SageMaker(jobs=jobs), FakeLedger(), "captune-abc", arn("abc"))


def test_where_sagemaker_does_not_tell_a_name_is_not_taken_for_free() -> None:
    sagemaker = SageMaker()
    sagemaker.troubles["describe_training_job"] = [refusal("ThrottlingException")]
    with pytest.raises(ClientError, match="ThrottlingException"):
        refuse_taken_name(sagemaker, FakeLedger(), "captune-abc", arn("abc"))


def test_runs_in_flight_are_the_other_open_reservations() -> None:
    ledger = FakeLedger().with_run("a").with_run("b").with_run("c").with_run("me").settled("captune-b")
    assert runs_in_flight(ledger, "captune-me") == ["captune-a", "captune-c"]


def test_a_run_whose_item_cannot_be_read_may_be_in_flight_and_says_so() -> None:
    ledger = FakeLedger().with_run("a").with_run("b").settled("captune-a").settled("captune-b")
    ledger.table.rows["RUN#captune-a"]["state"] = {"BOOL": True}
    assert runs_in_flight(ledger, "captune-me") == [
        "captune-a (its item in the ledger cannot be read, see make ledger)"
    ]
    assert leftovers(SageMaker(endpoints={"captune-a": "InService", "captune-b": "InService"}), ledger, NOW) == [
        "endpoint captune-b"
    ]


def test_leftovers_are_what_bills_without_a_reservation() -> None:
    ledger = FakeLedger().with_run("covered").with_run("done").settled("captune-done")
    sagemaker = SageMaker(
        jobs={"captune-covered-try2": "InProgress", "captune-lost": "InProgress", "captune-old": "Completed"},
        endpoints={
            "captune-covered": "InService", "captune-done": "Creating", "captune-going": "Deleting", "not-captune-x": "InService",
            "captune-lost-2": "Failed",
        },
    )  # fmt: skip
    assert leftovers(sagemaker, ledger, NOW) == [
        "training job captune-lost",
        "endpoint captune-done",
        "endpoint captune-lost-2",
    ]


def test_what_only_has_a_name_like_the_projects_is_no_leftover_for_nobody_would_remove_it() -> None:
    sagemaker = SageMaker(
        jobs={"captune-theirs": "InProgress"}, endpoints={"captune-demo": "InService", "captune-lost": "InService"}
    )
    sagemaker.tags = {"captune-theirs": {}, "captune-demo": {"project": "demo"}}
    assert leftovers(sagemaker, FakeLedger(), NOW) == ["endpoint captune-lost"]


def test_where_sagemaker_does_not_tell_the_tags_the_name_counts() -> None:
    sagemaker = SageMaker(endpoints={"captune-lost": "InService"})
    sagemaker.troubles["list_tags"] = [refusal("ThrottlingException")]
    assert leftovers(sagemaker, FakeLedger(), NOW) == ["endpoint captune-lost"]
