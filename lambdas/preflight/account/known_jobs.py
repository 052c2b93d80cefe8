"""Whether the ledger is the one that this month's runs were written into: SageMaker remembers what a new ledger cannot know."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from common.clock import month_of, next_month_start
from common.errors import LedgerLost
from common.ledger.ledger import Ledger
from common.names import PREFIX, run_of
from common.resources import TRAINING_JOB, Tags, find_all

_SHOWN = 3


def refuse_lost_ledger(sagemaker: Any, ledger: Ledger, now: datetime, accepted_month: str) -> str:
    """A warning, or nothing. Raises LedgerLost for training jobs of this month, the project's, of which the ledger has no run.

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
        return ""
    shown = f"{', '.join(lost[:_SHOWN])}{f' and {len(lost) - _SHOWN} more' if len(lost) > _SHOWN else ''}"
    if accepted_month == month:
        return f"The ledger knows nothing of training jobs of {month} ({shown}). accept_lost_ledger gives {month} its whole cap nevertheless."
    raise LedgerLost(
        f"SageMaker remembers training jobs of {month} of which the ledger knows nothing ({shown}). It was deleted, or is another one than they were "
        f"reserved in, so what they cost is counted nowhere and the cap of {month} cannot be kept. Bring its items back, start again on "
        f"{next_month_start(now).date().isoformat()}, or give {month} its whole cap once more: set accept_lost_ledger to {month} in cdk.json and deploy."
    )
