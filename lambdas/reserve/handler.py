"""ReserveBudget: sets the worst case of the planned run aside in the ledger, or refuses the run."""

from typing import Any

from common.aws import client, reaching
from common.clock import from_iso, now
from common.contracts.fine_tuning import Reserved
from common.contracts.plan import Plan
from common.environment import refuse_another_deployment, required
from common.errors import PlanExpired
from common.ledger.ledger import Ledger, Reservation
from common.logs import log, metric
from common.pricing import costs


def handle(event: Plan, context: Any) -> Reserved:
    """Takes the plan of the run; answers what was reserved. Raises BudgetExceeded, RunNameTaken, PlanExpired or DeployInProgress."""
    # A plan of before a deployment was priced by what held then.
    refuse_another_deployment(event.get("definitionVersion"))
    ledger = Ledger(client("dynamodb"), required("LEDGER_TABLE"))
    cap_cents, moment = int(required("CAP_CENTS")), now()
    budget = event["budget"]
    last = budget.get("reserveBy")
    if last and moment > from_iso(last):
        raise PlanExpired(
            f"The run was planned at {event['startedAt']} for {' and '.join(budget['months'])}. Reserved only now, at "
            f"{moment.isoformat(timespec='seconds')}, it would last into the next month. No money was reserved. Start a new execution."
        )
    reservation = Reservation(
        run=event["runName"],
        execution_arn=event["executionArn"],
        cents=budget["worstCaseCents"],
        months=tuple(budget["months"]),
        details=budget["ledgerDetails"],
    )
    with reaching("Reserving the money in the ledger"):
        item = ledger.reserve(reservation, costs.for_runs(cap_cents), moment)
        committed = ledger.committed_cents(reservation.months[0], cap_cents) + costs.standing_cents(cap_cents)
    log("reserved", run=reservation.run, cents=reservation.cents, committed_cents=committed, cap_cents=cap_cents)
    metric(CommittedCents=committed, CapCents=cap_cents)
    return {"reservedCents": item["reserved_cents"], "committedCents": committed, "capCents": cap_cents}
