"""The forms of what AWS delivers: a target's input, the event of an execution's end, a message from SNS, a due time."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")


@dataclass
class Delivery:
    """One event on its way to one target."""

    source: str  # "rule", "schedule" or "topic"
    name: str  # of the rule, the schedule or the topic
    target: str  # ARN
    role: str  # ARN of the role that delivers, empty where none is needed
    event: Any
    dead_letters: str = ""  # ARN of the queue of what could not be delivered, empty where there is none
    error: str | None = None


def moment_of(schedule: Any) -> datetime | None:
    """When a one-time schedule falls due, in UTC; None for any other."""
    found = _AT.fullmatch(schedule.schedule_expression)
    if found is None:
        return None
    zone = ZoneInfo(schedule.schedule_expression_timezone or "UTC")
    return datetime.fromisoformat(found.group(1)).replace(tzinfo=zone).astimezone(UTC)


def shaped(target: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
    """What a rule's target receives of an event: its Input, what its InputTransformer makes, or the event."""
    if "Input" in target:
        return json.loads(target["Input"])
    transformer = target.get("InputTransformer")
    if transformer is None:
        return dict(event)
    values: dict[str, Any] = {}
    for name, path in (transformer.get("InputPathsMap") or {}).items():
        value: Any = event
        for step in path.removeprefix("$").strip(".").split("."):
            value = value.get(step) if step and isinstance(value, Mapping) else value
        values[name] = value

    def filled(token: re.Match[str]) -> str:
        text = token[0]
        if text.startswith("<"):  # a placeholder by itself stands for a JSON value
            return json.dumps(values.get(text[1:-1]))
        for name, value in values.items():  # one inside a string goes into it as it is
            text = text.replace(f"<{name}>", json.dumps(str(value))[1:-1])
        return text

    return json.loads(re.sub(r'"(?:\\.|[^"\\])*"|<[^<>]+>', filled, str(transformer["InputTemplate"])))


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
