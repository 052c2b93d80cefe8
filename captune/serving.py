"""captune serve, extend and stop: start, keep or end an endpoint for an earlier run's adapter. Nothing is spent outside a reservation.

`serve` starts an execution of FineTuning that trains nothing and asks nothing: Preflight and ReserveBudget set its minutes aside, and
TearDown ends it. `extend` sets more aside in the ledger before it moves the deadline, and `stop` starts TearDown, which records the actual cost.
All three act with the permissions of whoever calls them.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Self

import typer
from botocore.exceptions import BotoCoreError, ClientError

from captune import account
from captune.account import Refused
from captune.fetch import stored_plan
from captune.flags import AsJson, Region, RunName
from captune.kept_run import kept, name_in, not_found
from common.aws import unless
from common.clock import from_iso, now, schedule_time
from common.contracts import run_folder
from common.contracts.tear_down import execution_arn_of
from common.errors import CaptuneError
from common.ledger.changes import ending
from common.ledger.ledger import Ledger, dollars
from common.names import BODY_LENGTH, DIGEST_LENGTH, PREFIX, run_name
from common.pricing.costs import for_runs
from common.storage import Storage
from rehearsal.programs import as_typed

RESULTS = Path("results")
_SCHEDULE_FIELDS = (
    "Name", "Description", "ScheduleExpressionTimezone", "FlexibleTimeWindow", "ActionAfterCompletion", "Target", "State",
)  # fmt: skip


@dataclass(frozen=True)
class Deployment:
    """The parts of a deployed project that the three commands use. `client` gives the client of a service; `cap_cents` is the deployed cap."""

    client: Callable[[str], Any]
    bucket: str
    table: str
    fine_tuning: str
    tear_down: str
    cap_cents: int

    @classmethod
    def of(cls, session: Any) -> Self:
        """The one that the stacks' outputs describe. Raises NotDeployed."""
        names = ("BucketName", "LedgerTable", "FineTuningArn", "TearDownArn", "CapCents")
        bucket, table, fine_tuning, tear_down, cap = (account.output(session, name) for name in names)
        return cls(session.client, bucket, table, fine_tuning, tear_down, int(cap))

    @property
    def ledger(self) -> Ledger:
        """The deployed ledger."""
        return Ledger(self.client("dynamodb"), self.table)


def serve_command(
    run: RunName,
    minutes: Annotated[int, typer.Option(min=1, max=240, metavar="N", help="Keep the endpoint for N minutes once it is in service.")] = 60,
    as_json: AsJson = False,
    region: Region = None,
) -> None:  # fmt: skip
    """Starts an endpoint for what a run has trained."""
    found = serve(*_deployed(run, region), minutes)
    named = found["run"]
    _tell(
        found,
        as_json,
        f"Started {named}, which serves {found['adapterUri']}.\nIts endpoint takes about ten minutes to start and stays for {minutes} more. All of it is reserved "
        f"in the ledger first; what is not used goes back. Then:\n  captune use {named}\n  captune extend {named} --minutes 30\n  captune stop {named}",
    )


def extend_command(
    run: RunName,
    minutes: Annotated[int, typer.Option(min=1, max=240, metavar="N", help="Keep the endpoint for N minutes longer.")] = 30,
    as_json: AsJson = False,
    region: Region = None,
) -> None:  # fmt: skip
    """Keeps the endpoint of a run for longer, where the cap allows it."""
    found = extend(*_deployed(run, region), minutes, now())
    _tell(
        found,
        as_json,
        f"The endpoint of {found['run']} stays until {found['keepUntil']}. {dollars(found['moreCents'])} more is reserved, {dollars(found['reservedCents'])} in all; "
        "what is not used goes back.",
    )


def stop_command(run: RunName, as_json: AsJson = False, region: Region = None) -> None:
    """Ends a run and its endpoint now."""
    found = stop(*_deployed(run, region), now())
    _tell(found, as_json, f"TearDown has started: {found['tearDown']}. {ENDING}")


ENDING = "It deletes the billable resources and records the actual cost; the unused rest of the reservation is released. You get an e-mail when it is done."


def _deployed(run: str, region: str | None) -> tuple[Deployment, str]:
    here = kept(run, RESULTS, whole_name=True)
    if here is not None and here.rehearsed:
        raise Refused(
            f"{here.name} was rehearsed on this machine: it has no endpoint to start, to keep or to end. captune use {here.folder} serves it here, at no cost."
        )
    session = account.session(region)
    return Deployment.of(session), name_in(session, run)


def _tell(found: dict[str, Any], as_json: bool, words: str) -> None:
    print(json.dumps(found, indent=2) if as_json else as_typed(words))


