"""`captune idle`: does anything of this project still bill or run? `make destroy` asks it before it removes the stacks.

TearDown, the sweeper and the event rule live in the stacks that `make destroy` removes. An endpoint that outlives them,
for example one that was to be kept, is deleted by nobody and bills by the hour until a person notices.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from captune import account
from captune.account import NotDeployed, Refused, Region, output
from common.aws import error_code
from common.clock import now
from common.ledger.ledger import Ledger, dollars
from common.names import PREFIX, run_name, run_of
from common.resources import ENDPOINT, TRAINING_JOB, Resource, Tags, find_present, named


class NotIdle(Refused):
    """Something still bills or runs. The message names it and says how to end it."""


@dataclass
class _Run:
    """A run that is not over: what is left of it, and what a TearDown or a person needs to end it."""

    name: str
    execution_name: str = ""
    execution_arn: str = ""
    left: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)  # that end it where TearDown is not deployed

    def tear_down_input(self) -> str:
        """The input that ends the run at once: the reason `schedule` deletes even an endpoint that was to be kept."""
        names = {"runName": self.name, "executionArn": self.execution_arn, "executionName": self.execution_name}
        known = {key: value for key, value in names.items() if value}
        return json.dumps({**known, "status": "UNKNOWN", "reason": "schedule"})


def command(region: Region = None) -> None:
    """Prints that nothing bills and nothing runs, or refuses."""
    print(check(account.session(region)))


def check(session: Any) -> str:
    """A sentence that nothing bills and nothing runs, and one for each endpoint and job that only its tag disowns.

    Raises NotIdle for a training job or endpoint of this project, deployed or not, and, while TearDown is deployed, for a
    running execution and an open reservation.
    """
    tear_down = _machine(session, "TearDownArn")
    runs: dict[str, _Run] = {}
    # In this order: what runs now has its reservation by the time the ledger is read, and what ended in between keeps it.
    if fine_tuning := _machine(session, "FineTuningArn"):
        _add_executions(session, fine_tuning, runs)
    foreign = _add_resources(session, runs)
    if tear_down:
        # Without TearDown nobody can settle a reservation, and to destroy the stacks makes that no worse.
        _add_reservations(session, runs)
    if runs:
        raise NotIdle(_advice(runs, tear_down, session.region_name))
    return "\n".join([f"Nothing of this project bills or runs in {session.region_name}.", *foreign])


def _machine(session: Any, output_name: str) -> str | None:
    """The ARN of a state machine, or None when it is not deployed: a half-destroyed stack still has its outputs."""
    try:
        arn = output(session, output_name)
        described = session.client("stepfunctions").describe_state_machine(stateMachineArn=arn)
    except NotDeployed:
        return None
    except ClientError as error:
        if error_code(error) not in ("StateMachineDoesNotExist", "ResourceNotFoundException"):
            raise
        return None
    return arn if described["status"] == "ACTIVE" else None


def _add_executions(session: Any, fine_tuning: str, runs: dict[str, _Run]) -> None:
    pages = session.client("stepfunctions").get_paginator("list_executions")
    for page in pages.paginate(stateMachineArn=fine_tuning, statusFilter="RUNNING"):
        for execution in page["executions"]:
            arn = execution["executionArn"]
            name = arn.rpartition(":")[2]
            run = runs.setdefault(run_name(name), _Run(run_name(name), name, arn))
            run.left.append(f"execution {name}: RUNNING")
            stop = f"aws stepfunctions stop-execution --region {session.region_name} --execution-arn {arn}"
            run.commands.append(stop)


def _add_resources(session: Any, runs: dict[str, _Run]) -> list[str]:
    """Adds what bills; answers a sentence for what has the project's prefix and another tag, which no TearDown removes."""
    tags, foreign = Tags(session.client("sagemaker")), []
    for resource, ending in _resources(session.client("sagemaker")):
        command = f"aws sagemaker {ending} --region {session.region_name}"
        if why := tags.why_foreign(resource):
            foreign.append(f"Left alone: {resource}, because {why}. If it is yours, end it: {command}")
            continue
        run = runs.setdefault(run_of(resource.name), _Run(run_of(resource.name)))
        run.left.append(str(resource))
        run.commands.append(command)
    return foreign


def _resources(sagemaker: Any) -> Iterator[tuple[Resource, str]]:
    """Everything at SageMaker that bills by the hour, with the command that ends it."""
    ours, at = f"{PREFIX}-", now()
    running = ("InProgress", "Stopping")
    jobs = [job for status in running for job in find_present(sagemaker, TRAINING_JOB, ours, at, status)]
    for one in named([*jobs, *find_present(sagemaker, ENDPOINT, ours, at)]):
        verb, option = ("stop", "training-job") if one.kind is TRAINING_JOB else ("delete", "endpoint")
        yield one, f"{verb}-{option} --{option}-name {one.name}"


def _add_reservations(session: Any, runs: dict[str, _Run]) -> None:
    """Adds what the ledger holds open, and what it knows of the runs that were found elsewhere."""
    for row in Ledger(session.client("dynamodb"), output(session, "LedgerTable")).rows():
        if not row.is_open and row.run not in runs:
            continue
        item = row.item
        run = runs.setdefault(row.run, _Run(row.run))
        run.execution_name = item.get("execution_name", run.execution_name)
        run.execution_arn = item.get("execution_arn", run.execution_arn)
        if row.is_damaged:
            run.left.append("a damaged ledger item (see captune ledger)")
        elif row.is_open:
            kept = f", to be kept until {item['keep_until']}" if "keep_until" in item else ""
            run.left.append(f"reservation of {dollars(item['reserved_cents'])}: not settled{kept}")


def _advice(runs: dict[str, _Run], tear_down: str | None, region: str) -> str:
    ordered = sorted(runs.items())
    lines = ["This project still has something that bills or runs:"]
    for name, run in ordered:
        lines += [f"  {name}", *(f"    {what}" for what in run.left)]
    if tear_down is None:
        lines.append("TearDown is not deployed in this region, so nothing ends it by itself. End it with:")
        commands = [command for _, run in ordered for command in run.commands]
    else:
        lines.append(
            "Only TearDown ends and settles it, and destroying the stacks destroys TearDown. Wait for it (captune ledger then shows "
            "the run as settled), or start it now, which ends a running execution and an endpoint that was to be kept:"
        )
        start = f"aws stepfunctions start-execution --region {region} --state-machine-arn {tear_down} --input"
        commands = [f"{start} {shlex.quote(run.tear_down_input())}" for _, run in ordered]
    return "\n".join([*lines, *(f"  {command}" for command in commands), "Then try again. Nothing was destroyed."])
