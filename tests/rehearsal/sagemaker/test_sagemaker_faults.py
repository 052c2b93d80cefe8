"""Faults on demand and the record of calls."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError, HTTPClientError

from rehearsal.sagemaker import Call
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining
from tests.doubles.rehearsal.sagemaker_account import Account, account, refusal


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Account]:
    with account(tmp_path, training=FakeTraining(), hosting=FakeHosting()) as made:
        yield made


def test_a_fault_meets_as_many_calls_as_it_is_for(aws: Account) -> None:
    fault = aws.standin.faults.add(operation="ListModels", error="ThrottlingException", times=2)
    answers = [refusal(aws.sagemaker.list_models) for _ in range(2)]
    assert answers == [("ThrottlingException", "Rate exceeded")] * 2
    assert aws.sagemaker.list_models()["Models"] == []
    assert fault.hits == 2


def test_a_permanent_fault_stays_until_it_is_cleared(aws: Account) -> None:
    aws.standin.faults.add(operation="ListModels", error="InternalFailure", times=None)
    assert {refusal(aws.sagemaker.list_models)[0] for _ in range(3)} == {"InternalFailure"}
    aws.standin.faults.clear()
    aws.sagemaker.list_models()


def test_faults_choose_their_calls(aws: Account) -> None:
    aws.standin.faults.add(
        operation="CreateTrainingJob",
        error="AccessDeniedException",
        when=lambda asked: "two" in asked["TrainingJobName"],
    )
    aws.standin.faults.add(operation="ListModels", error="ServiceUnavailable", skip=1)
    aws.train("one")
    assert refusal(lambda: aws.train("two"))[0] == "AccessDeniedException"
    aws.sagemaker.list_models()
    assert refusal(aws.sagemaker.list_models)[0] == "ServiceUnavailable"


def test_an_answer_can_be_lost_after_the_work_is_done(aws: Account) -> None:
    aws.standin.faults.add(operation="CreateTrainingJob", error="InternalFailure", after=True)
    assert refusal(lambda: aws.train("job"))[0] == "InternalFailure"
    assert refusal(lambda: aws.train("job"))[0] == "ResourceInUse"


def test_an_answer_can_be_malformed(aws: Account) -> None:
    aws.standin.faults.add(operation="DescribeTrainingJob", answer={"Surprise": 1})
    aws.standin.faults.add(operation="DescribeTrainingJob", answer=b"<html>")
    # botocore reads neither as an error: a caller has to look at what it got.
    assert ["TrainingJobStatus" in aws.job("job") for _ in range(2)] == [False, False]


def test_a_connection_can_break(aws: Account) -> None:
    aws.standin.faults.add(operation="ListModels", drop=True)
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        aws.sagemaker.list_models()


def test_something_can_happen_just_before_a_call(aws: Account) -> None:
    seen: list[Any] = []

    def abort(call: Call) -> None:
        seen.append((call.operation, aws.standin.leftovers()["training jobs"]))

    aws.standin.faults.add(operation="CreateTrainingJob", before=abort)
    aws.train("job")
    assert seen == [("CreateTrainingJob", [])]
    assert aws.standin.leftovers()["training jobs"] == ["job"]


def test_a_call_hangs_until_it_is_released(aws: Account) -> None:
    fault = aws.standin.faults.add(operation="CreateTrainingJob", hang=True)
    calling = threading.Thread(target=aws.train, args=("job",))
    calling.start()
    assert fault.reached.wait(10)
    assert aws.standin.leftovers()["training jobs"] == []
    fault.release()
    calling.join(10)
    assert aws.standin.leftovers()["training jobs"] == ["job"]


def test_invocations_meet_faults_too(aws: Account) -> None:
    aws.deploy("it")
    aws.endpoint("it"), aws.endpoint("it")
    aws.standin.faults.add(operation="InvokeEndpoint", error="ModelError")
    assert refusal(lambda: aws.ask("it", model="base", prompt="Hello"))[0] == "ModelError"
    aws.ask("it", model="base", prompt="Hello")


def test_every_call_is_recorded_with_who_called_and_how_it_ended(aws: Account) -> None:
    aws.standin.faults.add(operation="ListModels", error="ThrottlingException")
    refusal(aws.sagemaker.list_models)
    aws.sagemaker.list_models(MaxResults=5)
    refused, answered = aws.standin.calls[-2:]
    assert (refused.service, refused.operation, refused.error) == ("sagemaker", "ListModels", "ThrottlingException")
    assert (answered.access_key, answered.request, answered.status) == ("AKIDTEST", {"MaxResults": 5}, 200)
    assert answered.time.tzinfo is not None
