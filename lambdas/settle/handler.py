"""SettleLedger: replaces the reservation by what was billed, finishes the report, and words the message to the owner."""

from __future__ import annotations

from typing import Any

from common.aws import client
from common.clock import month_of, now
from common.environment import required
from common.ledger import Ledger
from common.logs import log, metric
from common.names import run_name
from common.storage import Storage
from settle import billing, history, notice


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Takes the tear-down's input; answers the subject and message for the owner and a small result."""
    try:
        run = run_name(event["executionName"])
    except ValueError:
        run = ""
    ledger = Ledger(client("dynamodb"), required("LEDGER_TABLE"))
    cap_cents, moment = int(required("CAP_CENTS")), now()
    execution = history.read(client("stepfunctions"), event["executionArn"], event.get("status", "UNKNOWN"))
    item = ledger.run(run) if run else None
    if item is not None and item["execution_arn"] != event["executionArn"]:
        # Another execution owns this name; the one that ended was refused it and spent nothing.
        item = None
    bill = None
    if item is not None:
        bill = billing.bill(client("sagemaker"), run, item, execution.entered_at.get("CreateEndpoint"), moment)
        facts: dict[str, str | int] = {
            "status": execution.status,
            "training_seconds": bill.training_seconds,
            "endpoint_seconds": bill.endpoint_seconds,
            "training_cents": bill.training_cents,
            "endpoint_cents": bill.endpoint_cents,
        }
        item = ledger.settle(run, bill.by_month, facts, moment) or item
        metric(
            ActualCents=int(item["actual_cents"]),
            CommittedCents=ledger.committed_cents(month_of(moment)),
            CapCents=cap_cents,
        )
    left = cap_cents - ledger.committed_cents(month_of(moment))
    cost = notice.cost(item, left, cap_cents)
    storage = Storage(client("s3"), required("BUCKET_NAME"))
    document = notice.finish_report(storage, run, event, execution, cost)
    log("settled", run=run, status=execution.status, cost=cost)
    return {
        "subject": notice.subject(document),
        "message": notice.message(document, storage.bucket),
        "result": {
            "run": run,
            "status": execution.status,
            "verdict": document["verdict"],
            "actualCents": cost["actual_cents"],
            "leftCents": left,
        },
    }
