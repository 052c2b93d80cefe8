"""What the execution's own history tells: how long each state took, how it ended, and when the endpoint was created."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from common.aws import reaching, unless
from settle.billing import StillRunning

# Step Functions keeps up to 32,768 characters of a cause. The settlement's answer holds it twice and has to stay below the
# 256 KiB of a payload; no cause of this project is a tenth as long.
LONGEST_CAUSE = 8000


@dataclass
class Execution:
    """An execution as Step Functions remembers it."""

    status: str
    error: str = ""
    cause: str = ""
    started_at: datetime | None = None
    verdict: str = ""
    reason: str = ""
    seconds_by_state: dict[str, float] = field(default_factory=dict)
    entered_at: dict[str, datetime] = field(default_factory=dict)


def read(step_functions: Any, execution_arn: str, told_status: str) -> Execution:
    """Reads an execution and its history; what Step Functions no longer knows is left empty.

    `told_status` is what the tear-down was told: it counts only for an execution that Step Functions does not know any more. Raises
    StillRunning for one that goes on: what it creates from now on would never be booked. Raises ServiceUnreachable when Step
    Functions does not answer, for then nobody knows.
    """
    if not execution_arn:
        return Execution(told_status)
    with reaching("Asking Step Functions how the execution ended"):
        described = unless("ExecutionDoesNotExist", step_functions.describe_execution, executionArn=execution_arn)
        if described is None:
            return Execution(told_status)
        if described["status"] == "RUNNING":
            raise StillRunning(f"Execution {execution_arn} is still RUNNING and may create more. TearDown tries again.")
        return _with_history(step_functions, execution_arn, described)


def _with_history(step_functions: Any, execution_arn: str, described: dict[str, Any]) -> Execution:
    execution = Execution(
        described["status"],
        described.get("error") or "",
        (described.get("cause") or "")[:LONGEST_CAUSE],
        described.get("startDate"),
        *_verdict(described.get("output")),
    )
    pages = step_functions.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn, includeExecutionData=False
    )
    last_seen: datetime | None = None
    open_since: dict[str, datetime] = {}
    for event in (event for page in pages for event in page["events"]):
        last_seen = event["timestamp"]
        if "stateEnteredEventDetails" in event:
            name = event["stateEnteredEventDetails"]["name"]
            open_since[name] = last_seen
            execution.entered_at.setdefault(name, last_seen)
        elif "stateExitedEventDetails" in event:
            name = event["stateExitedEventDetails"]["name"]
            _add(execution, name, open_since.pop(name, last_seen), last_seen)
    end = described.get("stopDate") or last_seen
    for name, since in open_since.items():
        if end is not None:
            _add(execution, name, since, end)
    return execution


def _verdict(output: str | None) -> tuple[str, str]:
    """Verdict and reason in the output of an execution that succeeded; empty where there is none, or none that can be read."""
    try:
        told = json.loads(output or "{}")
    except ValueError:
        return "", ""
    parts = (told.get(key) if isinstance(told, dict) else None for key in ("verdict", "reason"))
    verdict, reason = (part[:LONGEST_CAUSE] if isinstance(part, str) else "" for part in parts)
    return verdict, reason


def _add(execution: Execution, name: str, start: datetime, end: datetime) -> None:
    execution.seconds_by_state[name] = round(
        execution.seconds_by_state.get(name, 0.0) + (end - start).total_seconds(), 3
    )
