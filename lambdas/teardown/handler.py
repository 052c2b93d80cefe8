"""RemoveResources: one pass of the tear-down over everything of one run."""

from __future__ import annotations

from typing import Any

from common.aws import client
from common.clock import now
from common.environment import required
from common.ledger import Ledger
from common.logs import log
from common.names import run_name
from teardown.removal import Removal


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Takes {executionArn, executionName, status, reason}; answers what was found, whether to keep it and until when.

    Only `executionName` is needed, so that a person can start a tear-down by hand. `quiet` is true when nothing at all was
    found.
    """
    run = run_name(event["executionName"])
    removal = Removal(
        run=run,
        sagemaker=client("sagemaker"),
        step_functions=client("stepfunctions"),
        ledger=Ledger(client("dynamodb"), required("LEDGER_TABLE")),
        now=now(),
    )
    outcome = removal.one_pass(event)
    log("removed", run=run, reason=event.get("reason"), **outcome)
    return outcome
