"""`captune idle`: does anything of this project still bill or run? `make destroy` asks it before it removes the stacks.

TearDown, the sweeper and the event rule live in the stacks that `make destroy` removes. An endpoint that outlives them,
for example one that was to be kept, is deleted by nobody and bills by the hour until a person notices.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from botocore.exceptions import ClientError

from captune import account
from captune.account import NotDeployed, Refused, Region, output
from common.aws import error_code
from common.clock import now
from common.ledger.ledger import Ledger, dollars
from common.names import PREFIX, run_name, run_of
from common.resources import ENDPOINT, TRAINING_JOB, Tags, find_present, named


class NotIdle(Refused):
    """Something still bills or runs. The message names it and says how to end it."""


def command(region: Region = None) -> None:
    """Prints that nothing bills and nothing runs, or refuses."""
    print(check(account.session(region)))


def check(session: Any) -> str:
    """A sentence that nothing bills and nothing runs, and one for each endpoint and job that only its tag disowns.

    Raises NotIdle for a training job or endpoint of this project, deployed or not, and, while TearDown is deployed, for a
    running execution and an open reservation.
    """
    has_tear_down = _machine(session, "TearDownArn") is not None
    left: defaultdict[str, list[str]] = defaultdict(list)
    # In this order: what runs now has its reservation by the time the ledger is read, and what ended in between keeps it.
    if fine_tuning := _machine(session, "FineTuningArn"):
        pages = session.client("stepfunctions").get_paginator("list_executions")
        for page in pages.paginate(stateMachineArn=fine_tuning, statusFilter="RUNNING"):
            for name in (execution["executionArn"].rpartition(":")[2] for execution in page["executions"]):
                left[run_name(name)].append(f"execution {name}: RUNNING")
    foreign = _add_resources(session.client("sagemaker"), left)
    # Without TearDown nobody can settle a reservation, and to destroy the stacks makes that no worse.
    reserved = _add_reservations(session, left) if has_tear_down else set()
    if left:
        raise NotIdle(_advice(left, reserved, session.region_name))
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


def _add_resources(sagemaker: Any, left: defaultdict[str, list[str]]) -> list[str]:
    """Adds what bills by the hour; returns a sentence for what has the project's prefix and another tag, which no TearDown removes."""
    tags, foreign, at = Tags(sagemaker), [], now()
    kinds = ((TRAINING_JOB, "InProgress"), (TRAINING_JOB, "Stopping"), (ENDPOINT, None))
    found = [one for kind, status in kinds for one in find_present(sagemaker, kind, f"{PREFIX}-", at, status)]
    for resource in named(found):
        if why := tags.why_foreign(resource):
            foreign.append(f"Left alone: {resource}, because {why}. If it is yours, end it in the SageMaker console.")
        else:
            left[run_of(resource.name)].append(str(resource))
    return foreign


def _add_reservations(session: Any, left: defaultdict[str, list[str]]) -> set[str]:
    """Adds what the ledger holds open; returns those runs, which `captune stop` ends."""
    rows = [row for row in Ledger(session.client("dynamodb"), output(session, "LedgerTable")).rows() if row.is_open]
    for row in rows:
        if row.is_damaged:
            left[row.run].append(f"a ledger item that cannot be read: {'; '.join(row.problems)} (see captune ledger)")
        else:
            kept = f", to be kept until {row.item['keep_until']}" if "keep_until" in row.item else ""
            left[row.run].append(f"reservation of {dollars(row.item['reserved_cents'])}: not settled{kept}")
    return {row.run for row in rows}


def _advice(left: dict[str, list[str]], reserved: set[str], region: str) -> str:
    lines = ["This project still has something that bills or runs:"]
    for run, what in sorted(left.items()):
        end = f"captune stop {run} --region {region}" if run in reserved else ""
        lines += [
            f"  {run}",
            *(f"    {one}" for one in what),
            f"    End it: {end or 'in the SageMaker and Step Functions consoles'}",
        ]
    wait = "Destroying the stacks destroys what would end it. Wait for its end (captune ledger then shows it as settled), or end it now."
    return "\n".join([*lines, f"{wait} Then try again. Nothing was destroyed."])
