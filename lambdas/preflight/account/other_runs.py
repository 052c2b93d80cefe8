"""What other runs hold or have left: names, instances, and resources that no reservation covers."""

from __future__ import annotations

from typing import Any

from common.errors import RunNameTaken
from common.ledger.ledger import Ledger
from common.names import PREFIX, belongs_to, run_of


def refuse_taken_name(sagemaker: Any, ledger: Ledger, run: str, execution_arn: str) -> None:
    """Raises RunNameTaken for a name that another execution has, or that SageMaker remembers a training job by.

    SageMaker keeps the names of training jobs for ever, so an old job would pass for the one that this run is about to start.
    """
    item = ledger.run(run)
    if item is not None and (item["execution_arn"], item["state"]) == (execution_arn, "reserved"):
        return
    pages = sagemaker.get_paginator("list_training_jobs").paginate(NameContains=run)
    jobs = [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]
    if item is not None or any(belongs_to(job, run) for job in jobs):
        raise RunNameTaken(
            f"The run name {run} was used before. Start a new execution and leave its name to the console, or choose another."
        )


def runs_in_flight(ledger: Ledger, run: str) -> list[str]:
    """The other runs that hold a reservation, which means that they use an instance now or will.

    One whose item cannot be read may hold one, and says so.
    """
    unreadable = " (its item in the ledger cannot be read, see make ledger)"
    others = [row for row in ledger.rows() if row.is_open and row.run != run]
    return sorted(f"{row.run}{unreadable if row.is_damaged else ''}" for row in others)


def leftovers(sagemaker: Any, ledger: Ledger) -> list[str]:
    """Endpoints and training jobs of this project that no reservation covers: they bill and nobody counts them."""
    jobs = sagemaker.get_paginator("list_training_jobs").paginate(NameContains=f"{PREFIX}-", StatusEquals="InProgress")
    endpoints = sagemaker.get_paginator("list_endpoints").paginate(NameContains=f"{PREFIX}-")
    found = [("training job", job["TrainingJobName"]) for page in jobs for job in page["TrainingJobSummaries"]]
    found += [
        ("endpoint", endpoint["EndpointName"])
        for page in endpoints
        for endpoint in page["Endpoints"]
        if endpoint["EndpointStatus"] != "Deleting"
    ]
    # In this order: what is found has its reservation by the time the ledger is read.
    covered = {row.run for row in ledger.rows() if row.is_open}
    return [f"{kind} {name}" for kind, name in found if name.startswith(f"{PREFIX}-") and run_of(name) not in covered]
