"""RemoveResources: one pass of the tear-down over everything of one run."""

from typing import Any

from common.aws import hasty_client
from common.clock import now
from common.contracts.tear_down import Removed, TearDownEvent, run_of_event
from common.environment import required
from common.ledger.ledger import Ledger
from common.logs import log
from teardown.removal import Removal


def handle(event: TearDownEvent, context: Any) -> Removed:
    """Takes an event that names a run or its execution; answers what this pass saw of it. Raises InvalidInput when it names none."""
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
