"""Which reservation a tear-down speaks of, if any."""

from __future__ import annotations

from typing import Any

from common.environment import required
from common.ledger import Ledger
from common.names import run_name


def reservation(ledger: Ledger, event: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """The run's name and its ledger item. An execution that was refused its name has no item."""
    refused = f"refused-{event['executionName']}"
    run = run_name(event["executionName"])
    item = ledger.run(run)
    if item is not None and event.get("executionArn", item["execution_arn"]) != item["execution_arn"]:
        return refused, None
    return run, item


def execution_arn(event: dict[str, Any], item: dict[str, Any] | None) -> str:
    """The execution's ARN, which a tear-down that was started by hand may lack."""
    if event.get("executionArn"):
        return str(event["executionArn"])
    if item is not None:
        return str(item["execution_arn"])
    return f"{required('FINE_TUNING_ARN').replace(':stateMachine:', ':execution:')}:{event['executionName']}"
