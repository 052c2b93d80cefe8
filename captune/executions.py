"""`captune run`, `status` and `logs`: runs in your account without the console."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console

from captune import account
from captune.account import Refused
from captune.destroy import STACKS
from captune.flags import AsJson, Region, RunName
from captune.kept_run import name_in, not_found
from captune.serving import Deployment
from common.aws import or_none, unless
from common.clock import from_iso, now, written
from common.contracts.tear_down import execution_arn_of
from common.ledger.ledger import dollars
from common.ledger.rows import prices_of
from common.names import console_page, run_name
from common.pricing.prices import dearest
from preflight import request
from rehearsal.conductor.options import json_object
from rehearsal.programs import as_typed
from report.formatting import duration

POLL_SECONDS = 15
TRAINING_LOGS = "/aws/sagemaker/TrainingJobs"
_LOG_OF_A_FUNCTION = re.compile(r"^Functions(\w+?)Log[0-9A-F]{8}$")
_AFTER_THE_END = timedelta(hours=3)  # in which TearDown records the cost
_INPUT = "Start with this execution input: a JSON object, a file with one, or - for standard input."


def run_command(
    given: Annotated[dict[str, Any] | None, typer.Option("--input", metavar="JSON|FILE", parser=json_object, help=_INPUT, show_default=False)] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the run to its end; Ctrl-C leaves it running.")] = False,
    as_json: AsJson = False,
    region: Region = None,
) -> int:  # fmt: skip
    """Starts an execution of the state machine FineTuning.

    For example, `captune run --input '{"smoke": true}' --watch` starts a smoke run and follows it. docs/configure.md lists the keys of
    the input. With `--watch`, the exit code is 1 if the run does not succeed.
    """
    deployment = Deployment.of(account.session(region))
    started = start(deployment, given or {}, now())
    run = started["run"]
    if not as_json:
        print(f"Started {run}.\nConsole: {started['console']}", flush=True)
    if watch:
        return follow(deployment, run, as_json)
    further = as_typed(f"Follow it:\n  captune status {run}\n  captune logs {run}\n  captune stop {run}")
    print(json.dumps(started, indent=2) if as_json else further)
    return 0


def status_command(run: RunName, as_json: AsJson = False, region: Region = None) -> None:
    """Shows how a run stands."""
    session = account.session(region)
    found = status(Deployment.of(session), name_in(session, run), now())
    print(json.dumps(found, indent=2) if as_json else described(found))


def logs_command(run: RunName, as_json: AsJson = False, region: Region = None) -> None:
    """Prints log events in the order of their time.

    Errors of the Lambdas during the run are included if they do not name a run. If two runs overlap, they may be of the other run.
    """
    session = account.session(region)
    deployment, name = Deployment.of(session), name_in(session, run)
    began = status(deployment, name, now())
    found = sorted(events(session, began), key=lambda one: str(one["time"]))
    if not found:
        raise Refused(
            f"CloudWatch Logs has no events of {name}. They may not have arrived yet, or are older than their retention."
        )
    lines = (f"{one['time']}  {one['source']:<12}  {one['message']}" for one in found)
    print(json.dumps(found, indent=2) if as_json else "\n".join(lines))


def start(deployment: Deployment, given: Mapping[str, Any], moment: datetime) -> dict[str, Any]:
    """Starts a run. Raises InvalidInput before anything is started, and Refused."""
    request.parse(dict(given))
    asked = {
        "stateMachineArn": deployment.fine_tuning,
        "name": f"run-{moment:%Y%m%d-%H%M%S}",
        "input": json.dumps(given),
    }
    answer = unless("ExecutionAlreadyExists", deployment.client("stepfunctions").start_execution, **asked)
    if answer is None:
        raise Refused(f"Another run was started in this second as {asked['name']}. Start this one again.")
    arn = answer["executionArn"]
    return {"run": run_name(asked["name"]), "executionArn": arn, "console": console_link(arn)}


def console_link(execution_arn: str) -> str:
    """The page of an execution in the AWS console."""
    return f"https://{execution_arn.split(':')[3]}.{console_page(execution_arn)}"


def status(deployment: Deployment, run: str, moment: datetime) -> dict[str, Any]:
    """Where a run is, how long it has taken and its cost so far. Raises Refused for an unknown run."""
    machines, item = deployment.client("stepfunctions"), deployment.ledger.run(run)
    arn = item["execution_arn"] if item else execution_arn_of({"runName": run}, deployment.fine_tuning)
    execution = unless("ExecutionDoesNotExist", machines.describe_execution, executionArn=arn) if arn else None
    if arn is None or (execution is None and item is None):
        known = [row.run for row in deployment.ledger.rows()]
        raise not_found(run, known, "in your account")
    # Step Functions forgets an execution after 90 days; the ledger keeps its run.
    execution = execution or {"status": item.get("status", "UNKNOWN"), "startDate": from_iso(item["reserved_at"])}
    running = execution["status"] == "RUNNING"
    began, ended = execution["startDate"], moment if running else execution.get("stopDate")
    return {
        "run": run,
        "status": execution["status"],
        "state": _state(machines, arn) if running else None,
        "startedAt": written(began),
        "endedAt": None if running or ended is None else written(ended),
        "elapsedSeconds": None if ended is None else int((ended - began).total_seconds()),
        **_cost(item, moment),
        "error": execution.get("error"),
        "cause": execution.get("cause"),
        "console": console_link(arn),
    }


def _state(machines: Any, execution_arn: str) -> str | None:
    pages = machines.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn, reverseOrder=True, includeExecutionData=False
    )
    events = (event for page in pages for event in page["events"])
    return next((one["stateEnteredEventDetails"]["name"] for one in events if "stateEnteredEventDetails" in one), None)


def _cost(item: Any, moment: datetime) -> dict[str, Any]:
    """The recorded cost; before it is recorded, a bound: the dearest reserved instances for all of the time, and all small items."""
    if item is None:
        return {"costCents": 0, "costIsFinal": False, "reservedCents": 0}
    final, reserved = item["state"] == "settled", item["reserved_cents"]
    training = dearest(prices_of(item, "Training")).times(item["training_instances"])
    hourly = dearest([training, dearest(prices_of(item, "Hosting"))])
    seconds = int((moment - from_iso(item["reserved_at"])).total_seconds())
    cents = item["actual_cents"] if final else min(reserved, hourly.cents(seconds) + item["other_cents"])
    return {"costCents": cents, "costIsFinal": final, "reservedCents": reserved}


def described(found: Mapping[str, Any]) -> str:
    """The status in lines."""
    lines = [f"{found['run']}: {_words(found)}"]
    lines += [f"Error: {found['error']}: {found['cause']}"] if found["error"] else []
    return "\n".join([*lines, f"Console: {found['console']}"])


def _words(found: Mapping[str, Any]) -> str:
    state = f" in {found['state']}" if found["state"] else ""
    cost = "cost" if found["costIsFinal"] else "cost so far at most"
    money = f"{cost} {dollars(found['costCents'])} of {dollars(found['reservedCents'])} reserved"
    return f"{found['status']}{state}, {duration(found['elapsedSeconds'])} elapsed, {money}"


def follow(
    deployment: Deployment, run: str, as_json: bool = False, pause: Callable[[float], None] = time.sleep, clock: Callable[[], datetime] = now
) -> int:  # fmt: skip
    """Shows the status until the run ends; the exit code is 0 if it succeeds. Ctrl-C ends only the watching."""
    console, seen = Console(stderr=True, highlight=False, soft_wrap=True), None
    try:
        with console.status(f"Watching {run}") as line:
            while (found := status(deployment, run, clock()))["status"] == "RUNNING":
                line.update(_words(found))
                if found["state"] != seen:
                    seen = found["state"]
                    console.print(_words(found))
                pause(POLL_SECONDS)
    except KeyboardInterrupt:
        console.print(
            as_typed(f"{run} goes on. Follow it with captune status {run}, or end it with captune stop {run}.")
        )
        return 130
    print(json.dumps(found, indent=2) if as_json else described(found))
    return 0 if found["status"] == "SUCCEEDED" else 1


def events(session: Any, found: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The log events of a run's Lambdas and of its training job; `found` is its status."""
    run, began = found["run"], from_iso(found["startedAt"])
    span = {"startTime": int(began.timestamp() * 1000)}
    if found["endedAt"]:
        span["endTime"] = int((from_iso(found["endedAt"]) + _AFTER_THE_END).timestamp() * 1000)
    # Lambda's own message of an error names no run.
    asked = [
        (source, {"logGroupName": group, "filterPattern": f'?"{run}" ?errorType'}) for source, group in _groups(session)
    ]
    asked.append(("Training", {"logGroupName": TRAINING_LOGS, "logStreamNamePrefix": f"{run}/"}))
    pages = session.client("logs").get_paginator("filter_log_events")
    for source, where in asked:
        # SageMaker makes its group with the first job.
        for page in or_none(lambda where=where: list(pages.paginate(**where, **span))) or []:
            for one in page["events"]:
                moment = datetime.fromtimestamp(one["timestamp"] / 1000, UTC)
                yield {"time": f"{moment:%Y-%m-%d %H:%M:%S}", "source": source, "message": one["message"].strip()}


def _groups(session: Any) -> Iterator[tuple[str, str]]:
    """The Lambdas with a log group in the stacks, by name."""
    pages = session.client("cloudformation").get_paginator("list_stack_resources")
    for stack in STACKS:
        for page in pages.paginate(StackName=stack):
            for one in page["StackResourceSummaries"]:
                if name := _LOG_OF_A_FUNCTION.match(one["LogicalResourceId"]):
                    yield name[1], one["PhysicalResourceId"]
