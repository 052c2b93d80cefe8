"""SageMaker as the tear-down and the settlement see it: what runs, until when, and what it truly bills."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Any

from botocore.exceptions import ClientError

Clock = Callable[[], datetime]


@dataclass
class Job:
    """A training job. `start` is None for one that never got an instance; `end` is when its status becomes final."""

    name: str
    owner: str
    hourly_usd: Fraction
    created: datetime
    start: datetime | None
    end: datetime
    final: str
    reason: str
    seconds_to_stop: float
    instance_type: str = "ml.g5.2xlarge"
    stop_asked: bool = False

    def status(self, now: datetime) -> str:
        """InProgress, Stopping or the final one."""
        if now >= self.end:
            return self.final
        return "Stopping" if self.stop_asked else "InProgress"

    def stop(self, now: datetime) -> None:
        """Ends the job early; one that waits for its instance ends without having billed anything."""
        if self.start is None or now < self.start:
            self.start, self.end = None, now + timedelta(seconds=5)
        else:
            self.end = min(self.end, now + timedelta(seconds=self.seconds_to_stop))
        self.stop_asked, self.final, self.reason = True, "Stopped", ""

    def billed_seconds(self) -> int:
        """What AWS reports as BillableTimeInSeconds."""
        return 0 if self.start is None else ceil((self.end - self.start) / timedelta(seconds=1))


@dataclass
class Endpoint:
    """An endpoint. It cannot be deleted before `ready`; `gone` is None until somebody deletes it."""

    name: str
    owner: str
    hourly_usd: Fraction
    created: datetime
    ready: datetime
    works: bool
    bills: bool
    reason: str
    gone: datetime | None = None

    def status(self, now: datetime) -> str:
        """Creating, InService, Failed or Deleting."""
        if self.gone is not None:
            return "Deleting"
        if now < self.ready:
            return "Creating"
        return "InService" if self.works else "Failed"


@dataclass
class SageMaker:
    """The control plane. `delete_seconds()` says how long a deletion takes."""

    clock: Clock
    delete_seconds: Callable[[], float]
    touched: Callable[[str], None] = lambda owner: None
    jobs: dict[str, Job] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    past_endpoints: list[Endpoint] = field(default_factory=list)
    models: set[str] = field(default_factory=set)
    configurations: set[str] = field(default_factory=set)

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:
        """What the settlement reads of a job."""
        job, now = self.jobs[TrainingJobName], self.clock()
        answer: dict[str, Any] = {
            "TrainingJobStatus": job.status(now),
            "CreationTime": job.created,
            "ResourceConfig": {"InstanceCount": 1, "InstanceType": self.jobs[TrainingJobName].instance_type},
        }
        if job.start is not None and job.start <= now:
            answer["TrainingStartTime"] = job.start
        if now >= job.end:
            answer |= {"TrainingEndTime": job.end, "BillableTimeInSeconds": job.billed_seconds()}
        return answer

    def stop_training_job(self, *, TrainingJobName: str) -> None:
        """Asks a job to stop."""
        job = self.jobs[TrainingJobName]
        self.touched(job.owner)
        if job.status(self.clock()) == "InProgress":
            job.stop(self.clock())

    def delete_endpoint(self, *, EndpointName: str) -> None:
        """Deletes an endpoint that is not Creating."""
        self._bury()
        endpoint, now = self.endpoints.get(EndpointName), self.clock()
        if endpoint is None:
            raise _invalid("Could not find endpoint")
        self.touched(endpoint.owner)
        if endpoint.status(now) == "Creating":
            raise _invalid("Cannot update in-progress endpoint")
        if endpoint.gone is None:
            endpoint.gone = now + timedelta(seconds=self.delete_seconds())

    def delete_endpoint_config(self, *, EndpointConfigName: str) -> None:
        """Deletes an endpoint configuration."""
        if EndpointConfigName not in self.configurations:
            raise _invalid("Could not find endpoint configuration")
        self.configurations.remove(EndpointConfigName)

    def delete_model(self, *, ModelName: str) -> None:
        """Deletes a model."""
        if ModelName not in self.models:
            raise _invalid("Could not find model")
        self.models.remove(ModelName)

    def list_training_jobs(self, *, NameContains: str, StatusEquals: str | None = None) -> dict[str, Any]:
        """The jobs of a run; finished ones stay."""
        now = self.clock()
        found = [(name, job.status(now)) for name, job in self.jobs.items() if NameContains in name]
        return {
            "TrainingJobSummaries": [
                {"TrainingJobName": name, "TrainingJobStatus": status}
                for name, status in found
                if StatusEquals in (None, status)
            ]
        }

    def list_endpoints(self, *, NameContains: str) -> dict[str, Any]:
        """The endpoints that are not gone, the newest first."""
        self._bury()
        now = self.clock()
        return {
            "Endpoints": [
                {"EndpointName": name, "EndpointStatus": endpoint.status(now), "CreationTime": endpoint.created}
                for name, endpoint in reversed(self.endpoints.items())
                if NameContains in name
            ]
        }

    def list_endpoint_configs(self, *, NameContains: str) -> dict[str, Any]:
        """The endpoint configurations."""
        return {
            "EndpointConfigs": [{"EndpointConfigName": n} for n in sorted(self.configurations) if NameContains in n]
        }

    def list_models(self, *, NameContains: str) -> dict[str, Any]:
        """The models."""
        return {"Models": [{"ModelName": name} for name in sorted(self.models) if NameContains in name]}

    def get_paginator(self, operation: str) -> _Pages:
        """Pages of a list call: all on one."""
        return _Pages(getattr(self, operation))

    def still_there(self, run: str) -> list[str]:
        """Everything of a run that bills or may yet."""
        self._bury()
        now = self.clock()
        jobs = [name for name, job in self.jobs.items() if job.owner == run and now < job.end]
        return jobs + [name for name, endpoint in self.endpoints.items() if endpoint.owner == run]

    def _bury(self) -> None:
        now = self.clock()
        for name in [n for n, endpoint in self.endpoints.items() if endpoint.gone is not None and endpoint.gone <= now]:
            self.past_endpoints.append(self.endpoints.pop(name))


@dataclass(frozen=True)
class _Pages:
    call: Callable[..., dict[str, Any]]

    def paginate(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        yield self.call(**arguments)


def _invalid(message: str) -> ClientError:
    return ClientError({"Error": {"Code": "ValidationException", "Message": message}}, "SageMaker")
