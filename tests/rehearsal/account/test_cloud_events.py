"""Events arrive as AWS delivers them, and a test can hold, drop and repeat them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from rehearsal.account.cloud import Cloud
from rehearsal.eventbridge.shapes import shaped
from tests.doubles.rehearsal.rehearsal_bench import ROLE, Bench, sdk

FAIL = {"Stop": {"Type": "Fail", "Error": "No", "Cause": "way"}}
PASS = {"Take": {"Type": "Succeed"}}


def connect(cloud: Cloud, source: str, target: str, statuses: list[str]) -> None:
    """A rule as the Guardrail stack has it."""
    events = cloud.client("events")
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [source], "status": statuses}}
    events.put_rule(Name="ended", EventPattern=json.dumps(pattern))
    transformer = {
        "InputPathsMap": {"arn": "$.detail.executionArn", "status": "$.detail.status"},
        "InputTemplate": '{"executionArn":<arn>,"status":<status>,"reason":"event"}',
    }
    role = "arn:aws:iam::123456789012:role/starter"
    events.put_targets(
        Rule="ended", Targets=[{"Id": "1", "Arn": target, "RoleArn": role, "InputTransformer": transformer}]
    )


@pytest.fixture
def pair(cloud: Cloud, bench: Bench) -> tuple[str, str]:
    """A machine that fails, and one that is started when it did."""
    first, second = bench.machine(FAIL), bench.machine(PASS)
    connect(cloud, first, second, ["FAILED", "ABORTED"])
    return first, second


def test_the_end_of_an_execution_starts_the_target_with_the_transformed_input(
    cloud: Cloud, pair: tuple[str, str]
) -> None:
    execution = cloud.start(machine=pair[0])
    cloud.settle(execution)

    (caused,) = cloud.executions.of(pair[1])
    assert caused.input == {"executionArn": execution.arn, "status": "FAILED", "reason": "event"}
    assert caused.status == "SUCCEEDED"
    assert [call.access_key for call in cloud.calls if call.operation == "StartExecution"] == ["person", "starter"]


def test_a_status_that_the_pattern_does_not_name_starts_nothing(cloud: Cloud, bench: Bench) -> None:
    first, second = bench.machine(PASS), bench.machine(PASS)
    connect(cloud, first, second, ["FAILED"])

    cloud.settle(cloud.start(machine=first))

    assert cloud.executions.of(second) == []


def test_a_dropped_event_never_comes(cloud: Cloud, pair: tuple[str, str]) -> None:
    cloud.events.drop_next()
    cloud.settle(cloud.start(machine=pair[0]))

    assert cloud.executions.of(pair[1]) == []
    assert len(cloud.events.dropped) == 1


def test_a_repeated_event_starts_the_target_twice(cloud: Cloud, pair: tuple[str, str]) -> None:
    cloud.events.duplicate()
    cloud.settle(cloud.start(machine=pair[0]))

    assert len(cloud.executions.of(pair[1])) == 2


def test_a_held_event_comes_when_it_is_released(cloud: Cloud, pair: tuple[str, str]) -> None:
    cloud.events.hold()
    cloud.settle(cloud.start(machine=pair[0]))
    assert cloud.executions.of(pair[1]) == []

    cloud.events.release()
    cloud.settle()

    assert len(cloud.executions.of(pair[1])) == 1


def schedule(cloud: Cloud, target: str, **more: Any) -> None:
    """A one-time schedule an hour from now."""
    moment = cloud.clock() + timedelta(hours=1)
    cloud.client("scheduler").create_schedule(
        Name="later", ScheduleExpression=f"at({moment:%Y-%m-%dT%H:%M:%S})", FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": target, "RoleArn": "arn:aws:iam::123456789012:role/scheduler", "Input": '{"reason": "schedule"}'}, **more,
    )  # fmt: skip


@pytest.mark.parametrize(("completion", "left"), [("NONE", ["later"]), ("DELETE", [])])
def test_a_schedule_fires_once_when_it_is_due(cloud: Cloud, bench: Bench, completion: str, left: list[str]) -> None:
    machine = bench.machine(PASS)
    schedule(cloud, machine, ActionAfterCompletion=completion)

    cloud.clock.advance(minutes=59)
    cloud.settle()
    assert cloud.executions.of(machine) == []

    cloud.clock.advance(minutes=2)
    cloud.settle()
    cloud.clock.advance(hours=9)
    cloud.settle()

    assert [one.input for one in cloud.executions.of(machine)] == [{"reason": "schedule"}]
    assert cloud.leftovers()["schedules"] == left


def test_a_schedule_that_is_moved_fires_at_its_new_time(cloud: Cloud, bench: Bench) -> None:
    machine = bench.machine(PASS)
    schedule(cloud, machine)
    moment = cloud.clock() + timedelta(hours=2)
    arguments = {
        "Name": "later", "ScheduleExpression": f"at({moment:%Y-%m-%dT%H:%M:%S})", "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": machine, "RoleArn": ROLE},
    }  # fmt: skip
    bench.run({"Move": sdk("scheduler:updateSchedule", arguments)})

    cloud.clock.advance(minutes=90)
    cloud.settle()
    assert cloud.executions.of(machine) == []
    cloud.clock.advance(hours=1)
    cloud.settle()

    assert len(cloud.executions.of(machine)) == 1


def test_a_schedule_may_call_a_service_itself_in_schedulers_spelling(cloud: Cloud, bench: Bench) -> None:
    machine = bench.machine(PASS)
    moment = cloud.clock() + timedelta(hours=1)
    call = {
        "StateMachineArn": machine,
        "Input": '{"by": "scheduler"}',
    }  # as Scheduler spells them, whatever the service
    cloud.client("scheduler").create_schedule(
        Name="direct", ScheduleExpression=f"at({moment:%Y-%m-%dT%H:%M:%S})", FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": "arn:aws:scheduler:::aws-sdk:sfn:startExecution", "RoleArn": ROLE, "Input": json.dumps(call)},
    )  # fmt: skip

    cloud.clock.advance(hours=1, seconds=1)
    cloud.settle()

    assert [one.input for one in cloud.executions.of(machine)] == [{"by": "scheduler"}]


def test_a_target_that_is_not_played_goes_to_the_dead_letters_with_the_reason(cloud: Cloud) -> None:
    queues = cloud.client("sqs")
    address = queues.create_queue(QueueName="lost")["QueueUrl"]
    moment = cloud.clock() + timedelta(hours=1)
    cloud.client("scheduler").create_schedule(
        Name="direct", ScheduleExpression=f"at({moment:%Y-%m-%dT%H:%M:%S})", FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": "arn:aws:kinesis:us-east-1:123456789012:stream/s", "RoleArn": ROLE, "Input": "{}",
            "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:123456789012:lost"},
        },
    )  # fmt: skip

    cloud.clock.advance(hours=1, seconds=1)
    cloud.settle()

    (message,) = queues.receive_message(QueueUrl=address, MessageAttributeNames=["All"])["Messages"]
    reason = message["MessageAttributes"]["ERROR_MESSAGE"]["StringValue"]
    assert reason == "the rehearsal cannot deliver to arn:aws:kinesis:us-east-1:123456789012:stream/s"


def test_a_published_message_is_kept(cloud: Cloud, bench: Bench) -> None:
    topic = cloud.client("sns").create_topic(Name="results")["TopicArn"]
    bench.run({"Tell": sdk("sns:publish", {"TopicArn": topic, "Subject": "S", "Message": "M"})})

    assert cloud.messages == [(topic, "S", "M")]


def test_a_transformer_fills_in_values_alone_and_inside_strings() -> None:
    target = {
        "InputTransformer": {
            "InputPathsMap": {"name": "$.detail.name", "list": "$.detail.list"},
            "InputTemplate": '{"who": <name>, "text": "run \\"<name>\\" ended", "list": <list>}',
        }
    }

    made = shaped(target, {"detail": {"name": 'a"b', "list": [1, 2]}})

    assert made == {"who": 'a"b', "text": 'run "a"b" ended', "list": [1, 2]}
