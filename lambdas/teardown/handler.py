"""RemoveResources: one pass of the tear-down over everything of one run."""

from __future__ import annotations

from typing import Any

from common.aws import hasty_client
from common.clock import now
from common.contracts.tear_down import Removed, TearDownEvent, run_of_event
from common.environment import required
from common.ledger.ledger import Ledger
from common.logs import log
from teardown.removal import Removal


def handle(event: TearDownEvent, context: Any) -> Removed:
    """Takes {runName?, executionName?, executionArn?, status?, reason?, seen?}, of which one of the first three suffices.

    Answers {runName, found, quiet, keep, keepUntil?, running, seen, problems}: what there was of the run; whether there was
    nothing at all and no trouble to see it; whether its endpoint is to be kept, until when; whether the run goes on and nothing
    was touched; and the life of its endpoint. Raises InvalidInput when the event names no run.
    """
    removal = Removal(
        run=run_of_event(event),
        sagemaker=hasty_client("sagemaker"),
        step_functions=hasty_client("stepfunctions"),
        ledger=Ledger(hasty_client("dynamodb"), required("LEDGER_TABLE")),
        fine_tuning_arn=required("FINE_TUNING_ARN"),
        clock=now,
    )
    outcome = removal.one_pass(event)
    log("removed", reason=event.get("reason"), **outcome)
    return outcome
