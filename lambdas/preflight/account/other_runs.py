"""What other runs hold or have left: names, instances, and resources that no reservation covers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from common.aws import is_missing
from common.errors import RunNameTaken
from common.ledger.ledger import Ledger
from common.names import PREFIX, attempt_names, run_of
from common.resources import ENDPOINT, TRAINING_JOB, Tags, find_present, named


def refuse_taken_name(sagemaker: Any, ledger: Ledger, run: str, execution_arn: str) -> None:
    """Raises RunNameTaken for a name that another execution has, or that SageMaker remembers a training job by.

    SageMaker keeps the names of training jobs for ever, so an old job would pass for the one that this run is about to start.
    """
    item = ledger.run(run)
    if item is not None and (item["execution_arn"], item["state"]) == (execution_arn, "reserved"):
        return
    if item is not None or any(_is_known(sagemaker, name) for name in attempt_names(run)):
        raise RunNameTaken(
            f"The run name {run} was used before. Start a new execution and leave its name to the console, or choose another."
        )


def _is_known(sagemaker: Any, job: str) -> bool:
    """Whether SageMaker remembers a training job of this name. A list would be read through all that the account ever trained."""
    try:
        sagemaker.describe_training_job(TrainingJobName=job)
    except ClientError as error:
        if is_missing(error):
            return False
        raise
    return True


def runs_in_flight(ledger: Ledger, run: str) -> list[str]:
    """The other runs that hold a reservation, which means that they use an instance now or will.

    One whose item cannot be read may hold one, and says so.
    """
    unreadable = " (its item in the ledger cannot be read, see captune ledger)"
    others = [row for row in ledger.rows() if row.is_open and row.run != run]
    return sorted(f"{row.run}{unreadable if row.is_damaged else ''}" for row in others)


def leftovers(sagemaker: Any, ledger: Ledger, now: datetime) -> list[str]:
    """Endpoints and training jobs of this project that no reservation covers: they bill and nobody counts them.

    What has the project's prefix and another tag is named with it, because no sweeper removes that.
    """
    ours = f"{PREFIX}-"
    found = find_present(sagemaker, TRAINING_JOB, ours, now, "InProgress")
    found += [one for one in find_present(sagemaker, ENDPOINT, ours, now) if one.status != "Deleting"]
    # In this order: what is found has its reservation by the time the ledger is read.
    covered = {row.run for row in ledger.rows() if row.is_open}
    tags = Tags(sagemaker)
    uncovered = [(one, tags.why_foreign(one)) for one in named(found) if run_of(one.name) not in covered]
    return [f"{one.kind.words} {one.name}{f' ({why})' if why else ''}" for one, why in uncovered]
