"""SettleLedger: replaces the reservation by what was billed. Money only: it reads no file and renders nothing, so that no
report can keep a run from being settled. What the report needs of it goes on to FinishReport as `record`."""

from __future__ import annotations

from typing import Any

from common.aws import client
from common.clock import from_iso, month_of, now
from common.environment import required
from common.ledger import Ledger
from common.logs import log, metric
from settle import billing, claim, history, notice


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Takes the tear-down's input; answers the subject and message for the owner, a small result, and the record of the run."""
    ledger = Ledger(client("dynamodb"), required("LEDGER_TABLE"))
    cap_cents, moment = int(required("CAP_CENTS")), now()
    run, item = claim.reservation(ledger, event)
    execution_arn = claim.execution_arn(event, item)
    execution = history.read(client("stepfunctions"), execution_arn, event.get("status", "UNKNOWN"))
    open_until_now = item is not None and item["state"] == "reserved"
    if item is not None:
        # What has no end of its own was counted until the first settlement: made again, it must come to the same.
        until = moment if open_until_now else from_iso(item["settled_at"])
        bill = billing.bill(client("sagemaker"), run, item, execution.entered_at.get("CreateEndpoint"), until)
        facts: dict[str, str | int] = {
            "status": execution.status,
            "training_seconds": bill.training_seconds,
            "endpoint_seconds": bill.endpoint_seconds,
            "training_cents": bill.training_cents,
            "endpoint_cents": bill.endpoint_cents,
            "other_cents": bill.other_cents,
        }
        item = ledger.settle(run, bill.by_month, facts, moment) or item
    committed = ledger.committed_cents(month_of(moment), cap_cents)
    left = cap_cents - committed
    if item is not None and open_until_now:
        # Once a run: a second tear-down must not count its cost again.
        metric(ActualCents=int(item["actual_cents"]), CommittedCents=committed, CapCents=cap_cents)
    cost = notice.cost(item, left, cap_cents)
    record = {
        "run": run,
        "executionArn": execution_arn,
        "status": execution.status,
        "error": execution.error,
        "cause": execution.cause,
        "verdict": execution.verdict or notice.UNTOLD_VERDICT,
        "reason": execution.reason,
        "secondsByState": execution.seconds_by_state,
        "cost": cost,
    }
    log("settled", run=run, status=execution.status, cost=cost)
    result = {"run": run, "status": execution.status, "verdict": record["verdict"]}
    return {
        "subject": notice.subject(record),
        "message": notice.message(record),
        "result": {**result, "actualCents": cost["actual_cents"], "leftCents": left},
        "record": record,
    }
