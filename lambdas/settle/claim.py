"""Which run and which execution a tear-down speaks of. One of runName, executionName and executionArn is enough."""

from __future__ import annotations

from typing import Any

from common.environment import required
from common.errors import InvalidInput
from common.names import execution_name_of, run_name


def run_of_event(event: dict[str, Any]) -> str:
    """The run's name. Raises InvalidInput for an event that names no run."""
    if event.get("runName"):
        return str(event["runName"])
    name = event.get("executionName") or str(event.get("executionArn") or "").rpartition(":")[2]
    if not name:
        raise InvalidInput(
            'The tear-down was told of no run. Give it one of {"executionArn": …}, {"executionName": …} and {"runName": …}.'
        )
    return run_name(str(name))


def execution_arn(event: dict[str, Any], run: str, item: dict[str, Any] | None) -> str:
    """The execution's ARN: from the run's ledger item, the event, or its name. Empty where nobody knows it any more.

    Raises InvalidInput for an execution that is not the one that owns the run.
    """
    told = str(event.get("executionArn") or "")
    if item is not None:
        owner = str(item["execution_arn"])
        if told not in ("", owner):
            raise InvalidInput(f"The run {run} belongs to the execution {owner}, and not to {told}.")
        return owner
    if told:
        return told
    name = event.get("executionName") or execution_name_of(run)
    machine = required("FINE_TUNING_ARN")
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}" if name else ""
