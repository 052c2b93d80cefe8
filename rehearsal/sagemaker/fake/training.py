"""Training jobs that end at once and follow a plan: for tests of the workflow, not of the learning."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from rehearsal.sagemaker.api.market import CAPACITY_TRAINING
from rehearsal.sagemaker.engines import TrainingEngine
from rehearsal.sagemaker.records import TrainingJob

from .outputs import metrics_of, write_outputs

_FAILURES = {
    "failed": "AlgorithmError: The training script failed. Read the job's log., exit code: 1",
    "killed": "AlgorithmError: the training process was killed by signal 9 (SIGKILL), exit code: 137",
    "capacity": CAPACITY_TRAINING,
}


@dataclass
class Progress:
    """How often a thing that a fake plays has been looked at."""

    plan: Any
    looks: int = 0
    stop_looks: int = 0
    interruptions: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)


@dataclass(frozen=True)
class TrainingPlan:
    """How one fake training job goes.

    Attributes:
        outcome: "completed", "failed" (the script fails), "killed" (by a signal), "capacity" (no instance),
            "waits" (no instance either: Pending until MaxPendingTimeInSeconds is over, which comes at once here),
            "cut" (stopped when MaxRuntimeInSeconds is over, and writes what it has), "hangs" (runs until
            MaxRuntimeInSeconds by the clock, or until it is stopped), or "taken" (on spot: interrupted at the
            first look, and no instance until MaxWaitTimeInSeconds is over, which comes after the other looks here).
        looks: how many looks (describe, list) still see it in progress; 0 ends it in CreateTrainingJob.
        stop_looks: how many looks see it Stopping after StopTrainingJob.
        interruptions: how often its spot instance is taken away and another one comes, each for one look.
        reason: FailureReason, where not the usual one.
        metrics: metrics.json as a dict, or bytes to write as they are; plausible ones when None.
        leave_out: files of the output that are not written, for example ("metrics.json",).
    """

    outcome: Literal["completed", "failed", "killed", "capacity", "waits", "cut", "hangs", "taken"] = "completed"
    looks: int = 1
    stop_looks: int = 1
    interruptions: int = 0
    reason: str | None = None
    metrics: Mapping[str, Any] | bytes | None = None
    leave_out: tuple[str, ...] = ()


class FakeTraining(TrainingEngine):
    """Follows one `TrainingPlan` a job, in the order of the jobs; the last plan serves all further jobs.

    `plans` may be changed while it runs.
    """

    def __init__(self, *plans: TrainingPlan) -> None:
        self.plans = list(plans) or [TrainingPlan()]
        self._progress: dict[str, Progress] = {}

    def start(self, job: TrainingJob) -> None:
        """Begin: the instance starts at once, unless there is no capacity."""
        plan = self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]
        self._progress[job.name] = Progress(plan)
        job.enter("Starting", "Starting the training job")
        if plan.outcome == "waits":
            job.enter("Pending", "Preparing the instances for training")
        elif plan.outcome != "capacity":
            _train(job)
        if plan.looks == 0:
            self._end(job, plan)

    def observed(self, job: TrainingJob) -> None:
        """Go on by one look."""
        progress = self._progress.get(job.name)
        if progress is None:
            return
        with progress.lock:
            if job.is_over:
                return
            beyond = job.ran_seconds(job.clock()) - job.max_runtime.total_seconds()
            if beyond >= 0:
                job.finish("Stopped", "MaxRuntimeExceeded", at=job.clock() - timedelta(seconds=beyond))
            elif job.is_spot and job.clock() - job.created >= job.max_wait:
                job.finish("Stopped", "MaxWaitTimeExceeded", at=job.created + job.max_wait)
            elif job.status == "Stopping":
                if progress.stop_looks >= progress.plan.stop_looks:
                    job.finish("Stopped")
                progress.stop_looks += 1
            elif job.secondary == "Interrupted" and progress.plan.outcome != "taken":
                job.enter("Starting", "Launching requested ML instances")
                _train(job)
            elif progress.interruptions < max(progress.plan.interruptions, progress.plan.outcome == "taken"):
                progress.interruptions += 1
                job.interrupt()
            elif progress.looks >= progress.plan.looks:
                self._end(job, progress.plan)
            else:
                progress.looks += 1

    def _end(self, job: TrainingJob, plan: TrainingPlan) -> None:
        if plan.outcome == "hangs":
            return
        if plan.outcome in _FAILURES:
            job.finish("Failed", reason=plan.reason or _FAILURES[plan.outcome])
        elif plan.outcome == "taken" or (plan.outcome == "waits" and job.is_spot):
            job.finish("Stopped", "MaxWaitTimeExceeded")
        elif plan.outcome == "waits":
            job.finish("Stopped")
        else:
            job.enter("Uploading", "Uploading generated training model")
            s3 = self.context.s3_of(job.request["RoleArn"])
            metrics = metrics_of(s3, job) if plan.metrics is None else plan.metrics
            write_outputs(s3, job, metrics, plan.leave_out)
            if plan.outcome == "cut":
                job.finish("Stopped", "MaxRuntimeExceeded")
            else:
                job.finish("Completed")

    def stop(self, job: TrainingJob) -> None:
        """Nothing at once; the looks that follow see Stopping, then Stopped."""


def _train(job: TrainingJob) -> None:
    job.enter("Downloading", "Downloading input data")
    job.enter("Training", "Training image download completed. Training in progress.")
