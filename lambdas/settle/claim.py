"""Which execution a tear-down may settle: the one that owns the run in the ledger, if the ledger knows it."""

from __future__ import annotations

from common.contracts.tear_down import TearDownEvent, execution_arn_of
from common.environment import required
from common.errors import InvalidInput
from common.ledger.rows import RunItem


def execution_arn(event: TearDownEvent, run: str, item: RunItem | None) -> str:
    """The execution's ARN: from the run's ledger item, the event, or its name. Empty where nobody knows it any more.

    Raises InvalidInput for an execution that is not the one that owns the run.
    """
    if item is None:
        return execution_arn_of(event, required("FINE_TUNING_ARN")) or ""
    told, owner = str(event.get("executionArn") or ""), str(item["execution_arn"])
    if told not in ("", owner):
        raise InvalidInput(f"The run {run} belongs to the execution {owner}, and not to {told}.")
    return owner
