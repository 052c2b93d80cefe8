"""What other runs hold or have left: names, instances, resources that no reservation covers, and jobs and runs that the ledger does not know."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any

from common.aws import or_none
from common.clock import month_of, next_month_start
from common.errors import LedgerLost, RunNameTaken
from common.ledger.ledger import Ledger
from common.names import PREFIX, run_name, run_of
from common.pricing.durations import LONGEST_KEEP_SECONDS, LONGEST_RESERVATION_SECONDS, TEAR_DOWN_ALLOWANCE_SECONDS
from common.resources import ENDPOINT, TRAINING_JOB, Tags, find_all, find_present, named
from common.text import listed

# The state that follows ReserveBudget (stacks/fine_tuning.asl.yaml): whoever entered it holds a reservation.
_STATE_AFTER_RESERVING = "ScheduleTearDown"
# Each is at least one more call: somebody may have started hundreds of executions that were refused.
_MOST_HISTORIES = 20


def refuse_taken_name(sagemaker: Any, ledger: Ledger, run: str, execution_arn: str) -> None:
    """Raises RunNameTaken for another execution's name, or any old training job's, which would pass for this run's."""
    item = ledger.run(run)
    if item is not None and (item["execution_arn"], item["state"]) == (execution_arn, "reserved"):
        return
    # A list would be read through all that the account ever trained.
    if item is not None or or_none(sagemaker.describe_training_job, TrainingJobName=run) is not None:
        raise RunNameTaken(
            f"Another execution or training job already uses the run name {run}. Start a new execution, and keep the name that the console generates."
        )


def runs_in_flight(ledger: Ledger, run: str) -> list[str]:
    """The other runs with a reservation, which use an instance now or will. A damaged item may be one."""
    unreadable = " (its item in the ledger is damaged, see captune ledger)"
    others = [row for row in ledger.rows() if row.is_open and row.run != run]
    return sorted(f"{row.run}{unreadable if row.is_damaged else ''}" for row in others)


def leftovers(sagemaker: Any, ledger: Ledger, now: datetime) -> list[str]:
    """Endpoints and training jobs of this project that no reservation covers.

    What has the project's prefix and another tag is named with that tag, because the sweeper does not remove it.
    """
    ours = f"{PREFIX}-"
    found = find_present(sagemaker, TRAINING_JOB, ours, now, "InProgress")
    found += [one for one in find_present(sagemaker, ENDPOINT, ours, now) if one.status != "Deleting"]
    # In this order: what is found has its reservation by the time the ledger is read.
    covered = {row.run for row in ledger.rows() if row.is_open}
    tags = Tags(sagemaker)
    uncovered = [(one, tags.why_foreign(one)) for one in named(found) if run_of(one.name) not in covered]
    return [f"{one.kind.words} {one.name}{f' ({why})' if why else ''}" for one, why in uncovered]


def refuse_lost_ledger(
    sagemaker: Any, step_functions: Any, ledger: Ledger, execution_arn: str, now: datetime, accepted_month: str
) -> list[str]:
    """A warning where the loss is accepted. Raises LedgerLost for runs of this month of which the ledger knows nothing.

    `accepted_month`, such as `2026-11`, is the one month for which the owner lets a ledger begin anew. SageMaker remembers training jobs
    by region, whatever was deployed anew; an endpoint leaves no trace there, so runs that only served are found among the executions of
    the machine that runs this one, `execution_arn`.
    """
    month = month_of(now)
    began = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    jobs = find_all(sagemaker, TRAINING_JOB, f"{PREFIX}-", created_after=began)
    executions = _executions(step_functions, execution_arn, began, now)
    # In this order: what is found had its reservation before it.
    known = {row.run for row in ledger.rows()}
    lost = sorted(job.name for job in Tags(sagemaker).own(job for job in jobs if run_of(job.name) not in known))
    source, what = "SageMaker lists", "training jobs"
    if not lost:
        lost = _forgotten(step_functions, ledger, [one for one in executions if run_name(one["name"]) not in known])
        source, what = "Step Functions lists", "runs"
    if not lost:
        return []
    shown = listed(lost, most=3)
    if accepted_month == month:
        return [f"The ledger lacks {what} of {month} ({shown}). accept_lost_ledger gives {month} its full cap again."]
    raise LedgerLost(
        f"{source} {what} of {month} that the ledger lacks ({shown}): the table was deleted, replaced or restored from an older backup. Without their cost, Captune "
        f"cannot hold the cap of {month}. Restore the table's RUN# items, or start a new execution on {next_month_start(now).date().isoformat()}. Or set "
        f"accept_lost_ledger to {month} in cdk.json and run make deploy, which gives {month} its full cap again."
    )


def _executions(step_functions: Any, execution_arn: str, began: datetime, now: datetime) -> list[dict[str, Any]]:
    """The other executions of a machine that may have billed since the month began, the longest first: it is what they can have cost."""
    machine = execution_arn.rpartition(":")[0].replace(":execution:", ":stateMachine:")
    pages = step_functions.get_paginator("list_executions").paginate(stateMachineArn=machine)
    # The newest is listed first, and none lasts for longer than this.
    oldest = began - timedelta(seconds=LONGEST_RESERVATION_SECONDS)
    found = takewhile(lambda one: one["startDate"] >= oldest, (one for page in pages for one in page["executions"]))
    kept = timedelta(seconds=LONGEST_KEEP_SECONDS + TEAR_DOWN_ALLOWANCE_SECONDS)
    others = [one for one in found if one["executionArn"] != execution_arn and one.get("stopDate", now) + kept >= began]
    return sorted(others, key=lambda one: one["startDate"] - one.get("stopDate", now))


def _forgotten(step_functions: Any, ledger: Ledger, executions: Iterable[dict[str, Any]]) -> list[str]:
    """The runs that had reserved by their histories, and that the ledger does not know.

    An execution that was refused, or ended before it reserved, never had an item.
    """
    return [
        run_name(one["name"])
        for one in islice(executions, _MOST_HISTORIES)
        if _had_reserved(step_functions, one["executionArn"]) and ledger.run(run_name(one["name"])) is None
    ]


def _had_reserved(step_functions: Any, execution_arn: str) -> bool:
    pages = step_functions.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn, includeExecutionData=False
    )
    # Long before its thousandth event, however often it was tried.
    events = islice((event for page in pages for event in page["events"]), 1000)
    return any(event.get("stateEnteredEventDetails", {}).get("name") == _STATE_AFTER_RESERVING for event in events)
