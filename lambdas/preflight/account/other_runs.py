"""What other runs hold or have left: names, instances, resources that no reservation covers, and jobs that the ledger does not know."""

from datetime import UTC, datetime
from typing import Any

from common.aws import or_none
from common.clock import month_of, next_month_start
from common.errors import LedgerLost, RunNameTaken
from common.ledger.ledger import Ledger
from common.names import PREFIX, run_of
from common.resources import ENDPOINT, TRAINING_JOB, Tags, find_all, find_present, named
from common.text import listed


def refuse_taken_name(sagemaker: Any, ledger: Ledger, run: str, execution_arn: str) -> None:
    """Raises RunNameTaken for another execution's name, or any old training job's, which would pass for this run's."""
    item = ledger.run(run)
    if item is not None and (item["execution_arn"], item["state"]) == (execution_arn, "reserved"):
        return
    # A list would be read through all that the account ever trained.
    if item is not None or or_none(sagemaker.describe_training_job, TrainingJobName=run) is not None:
        raise RunNameTaken(
            f"The run name {run} was used before. Start a new execution and leave its name to the console, or choose another."
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


def refuse_lost_ledger(sagemaker: Any, ledger: Ledger, now: datetime, accepted_month: str) -> list[str]:
    """A warning where the loss is accepted. Raises LedgerLost for training jobs of this month, the project's, of which the ledger has no run.

    `accepted_month`, such as `2026-11`, is the one month for which the owner lets a ledger begin anew. An endpoint leaves no
    trace once it is deleted, and SageMaker remembers jobs by region, so this finds a lost ledger only where a run has trained.
    """
    month = month_of(now)
    began = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    jobs = find_all(sagemaker, TRAINING_JOB, f"{PREFIX}-", created_after=began)
    # In this order: a job that is found had its reservation before it.
    known = {row.run for row in ledger.rows()}
    lost = sorted(job.name for job in Tags(sagemaker).own(job for job in jobs if run_of(job.name) not in known))
    if not lost:
        return []
    shown = listed(lost, most=3)
    if accepted_month == month:
        return [
            f"The ledger knows nothing of training jobs of {month} ({shown}). accept_lost_ledger gives {month} its whole cap nevertheless."
        ]
    raise LedgerLost(
        f"SageMaker remembers training jobs of {month} of which the ledger knows nothing ({shown}). It was deleted, or is another one than they were "
        f"reserved in, so what they cost is counted nowhere and the cap of {month} cannot be kept. Bring its items back, start again on "
        f"{next_month_start(now).date().isoformat()}, or give {month} its whole cap once more: set accept_lost_ledger to {month} in cdk.json and deploy."
    )
