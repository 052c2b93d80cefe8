"""The training operations of the control plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rehearsal.sagemaker.clock import Clock
from rehearsal.sagemaker.engines import TrainingEngine
from rehearsal.sagemaker.records import Store, TrainingJob, arn

from . import rules
from .errors import ServiceError, invalid
from .listing import listed
from .market import CAPACITY_TRAINING, Market


class TrainingApi:
    """CreateTrainingJob, DescribeTrainingJob, ListTrainingJobs, StopTrainingJob."""

    def __init__(self, store: Store, engine: TrainingEngine, market: Market, clock: Clock) -> None:
        self._store, self._engine, self._market, self._clock = store, engine, market, clock

    def create_training_job(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Accept a job and hand it to the engine."""
        rules.training_job(request)
        name = request["TrainingJobName"]
        with self._store.lock:
            if name in self._store.jobs:
                raise ServiceError(
                    "ResourceInUse",
                    "Job name must be unique within an AWS account and region, and a training job with this "
                    f"name already exists ({self._store.jobs[name].arn})",
                )
            self._within_limit(request)
            job = TrainingJob(name, arn(region, "training-job", name), request, self._clock)
            self._store.jobs[name] = job
            self._store.tags[job.arn] = {tag["Key"]: tag["Value"] for tag in request.get("Tags") or []}
        if request["ResourceConfig"]["InstanceType"] in self._market.without_capacity:
            job.finish("Failed", reason=CAPACITY_TRAINING)
        else:
            self._engine.start(job)
        return {"TrainingJobArn": job.arn}

    def _within_limit(self, request: Mapping[str, Any]) -> None:
        wanted, spot = request["ResourceConfig"], bool(request.get("EnableManagedSpotTraining"))
        usage = "spot training job" if spot else "training job"
        used = sum(
            job.request["ResourceConfig"]["InstanceCount"]
            for job in self._store.jobs.values()
            if not job.is_over
            and job.request["ResourceConfig"]["InstanceType"] == wanted["InstanceType"]
            and bool(job.request.get("EnableManagedSpotTraining")) == spot
        )
        limit = self._market.limit(wanted["InstanceType"], usage)
        if used + wanted["InstanceCount"] > limit:
            raise rules.over_limit(wanted["InstanceType"], usage, limit, used, wanted["InstanceCount"])

    def _job(self, request: Mapping[str, Any]) -> TrainingJob:
        with self._store.lock:
            job = self._store.jobs.get(request["TrainingJobName"])
        if job is None:
            raise invalid("Requested resource not found.")
        self._engine.observed(job)
        return job

    def describe_training_job(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Describe a job."""
        return self._job(request).describe()

    def stop_training_job(self, request: Mapping[str, Any], region: str) -> None:
        """Ask a job to stop; it goes to Stopping at once and to Stopped when the container has ended."""
        job = self._job(request)
        with job.lock:
            if job.status != "InProgress":
                raise invalid(f"The request was rejected because the training job is in status {job.status}.")
            job.stopping()
        self._engine.stop(job)

    def list_training_jobs(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """List jobs, oldest first where no order is asked for."""
        with self._store.lock:
            jobs = list(self._store.jobs.values())
        for job in jobs:
            self._engine.observed(job)
        return listed(
            "TrainingJobSummaries",
            [job.summary() for job in jobs],
            request,
            name="TrainingJobName",
            status="TrainingJobStatus",
            ascending=True,
        )
