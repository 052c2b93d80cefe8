"""SettleLedger: replaces the reservation by what was billed. Money only: it reads no file and renders nothing, so that no
report can keep a run from being settled. What the report needs of it goes on to FinishReport as `record`."""

from typing import Any

from common.aws import hasty_client, reaching
from common.clock import from_iso, month_of, now
from common.contracts import tear_down
from common.environment import required
from common.ledger.changes import Booking
from common.ledger.ledger import Ledger
from common.ledger.rows import RunItem
from common.logs import log, metric
from common.pricing import costs
from settle import billing, history, notice


def handle(event: tear_down.TearDownEvent, context: Any) -> tear_down.Settled:
    """Takes the tear-down's input with {runName, seen}; answers subject and message for the owner, a result, and the record.

    Raises StillRunning for a run that still bills or whose execution goes on, InvalidInput for an event that names no run or another machine's execution, and
    ServiceUnreachable or LedgerDamaged where it has to be done again later.
    """
    # TearDown settles again for as long as it takes: no silent service may cost all of this function's time each time.
    ledger = Ledger(hasty_client("dynamodb"), required("LEDGER_TABLE"))
    cap_cents, moment = int(required("CAP_CENTS")), now()
    run, fine_tuning_arn = tear_down.run_of_event(event), required("FINE_TUNING_ARN")
    tear_down.refuse_another_machine(event, fine_tuning_arn)
    item = ledger.run(run)
    # From the run's item, the event, or the run's name. Empty where nobody knows it any more.
    execution_arn = item["execution_arn"] if item else tear_down.execution_arn_of(event, fine_tuning_arn) or ""
    execution = history.read(hasty_client("stepfunctions"), execution_arn, str(event.get("status") or "UNKNOWN"))
    # The name of an execution can be used again after 90 days, its run's name cannot: such an execution was refused.
    is_earlier = item is not None and _was_settled_before(item, execution)
    bills: list[tuple[RunItem, billing.Bill]] = []

    def book(read: RunItem) -> Booking:
        with reaching("Asking SageMaker what the run billed"):
            made = billing.bill(hasty_client("sagemaker"), run, read, execution.entered_at, moment, event.get("seen"))
        bills.append((read, made))
        # Of an execution that Step Functions has forgotten, nobody knows any more when it asked for an endpoint.
        return Booking(made.by_month, _facts(execution, made), made.complete and execution.started_at is not None)

    if item is not None and not is_earlier:
        item = ledger.settle(run, book, moment) or item
    month = month_of(moment)
    committed = ledger.committed_cents(month, cap_cents) + costs.standing_cents(cap_cents)
    left = cap_cents - committed
    bill = None
    if bills:
        before, bill = bills[-1]
        more = int(item["actual_cents"]) - before.get("actual_cents", 0)
        if more or before["state"] == "reserved":
            # Once a run, and once for what changed: a second tear-down must not count its cost again.
            metric(
                ActualCents=more, CommittedCents=committed, CapCents=cap_cents, UnreservedInstances=len(bill.unreserved)
            )
    cost = notice.cost(None if is_earlier else item, left, cap_cents, month)
    record: tear_down.Record = {
        "run": run,
        "executionArn": execution_arn,
        "ownsPrefix": not is_earlier,
        "status": execution.status,
        "error": execution.error,
        "cause": execution.cause,
        "verdict": execution.verdict or notice.UNTOLD_VERDICT,
        "reason": execution.reason,
        "secondsByState": execution.seconds_by_state,
        "cost": cost,
        "unreserved": list(bill.unreserved) if bill else [],
        "leftAlone": list(event.get("leftAlone") or []),
    }
    log("cost recorded", run=run, status=execution.status, cost=cost, unreserved=record["unreserved"])
    return {
        "subject": notice.subject(record),
        "message": notice.message(record),
        "result": {
            "run": run,
            "status": execution.status,
            "verdict": record["verdict"],
            "actualCents": cost["actual_cents"],
            "leftCents": left,
        },
        "record": record,
    }


def _was_settled_before(item: RunItem, execution: history.Execution) -> bool:
    started = execution.started_at
    return item["state"] == "settled" and started is not None and from_iso(item["settled_at"]) < started


def _facts(execution: history.Execution, bill: billing.Bill) -> dict[str, str | int]:
    """What the ledger keeps of a settlement beside the cents of each month."""
    return {
        "status": execution.status,
        "training_seconds": bill.training_seconds,
        "endpoint_seconds": bill.endpoint_seconds,
        "training_cents": bill.training_cents,
        "endpoint_cents": bill.endpoint_cents,
        "booked_other_cents": bill.other_cents,
        **bill.known,
    }
