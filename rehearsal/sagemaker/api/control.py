"""The SageMaker control plane: finds the method for an operation; training jobs and tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rehearsal.sagemaker.engines import HostingEngine, TrainingEngine
from rehearsal.sagemaker.records import Clock, Store, TrainingJob, arn

from . import rules
from .errors import ServiceError, invalid
from .hosting import HostingApi
from .listing import listed
from .market import CAPACITY_TRAINING, Market
from .validation import check_request


class TrainingApi:
    """The operations on training jobs."""

    def __init__(self, store: Store, engine: TrainingEngine, market: Market, clock: Clock) -> None:
        self._store, self._engine, self._market, self._clock = store, engine, market, clock

    def create(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Accept a job and hand it to the engine."""
        rules.training_job(request)
        name = request["TrainingJobName"]
        job = TrainingJob(name, arn(region, "training-job", name), request, self._clock)
        with self._store.lock:
            if name in self._store.jobs:
                raise ServiceError(
                    "ResourceInUse",
                    "Job name must be unique within an AWS account and region, and a training job with this "
                    f"name already exists ({self._store.jobs[name].arn})",
                )
            running = (one for one in self._store.jobs.values() if not one.is_over and one.is_spot == job.is_spot)
            self._market.check_limit("spot training job" if job.is_spot else "training job", job, running)
            self._store.jobs[name] = job
            self._store.keep_tags(job.arn, request)
        if job.instance_type in self._market.without_capacity:
            job.finish("Failed", reason=CAPACITY_TRAINING)
        else:
            self._engine.start(job)
        return {"TrainingJobArn": job.arn}

    def look(self) -> list[TrainingJob]:
        """Let the engine go on and return every job."""
        with self._store.lock:
            jobs = list(self._store.jobs.values())
        for job in jobs:
            self._engine.observed(job)
        return jobs

    def _job(self, request: Mapping[str, Any]) -> TrainingJob:
        with self._store.lock:
            job = self._store.jobs.get(request["TrainingJobName"])
        if job is None:
            raise invalid("Requested resource not found.")
        self._engine.observed(job)
        return job

    def describe(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Describe a job."""
        return self._job(request).describe()

    def stop(self, request: Mapping[str, Any], region: str) -> None:
        """Ask a job to stop; it goes to Stopping at once and to Stopped when the container has ended."""
        job = self._job(request)
        with job.lock:
            if job.status != "InProgress":
                raise invalid(f"The request was rejected because the training job is in status {job.status}.")
            job.stopping()
        self._engine.stop(job)

    def listing(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """List jobs, oldest first where the request names no order."""
        return listed(
            "TrainingJobSummaries",
            [job.summary() for job in self.look()],
            request,
            name="TrainingJobName",
            status="TrainingJobStatus",
            ascending=True,
        )


class Control:
    """Answers SageMaker operations."""

    def __init__(
        self,
        store: Store,
        training: TrainingEngine,
        hosting: HostingEngine,
        market: Market,
        clock: Clock,
        has_objects: Callable[[str], bool],
    ) -> None:
        self._store = store
        self.training = jobs = TrainingApi(store, training, market, clock)
        self.hosting = endpoints = HostingApi(store, hosting, market, clock, has_objects)
        self._operations: Mapping[str, Callable[[Mapping[str, Any], str], Mapping[str, Any] | None]] = {
            "CreateTrainingJob": jobs.create,
            "DescribeTrainingJob": jobs.describe,
            "StopTrainingJob": jobs.stop,
            "ListTrainingJobs": jobs.listing,
            "CreateModel": endpoints.create_model,
            "DescribeModel": endpoints.models.describe,
            "DeleteModel": endpoints.models.delete,
            "ListModels": endpoints.models.listing,
            "CreateEndpointConfig": endpoints.create_configuration,
            "DescribeEndpointConfig": endpoints.configurations.describe,
            "DeleteEndpointConfig": endpoints.configurations.delete,
            "ListEndpointConfigs": endpoints.configurations.listing,
            "CreateEndpoint": endpoints.create,
            "DescribeEndpoint": endpoints.describe,
            "DeleteEndpoint": endpoints.delete,
            "ListEndpoints": endpoints.listing,
            "ListTags": self.tags,
        }

    def call(self, operation: str, request: Mapping[str, Any], region: str) -> Mapping[str, Any] | None:
        """Check the request and answer it.

        Raises:
            ServiceError: as the service would answer.
        """
        if operation not in self._operations:
            raise ServiceError("UnknownOperationException", f"The rehearsal does not play {operation}.")
        check_request("sagemaker", operation, request)
        return self._operations[operation](request, region)

    def tags(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """List the tags of a resource."""
        with self._store.lock:
            tags = self._store.tags.get(request["ResourceArn"])
        if tags is None:
            raise invalid(f'Could not find resource "{request["ResourceArn"]}".')
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
