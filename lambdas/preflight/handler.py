"""Preflight: checks everything that can be checked for free, all at once, and makes the plan of the run. It writes nothing but its count of executions."""

from typing import Any

from common.aws import brisk_client, client, reaching
from common.clock import month_of, now
from common.contracts.fine_tuning import PreflightEvent
from common.contracts.plan import Plan
from common.environment import refuse_another_deployment, required
from common.ledger.ledger import Ledger
from common.logs import log
from common.pricing import costs
from common.storage import Storage
from preflight import checks, plan
from preflight.account.guardrail import Guards
from preflight.settings import RunSettings


def handle(event: PreflightEvent, context: Any) -> Plan:
    """Takes the execution's name, ARN, input and the version of its definition; answers the plan. Raises one error that names every fault found."""
    # Before the settings are read, which may be of another form while a deployment is under way.
    refuse_another_deployment(event.get("definitionVersion"))
    settings = RunSettings.from_json(required("SETTINGS_JSON"))
    ledger, cap_cents, moment = Ledger(client("dynamodb"), required("LEDGER_TABLE")), int(required("CAP_CENTS")), now()
    with reaching("Counting this month's executions"):
        # Before anything that takes time or money: a loop of executions that are refused has to end somewhere.
        ledger.count_start(month_of(moment), costs.looks_bound(cap_cents))
    storage, guards = Storage(client("s3"), required("BUCKET_NAME")), Guards.deployed()
    context = checks.Context(
        settings, moment, client, brisk_client, event, costs.for_runs(cap_cents), storage, ledger, guards
    )
    with reaching("Preflight"):
        document = plan.build(context, checks.run(context))
    cents, warnings = document["budget"]["worstCaseCents"], document["warnings"]
    log("planned", run=document["runName"], worst_case_cents=cents, warnings=warnings)
    return document
