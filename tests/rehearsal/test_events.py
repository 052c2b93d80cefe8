"""Events, schedules and rules deliver as AWS does."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from rehearsal.account.cloud import Cloud
from tests.doubles.rehearsal.rehearsal_bench import ROLE, Bench

PASS = {"Take": {"Type": "Succeed"}}


def test_the_end_of_an_execution_starts_the_target_with_the_transformed_input(cloud: Cloud, bench: Bench) -> None:
    """By a rule as the Guardrail stack has it."""
    first, second = bench.machine({"Stop": {"Type": "Fail", "Error": "No", "Cause": "way"}}), bench.machine(PASS)
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [first], "status": ["FAILED", "ABORTED"]}}
    cloud.client("events").put_rule(Name="ended", EventPattern=json.dumps(pattern))
    transformer = {
        "InputPathsMap": {"detail-arn": "$.detail.executionArn", "status": "$.detail.status", "none": "$.detail.none"},
        "InputTemplate": '{"executionArn":<detail-arn>,"status":<status>,"none":<none>,"reason":"event"}',
    }
    target = {"Id": "1", "Arn": second, "RoleArn": "arn:aws:iam::123456789012:role/starter"}
    cloud.client("events").put_targets(Rule="ended", Targets=[{**target, "InputTransformer": transformer}])
    execution = cloud.start(machine=first)
    cloud.settle(execution)
    (caused,) = cloud.executions.of(second)
    assert caused.input == {"executionArn": execution.arn, "status": "FAILED", "none": None, "reason": "event"}
    assert caused.status == "SUCCEEDED"
    assert [call.access_key for call in cloud.calls if call.operation == "StartExecution"] == ["person", "starter"]


def schedule(cloud: Cloud, target: str, **more: Any) -> dict[str, Any]:
    """A one-time schedule an hour from now, as the arguments of a call."""
    moment = cloud.clock() + timedelta(hours=1)
    return {
        "Name": "later", "ScheduleExpression": f"at({moment:%Y-%m-%dT%H:%M:%S})", "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": target, "RoleArn": ROLE, "Input": '{"reason": "schedule"}'}, **more,
    }  # fmt: skip


@pytest.mark.parametrize(("completion", "left"), [("NONE", ["later"]), ("DELETE", [])])
def test_a_schedule_fires_once_when_it_is_due(cloud: Cloud, bench: Bench, completion: str, left: list[str]) -> None:
    machine = bench.machine(PASS)
    cloud.client("scheduler").create_schedule(**schedule(cloud, machine, ActionAfterCompletion=completion))
    cloud.clock.advance(minutes=59)
    cloud.settle()
    assert cloud.executions.of(machine) == []
    for hours in (1, 9):
        cloud.clock.advance(hours=hours)
        cloud.settle()
    assert [one.input for one in cloud.executions.of(machine)] == [{"reason": "schedule"}]
    assert cloud.leftovers()["schedules"] == left


def test_a_delivery_is_attempted_three_times_and_its_error_is_kept(cloud: Cloud, bench: Bench) -> None:
    bench.function("fail", "def handle(event, context): raise ValueError('not this one')")
    target = "arn:aws:lambda:us-east-1:123456789012:function:fail"
    cloud.client("scheduler").create_schedule(**schedule(cloud, target))
    cloud.clock.advance(hours=2)
    cloud.settle()
    (delivery,) = cloud.events.deliveries
    assert "not this one" in str(delivery.error)
    assert len(cloud.functions.outcomes) == 3
