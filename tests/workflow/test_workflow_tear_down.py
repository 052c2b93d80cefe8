"""TearDown with its real definition, Lambdas and rights, while something does not answer: it removes, and it waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from common.names import run_name
from rehearsal.account.cloud import Cloud
from rehearsal.account.deployment import Deployment
from rehearsal.sagemaker.fake import FakeTraining, TrainingPlan
from rehearsal.step_functions.executions import Execution

Rehearse = Callable[..., Execution]
# More than any retry of one state could bear.
MANY = 45


def deployment(cloud: Cloud) -> Deployment:
    assert cloud.deployment is not None
    return cloud.deployment


def tear_down(cloud: Cloud, **event: Any) -> Execution:
    """Starts a TearDown by hand and waits for its end."""
    execution = cloud.start(event, machine=deployment(cloud).tear_down)
    cloud.settle(execution, timeout=120)
    return execution


def fails(cloud: Cloud, function: str, times: int) -> Any:
    """Lets a function fail so often."""
    name = deployment(cloud).functions[function]
    return cloud.faults.add(
        operation="Invoke",
        when=lambda request: name in str(request.get("path")),
        times=times,
        error="TooManyRequestsException",
        status=429,
    )


def visits(execution: Execution, state: str) -> int:
    events = execution.history()
    return sum(event.get("stateEnteredEventDetails", {}).get("name") == state for event in events)


def subjects(cloud: Cloud) -> list[str]:
    return [str(subject) for topic, subject, _ in cloud.messages if topic == deployment(cloud).topic]


def item(cloud: Cloud, execution: Execution) -> dict[str, Any]:
    key = {"pk": {"S": f"RUN#{run_name(execution.name)}"}}
    row = cloud.client("dynamodb").get_item(TableName=deployment(cloud).table, Key=key).get("Item", {})
    return {name: next(iter(value.values())) for name, value in row.items()}


def test_settlement_waits_for_as_long_as_its_function_fails_and_a_person_is_told_once(cloud: Cloud) -> None:
    fault = fails(cloud, "settle", MANY)

    execution = tear_down(cloud, executionName="gone", reason="person")

    assert fault.hits == MANY
    assert execution.status == "SUCCEEDED", execution.cause
    first, last = subjects(cloud)
    assert first == "Captune: not settled yet (captune-gone)"
    assert "not settled" not in last


def test_a_short_trouble_with_settlement_tells_nobody(cloud: Cloud) -> None:
    fails(cloud, "settle", 5)

    assert tear_down(cloud, executionName="gone").status == "SUCCEEDED"
    assert len(subjects(cloud)) == 1


def test_removal_is_tried_for_as_long_as_its_function_fails(cloud: Cloud) -> None:
    fault = fails(cloud, "teardown", MANY)

    execution = tear_down(cloud, executionName="gone")

    assert fault.hits == MANY
    assert execution.status == "SUCCEEDED", execution.cause
    # A pass that failed was not quiet: the two that count came after it.
    assert visits(execution, "RemoveResources") >= 2 + MANY // 2


def test_without_the_ledger_everything_is_removed_and_it_is_settled_when_the_ledger_is_back(cloud: Cloud) -> None:
    cloud.reset(training=FakeTraining(TrainingPlan(outcome="hangs")))
    watched = cloud.sagemaker.faults.add(operation="DescribeTrainingJob", by=cloud.machine_role, hang=True)
    run = cloud.start({"samplesPerPrompt": 0})
    assert watched.reached.wait(60)
    outages = [
        # No error that a client tries again by itself: its patience is real time.
        cloud.faults.add(operation=operation, error="AccessDeniedException", status=400, times=None)
        for operation in ("GetItem", "UpdateItem", "TransactWriteItems", "Scan")
    ]
    cloud.stop(run)
    watched.release()
    until(lambda: outages[0].hits > 20)
    jobs = [call.request["TrainingJobName"] for call in cloud.calls if call.operation == "StopTrainingJob"]
    cloud.faults.clear()
    cloud.settle(run, timeout=120)

    assert jobs == [run_name(run.name)], "the job was stopped while the ledger was silent"
    (execution,) = cloud.executions.of(deployment(cloud).tear_down)
    assert execution.status == "SUCCEEDED", execution.cause
    assert item(cloud, run)["state"] == "settled"


def until(what: Callable[[], bool]) -> None:
    """Waits until something is so, for two minutes at most."""
    pause = threading.Event()
    for _ in range(12_000):
        if what():
            return
        pause.wait(0.01)
    raise TimeoutError


def test_an_event_of_a_running_execution_leaves_it_running(cloud: Cloud) -> None:
    cloud.reset(training=FakeTraining(TrainingPlan(outcome="hangs")))
    watched = cloud.sagemaker.faults.add(operation="DescribeTrainingJob", by=cloud.machine_role, hang=True)
    run = cloud.start({"samplesPerPrompt": 0})
    assert watched.reached.wait(60)

    event = {"executionArn": run.arn, "executionName": run.name, "status": "FAILED", "reason": "event"}
    execution = cloud.start(event, machine=deployment(cloud).tear_down)
    until(lambda: execution.is_over)

    assert (execution.status, visits(execution, "RunGoesOn")) == ("SUCCEEDED", 1)
    assert visits(execution, "SettleLedger") == 0
    assert not run.is_over
    assert "StopTrainingJob" not in {call.operation for call in cloud.calls}
    assert item(cloud, run)["state"] == "reserved"
    cloud.stop(run)
    watched.release()
    cloud.settle(run, timeout=120)
    assert item(cloud, run)["state"] == "settled"


def test_a_run_is_torn_down_by_its_name_alone(cloud: Cloud, rehearse: Rehearse) -> None:
    run = rehearse()

    execution = tear_down(cloud, runName=run_name(run.name))

    assert execution.status == "SUCCEEDED", execution.cause
    assert item(cloud, run)["state"] == "settled"


@pytest.mark.parametrize("event", [{}, {"reason": "person"}, {"runName": "captune-"}])
def test_an_input_that_names_no_run_ends_by_name(cloud: Cloud, event: dict[str, str]) -> None:
    execution = tear_down(cloud, **event)

    assert (execution.status, execution.error) == ("FAILED", "InvalidInput")
