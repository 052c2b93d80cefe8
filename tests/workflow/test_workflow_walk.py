"""The small interpreter that the runs of tests/stacks are walked with, held against the rehearsal's: the same answers, the same way."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from rehearsal.account.cloud import Cloud
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining, HostingPlan, TrainingPlan
from rehearsal.step_functions.executions import Execution
from rehearsal.step_functions.walk import Call, Failure, Walk, catches

Rehearse = Callable[..., Execution]
BRANCHES = ("AskBaseModel", "AskFineTunedModel")


class Replayed:
    """Gives each state's calls the answers that an execution of the rehearsal had, by its history."""

    def __init__(self, execution: Execution) -> None:
        self._answers: dict[str, list[Any]] = defaultdict(list)
        state = ""
        for event in execution.history():
            state = event.get("stateEnteredEventDetails", {}).get("name", state)
            # Two branches write into one history by turns; what Ask answers is the same in both.
            name = "Ask" if state in BRANCHES or state.endswith(("Answered?", "ModelDone")) else state
            if "taskSucceededEventDetails" in event:
                self._answers[name].append(json.loads(event["taskSucceededEventDetails"]["output"]))
            elif "taskFailedEventDetails" in event:
                told = event["taskFailedEventDetails"]
                self._answers[name].append(Failure(told["error"], told["cause"]))

    def __call__(self, call: Call) -> Any:
        """What the rehearsal's call of this state was answered. Raises Failure as it did."""
        answer = self._answers["Ask" if call.state in BRANCHES else call.state].pop(0)
        if isinstance(answer, Failure):
            raise answer
        return answer


def walked_again(cloud: Cloud, execution: Execution) -> Walk:
    """The same execution, walked by the small interpreter."""
    assert cloud.deployment is not None
    definition = json.loads(cloud.deployment.definitions[execution.machine])
    context = {"Name": execution.name, "Id": execution.arn}
    return Walk(definition, Replayed(execution), execution.input, context).run()


def outside_the_branches(states: list[str]) -> list[str]:
    """The states in their order; those of the two branches, which take turns, by name."""
    inside = [name for name in states if name in BRANCHES or name.endswith(("Answered?", "ModelDone"))]
    return [name for name in states if name not in inside] + sorted(inside)


def agree(cloud: Cloud, execution: Execution) -> None:
    walk = walked_again(cloud, execution)
    assert outside_the_branches(walk.states) == outside_the_branches(execution.states())
    assert (walk.status, walk.error, walk.cause) == (execution.status, execution.error, execution.cause)
    if walk.status == "SUCCEEDED":
        assert walk.output == execution.output


@pytest.mark.parametrize(
    ("jobs", "endpoints", "status"),
    [
        ([TrainingPlan()], [HostingPlan()], "SUCCEEDED"),
        ([TrainingPlan(outcome="cut")], [HostingPlan()], "SUCCEEDED"),
        ([TrainingPlan(outcome="failed")], [HostingPlan()], "FAILED"),
        (
            [TrainingPlan(outcome="capacity"), TrainingPlan()],
            [HostingPlan(outcome="capacity", deleting_looks=0), HostingPlan()],
            "SUCCEEDED",
        ),
        ([TrainingPlan(outcome="waits")], [HostingPlan()], "FAILED"),
    ],
    ids=["usual", "cut", "failed", "no capacity at first", "no capacity"],
)
def test_both_take_a_run_and_its_tear_down_the_same_way(
    cloud: Cloud, rehearse: Rehearse, jobs: list[TrainingPlan], endpoints: list[HostingPlan], status: str
) -> None:
    cloud.reset(training=FakeTraining(*jobs), hosting=FakeHosting(*endpoints))
    execution = rehearse()
    assert execution.status == status, execution.cause
    assert cloud.deployment is not None
    for one in (execution, *cloud.executions.of(cloud.deployment.tear_down)):
        agree(cloud, one)


@pytest.mark.parametrize("operation", ["CreateModel", "CreateTrainingJob"])
def test_both_try_again_and_catch_alike(cloud: Cloud, rehearse: Rehearse, operation: str) -> None:
    cloud.sagemaker.faults.add(operation=operation, error="ValidationException", message="no luck", times=None)
    execution = rehearse()
    assert execution.status == "FAILED"
    agree(cloud, execution)


@pytest.mark.parametrize("operation", ["CreateModel", "CreateTrainingJob"])
def test_both_go_on_from_a_lost_answer_alike(cloud: Cloud, rehearse: Rehearse, operation: str) -> None:
    cloud.sagemaker.faults.add(operation=operation, error="InternalFailure", status=500, after=True)
    execution = rehearse()
    assert execution.status == "SUCCEEDED", execution.cause
    agree(cloud, execution)


@pytest.mark.parametrize(
    ("wildcard", "error", "caught"),
    [
        ("States.ALL", "SageMaker.SageMakerException", True),
        ("States.ALL", "States.Timeout", True),
        ("States.ALL", "States.DataLimitExceeded", False),
        ("States.TaskFailed", "SageMaker.SageMakerException", True),
        ("States.TaskFailed", "States.Timeout", False),
    ],
)
def test_a_wildcard_catches_what_aws_documents_and_no_more(wildcard: str, error: str, caught: bool) -> None:
    assert catches({"ErrorEquals": [wildcard]}, error) is caught
    assert catches({"ErrorEquals": [error]}, error)
