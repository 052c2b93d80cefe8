"""The sweeper and the kill switch: one looks for what no run can still need, the other ends everything of this project."""

import json
from typing import Any

from common.aws import hasty_client
from common.clock import now
from common.environment import required
from common.ledger.ledger import Ledger
from common.logs import log
from sweeper.leftovers import Sweep


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Takes {"reason": "sweep"} from the quarter-hourly rule, or an SNS notification of the budget, which ends everything."""
    sweep = Sweep(
        sagemaker=hasty_client("sagemaker"),
        step_functions=hasty_client("stepfunctions"),
        ledger=Ledger(hasty_client("dynamodb"), required("LEDGER_TABLE")),
        fine_tuning_arn=required("FINE_TUNING_ARN"),
        tear_down_arn=required("TEAR_DOWN_ARN"),
        now=now(),
        clock=now,
    )
    is_notification = "Records" in event
    # The topic of this subscription carries only the notification of the whole budget spent.
    started = sweep.end_everything() if is_notification else sweep.remove_leftovers()
    log(
        "killed" if is_notification else "swept",
        tear_downs=started,
        notification=json.dumps(event)[:500] if is_notification else None,
    )
    if sweep.problems:
        # Lambda calls again, and the alarm on its errors tells a person.
        raise sweep.problems[0]
    return {"tearDowns": started}
