"""What a tear-down is told: which run, and which execution. Each of three facts suffices, so that a person can start one by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.errors import InvalidInput
from common.names import execution_name_of, is_run_name, run_name


def run_of_event(event: Mapping[str, Any]) -> str:
    """The run that {runName?, executionName?, executionArn?} speaks of. Raises InvalidInput when it speaks of none."""
    run = event.get("runName")
    if run:
        if not isinstance(run, str) or not is_run_name(run):
            raise InvalidInput(
                f"{str(run)[:80]!r} is not the name of a run: they begin with captune-, as make ledger shows."
            )
        return run
    name = event.get("executionName") or str(event.get("executionArn") or "").rpartition(":")[2]
    if not name:
        raise InvalidInput(
            "No run is named: the tear-down was told of no run. Give it one of "
            '{"executionArn": "…"}, {"executionName": "…"} and {"runName": "captune-…"}.'
        )
    return run_name(str(name))


def execution_arn_of(event: Mapping[str, Any], fine_tuning_arn: str) -> str | None:
    """The execution's ARN: as told, or made from the execution's name, or None when only a run is named that does not tell it."""
    if event.get("executionArn"):
        return str(event["executionArn"])
    name = event.get("executionName") or execution_name_of(str(event.get("runName") or ""))
    return f"{fine_tuning_arn.replace(':stateMachine:', ':execution:')}:{name}" if name else None