def serve(deployment: Deployment, run: str, minutes: int) -> dict[str, Any]:
    """Starts an execution that serves a run's adapter; of two that start at once, one gets its name. Raises Refused."""
    storage = Storage(deployment.client("s3"), deployment.bucket)
    plan = stored_plan(deployment.client("s3"), deployment.bucket, run)
    adapter = plan.get("adapterUri") or run_folder.adapter_uri(deployment.bucket, run, run)
    if storage.size(storage.key_of(adapter) + run_folder.METRICS) is None:
        raise Refused(f"The run {run} has left no whole adapter at {adapter}. Train again, and serve the new run.")
    machines, name = deployment.client("stepfunctions"), _free_name(deployment, run_folder.run_of_uri(adapter) or run)
    wanted = {"adapterUri": adapter, "serveOnly": True, "keepEndpointMinutes": minutes}
    asked = {"stateMachineArn": deployment.fine_tuning, "name": name, "input": json.dumps(wanted)}
    if unless("ExecutionAlreadyExists", machines.start_execution, **asked) is None:
        raise _already(run_name(name))
    arn = execution_arn_of({"executionName": name}, deployment.fine_tuning)
    return {"run": run_name(name), "executionArn": arn, **wanted}


def _free_name(deployment: Deployment, trained: str) -> str:
    """The name of the next execution that serves what a run has trained. Raises Refused where one goes on."""
    body, room = trained.removeprefix(f"{PREFIX}-"), BODY_LENGTH - len("serve--999")
    if len(body) > room:
        digest = hashlib.sha256(trained.encode()).hexdigest()[:DIGEST_LENGTH]
        body = f"{body[: room - DIGEST_LENGTH - 1].strip('-')}-{digest}"
    rows, machines = {row.run: row for row in deployment.ledger.rows()}, deployment.client("stepfunctions")
    for number in count(1):
        name = f"serve-{body}-{number}"
        row, arn = rows.get(run_name(name)), execution_arn_of({"executionName": name}, deployment.fine_tuning)
        execution = unless("ExecutionDoesNotExist", machines.describe_execution, executionArn=arn)
        if (row and row.is_open) or (execution and execution["status"] == "RUNNING"):
            raise _already(run_name(name))
        if row is None and not execution:
            return name
    raise AssertionError("numbers do not end")


def _already(run: str) -> Refused:
    return Refused(
        f"{run} serves this adapter already, or is about to. Ask it with captune use {run}, keep it with captune extend {run}, or end it with captune stop {run}."
    )


def extend(deployment: Deployment, run: str, minutes: int, moment: datetime) -> dict[str, Any]:
    """Keeps a run's endpoint for longer: first the money in the ledger, then the schedule that ends it.

    Raises BudgetExceeded and ExtensionRefused if nothing was changed, and Refused if the deadline was not moved.
    """
    before = deployment.ledger.run(run)
    if before is None:
        raise not_found(run, [], "in the ledger")
    item = deployment.ledger.extend(run, minutes * 60, for_runs(deployment.cap_cents), moment)
    scheduler = deployment.client("scheduler")
    try:
        told = scheduler.get_schedule(Name=run)
        same = {name: told[name] for name in _SCHEDULE_FIELDS if name in told}
        scheduler.update_schedule(**same, ScheduleExpression=f"at({schedule_time(from_iso(item['keep_until']))})")
    except (ClientError, BotoCoreError) as error:
        raise Refused(
            f"{minutes} more minutes of {run} are reserved, but the schedule that ends its endpoint was not moved ({error}), so it ends when it was to end before, and "
            "what is not used goes back. You need scheduler:GetSchedule, scheduler:UpdateSchedule and iam:PassRole on the schedule's role."
        ) from error
    more = item["reserved_cents"] - before["reserved_cents"]
    return {"run": run, "keepUntil": item["keep_until"], "moreCents": more, "reservedCents": item["reserved_cents"]}


def stop(deployment: Deployment, run: str, moment: datetime) -> dict[str, Any]:
    """Ends a run now. The ledger hears of it first, so that it is not extended, but a silent one stops nothing. Raises Refused."""
    arn = ""
    try:
        item = deployment.ledger.update(run, lambda item: ending(item, moment))
    except (CaptuneError, ClientError):
        pass
    else:
        if item is None:
            raise not_found(run, [], "in the ledger")
        if item["state"] == "settled":
            cost = dollars(item["actual_cents"])
            raise Refused(f"{run} has ended. Its cost, recorded at {item['settled_at']}, is {cost}.")
        arn = item["execution_arn"]
    started = start_tear_down(deployment.client("stepfunctions"), deployment.tear_down, run, arn, moment)
    return {"run": run, "tearDown": started}


def start_tear_down(step_functions: Any, machine: str, run: str, execution_arn: str, moment: datetime) -> str:
    """Starts TearDown for a run as you would; answers the name of its execution. `execution_arn` may be empty if it is unknown."""
    event = {"runName": run, "reason": "person", **({"executionArn": execution_arn} if execution_arn else {})}
    name = f"stop-{run}-{int(moment.timestamp())}"
    step_functions.start_execution(stateMachineArn=machine, name=name, input=json.dumps(event))
    return name
