"""Both ends of a delivery, rules and schedules in moto, machines and Lambdas, and the forms in which AWS delivers."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import uuid4
from zoneinfo import ZoneInfo

from moto.events.models import events_backends
from moto.scheduler.models import scheduler_backends

from rehearsal.account.clients import ACCOUNT

_ATTEMPTS = 3  # AWS tries for 24 hours; a rehearsal need not
_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")


@dataclass
class Delivery:
    """One event on its way to one target."""

    source: str  # "rule", "schedule" or "topic"
    name: str  # of the rule, the schedule or the topic
    target: str  # ARN
    role: str  # ARN of the role that delivers, empty where none is needed
    event: Any
    error: str | None = None


class Account(Protocol):
    """The account in which events are delivered, as far as a delivery needs it."""

    region: str
    time_scale: float

    def client_for(self, service: str, role_arn: str) -> Any:
        """A boto3 client that acts as a role."""


class Deliverer:
    """The two ends of the deliveries of one account."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def rules(self, *, timed: bool) -> list[Any]:
        """The enabled rules: those that fire at a rate, or those that have a pattern."""
        backend = events_backends[ACCOUNT][self._account.region]
        rules = [rule for bus in backend.event_buses.values() for rule in bus.rules.values()]
        return [rule for rule in rules if rule.state != "DISABLED" and bool(rule.scheduled_expression) == timed]

    def schedules(self) -> list[Any]:
        """The schedules of EventBridge Scheduler."""
        groups = list(scheduler_backends[ACCOUNT][self._account.region].schedule_groups.values())
        return [schedule for group in groups for schedule in list(group.schedules.values())]

    def delete_schedule(self, group: str, name: str) -> None:
        """Delete a schedule, as Scheduler does after its completion where the schedule says so."""
        scheduler_backends[ACCOUNT][self._account.region].delete_schedule(group, name)

    def deliver(self, delivery: Delivery) -> None:
        """Start the execution or run the function that the target names; three attempts, as AWS would make more."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._deliver_once(delivery)
                return
            except Exception:
                if attempt == _ATTEMPTS:
                    raise
                # A moment between the attempts; a minute for AWS.
                threading.Event().wait(min(1.0, 60 / self._account.time_scale))

    def _deliver_once(self, delivery: Delivery) -> None:
        role, content = delivery.role or f"service-{delivery.source}", json.dumps(delivery.event)
        if ":stateMachine:" in delivery.target:
            self._account.client_for("stepfunctions", role).start_execution(
                stateMachineArn=delivery.target, name=f"{delivery.source}-{uuid4()}", input=content
            )
        elif ":function:" in delivery.target:
            client = self._account.client_for("lambda", role)
            answer = client.invoke(FunctionName=delivery.target, Payload=content.encode())
            if "FunctionError" in answer:  # Lambda tries an event again that a function has failed on
                raise RuntimeError(answer["Payload"].read().decode())
        else:
            raise ValueError(f"the rehearsal cannot deliver to {delivery.target}")


def moment_of(schedule: Any) -> datetime | None:
    """When a one-time schedule falls due, in UTC; None for any other."""
    found = _AT.fullmatch(schedule.schedule_expression)
    if found is None:
        return None
    zone = ZoneInfo(schedule.schedule_expression_timezone or "UTC")
    return datetime.fromisoformat(found.group(1)).replace(tzinfo=zone).astimezone(UTC)


def shaped(target: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
    """What a rule's target receives of an event: its Input, what its InputTransformer makes, or the event.

    A placeholder stands for a whole JSON value, as in what the CDK writes; inside a string it is not replaced.
    """
    if "Input" in target:
        return json.loads(target["Input"])
    transformer = target.get("InputTransformer")
    if transformer is None:
        return dict(event)
    values: dict[str, Any] = {}
    for name, path in transformer["InputPathsMap"].items():
        value: Any = event
        for step in path.removeprefix("$.").split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        values[name] = value
    return json.loads(
        re.sub(r"<([^<>]+)>", lambda found: json.dumps(values.get(found[1])), transformer["InputTemplate"])
    )


def status_change(execution: Any, now: datetime) -> dict[str, Any]:
    """Return the event that Step Functions publishes when an execution starts or ends."""

    def milliseconds(moment: datetime | None) -> int | None:
        return int(moment.timestamp() * 1000) if moment else None

    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": execution.account_id,
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": execution.region_name,
        "resources": [execution.exec_arn],
        "detail": {
            "executionArn": execution.exec_arn,
            "stateMachineArn": execution.state_machine.arn,
            "name": execution.name,
            "status": str(execution.exec_status.value),
            "startDate": milliseconds(execution.start_date),
            "stopDate": milliseconds(execution.stop_date),
            "input": json.dumps(execution.input_data),
            "output": json.dumps(execution.output, default=str) if execution.output is not None else None,
            "error": execution.error,
            "cause": execution.cause,
        },
    }


def sns_event(topic_arn: str, subject: str | None, message: str, now: datetime) -> dict[str, Any]:
    """Return the event with which SNS invokes a Lambda function."""
    record: dict[str, Any] = {
        "Type": "Notification",
        "MessageId": str(uuid4()),
        "TopicArn": topic_arn,
        "Subject": subject,
        "Message": message,
        "Timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "MessageAttributes": {},
    }
    return {"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": record}]}
