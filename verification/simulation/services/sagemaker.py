"""SageMaker's control plane: what is created, described, listed and deleted, and what of it bills from when to when."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Any, TypeVar

from verification.simulation.services import Pages, client_error

T = TypeVar("T")
Tags = list[dict[str, str]]
REGION = "us-east-1"
ACCOUNT = "111122223333"


@dataclass
class Job:
    """A training job. `start` is None for one that never got an instance; `end` is when its status becomes final.

    `pull` are the seconds before `start` in which the image was pulled: billed, and outside MaxRuntimeInSeconds.
    """

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
    instances: int = 1
    resources: dict[str, Any] = field(default_factory=dict)  # ResourceConfig of its request
    pull: float = 0.0
    spot: bool = False
    # On spot: how much of the time from its start to its end is billed. What it waited is not, and the rest is cheaper.
    billed_share: float = 1.0
    detail: str = ""
    interruptions: int = 0
    output: str = ""  # where SageMaker puts what the job leaves, without a slash at the end
    stop_asked: bool = False
    tags: Tags = field(default_factory=list)

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
        self.stop_asked, self.final, self.reason, self.detail = True, "Stopped", "", "Stopped"

    def billed_seconds(self) -> int:
        """What AWS reports as BillableTimeInSeconds: time by the clock, of which every instance bills as much (`hourly_usd` is of all)."""
        return ceil(self.seconds() * self.billed_share)

    def seconds(self) -> float:
        """From its start to its end, whatever share of it bills."""
        return (self.end - self.start) / timedelta(seconds=1) if self.start else 0


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
    instances: int = 1
    waited: timedelta = timedelta(0)  # for an instance, from its creation on
    instance_type: str = "ml.g5.2xlarge"
    pools: list[str] = field(default_factory=list)  # the types of which SageMaker took this one
    configuration: str = ""
    tags: Tags = field(default_factory=list)

    def status(self, now: datetime) -> str:
        """Creating, InService, Failed or Deleting."""
        if self.gone is not None:
            return "Deleting"
        if now < self.ready:
            return "Creating"
        return "InService" if self.works else "Failed"


def owner(tags: Tags) -> str:
    """The run that a resource's tags name."""
    return next((tag["Value"] for tag in tags if tag["Key"] == "run"), "")


def arn(kind: str, name: str) -> str:
    """The ARN of a resource."""
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


def _known(things: Mapping[str, T], name: str, kind: str) -> T:
    """The thing of a name. Raises ClientError as SageMaker does, to which "not found" is a ValidationException."""
    if name not in things:
        raise client_error("ValidationException", f'Could not find {kind} "{name}".')
    return things[name]


Clock = Callable[[], datetime]
# Decides how a job or an endpoint turns out, from its request and the run that it belongs to.
MakeJob = Callable[[str, str, dict[str, Any]], Job]
MakeEndpoint = Callable[[str, str, dict[str, Any]], Endpoint]


@dataclass
class SageMaker:
    """The control plane. `delete_seconds()` says how long a deletion takes."""

    clock: Clock
    delete_seconds: Callable[[], float]
    touched: Callable[[str], None]  # is told whose job or endpoint somebody ends
    make_job: MakeJob
    make_endpoint: MakeEndpoint
    jobs: dict[str, Job] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    past_endpoints: list[Endpoint] = field(default_factory=list)
    # By name, with what they were made of.
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    configurations: dict[str, dict[str, Any]] = field(default_factory=dict)

    def create_model(self, **asked: Any) -> dict[str, Any]:
        """Makes a model of a name that is free."""
        return self._keep(self.models, asked["ModelName"], asked, "model")

    def create_endpoint_config(self, **asked: Any) -> dict[str, Any]:
        """Makes an endpoint configuration of a name that is free."""
        for variant in asked["ProductionVariants"]:
            self._check_list(variant, "InstancePools", asked)
        return self._keep(self.configurations, asked["EndpointConfigName"], asked, "endpoint configuration")

    def create_training_job(self, **asked: Any) -> dict[str, Any]:
        """Starts a training job: its name is used for ever."""
        name = asked["TrainingJobName"]
        if name in self.jobs:
            raise client_error("ResourceInUse", "Training job names must be unique")
        self._check_list(asked["ResourceConfig"], "InstancePreferences", asked)
        self.jobs[name] = self.make_job(name, owner(asked["Tags"]), asked)
        self.jobs[name].tags = asked["Tags"]
        self.jobs[name].output = asked["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        return {"TrainingJobArn": arn("training-job", name)}

    def create_endpoint(self, **asked: Any) -> dict[str, Any]:
        """Starts an endpoint from its configuration."""
        self._bury()
        name, configuration = asked["EndpointName"], asked["EndpointConfigName"]
        if any(name.lower() == other.lower() for other in self.endpoints):
            raise client_error("ValidationException", f'Cannot create already existing endpoint "{name}"')
        made_of = _known(self.configurations, configuration, "endpoint configuration")
        made = self.make_endpoint(name, owner(asked["Tags"]), made_of)
        made.tags, made.configuration = asked["Tags"], configuration
        self.endpoints[name] = made
        return {"EndpointArn": arn("endpoint", name)}

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:
        """What the machine and the settlement read of a job."""
        job, now = self.jobs.get(TrainingJobName), self.clock()
        if job is None:
            raise client_error("ValidationException", "Requested resource not found.")
        answer: dict[str, Any] = {
            "TrainingJobName": job.name,
            "TrainingJobArn": arn("training-job", job.name),
            "TrainingJobStatus": job.status(now),
            "SecondaryStatus": job.detail if now >= job.end and job.detail else job.status(now),
            "CreationTime": job.created,
            "EnableManagedSpotTraining": job.spot,
            "ResourceConfig": job.resources or {"InstanceCount": job.instances, "InstanceType": job.instance_type},
        }
        if job.start is not None and job.start <= now:
            answer["TrainingStartTime"] = job.start
            if "InstancePreferences" in job.resources:
                selected = {"SelectedInstanceType": job.instance_type, "SelectedInstanceCount": job.instances}
                answer["ResourceConfig"] = {**job.resources, **selected}
        if now >= job.end:
            answer |= {"TrainingEndTime": job.end, "BillableTimeInSeconds": job.billed_seconds()}
            answer |= {"TrainingTimeInSeconds": ceil(job.seconds())} if job.start else {}
            answer |= {"FailureReason": job.reason} if job.reason and job.final == "Failed" else {}
            if job.final == "Completed":
                answer["ModelArtifacts"] = {"S3ModelArtifacts": f"{job.output}/{job.name}/output/model/"}
            taken = {"Status": "Interrupted", "StartTime": job.created}
            answer |= {"SecondaryStatusTransitions": [taken] * job.interruptions} if job.interruptions else {}
        return answer

    def stop_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:
        """Asks a job to stop."""
        job = self.jobs.get(TrainingJobName)
        if job is None:
            raise client_error("ValidationException", "Requested resource not found.")
        self.touched(job.owner)
        if job.status(self.clock()) == "InProgress":
            job.stop(self.clock())
        return {}

    def describe_endpoint(self, *, EndpointName: str) -> dict[str, Any]:
        """Status and make of an endpoint."""
        self._bury()
        endpoint, now = _known(self.endpoints, EndpointName, "endpoint"), self.clock()
        status = endpoint.status(now)
        # Of several types, how many instances of each there are: none before the endpoint is in service.
        variant: dict[str, Any] = {"VariantName": "AllTraffic", "CurrentInstanceCount": endpoint.instances}
        if endpoint.pools:
            runs = now >= endpoint.ready and endpoint.works
            counts = {kind: endpoint.instances * (runs and kind == endpoint.instance_type) for kind in endpoint.pools}
            pools = [{"InstanceType": kind, "CurrentInstanceCount": count} for kind, count in counts.items()]
            variant |= {"InstancePools": pools, "CurrentInstanceCount": sum(counts.values())}
        answer = {
            "EndpointName": endpoint.name,
            "EndpointArn": arn("endpoint", endpoint.name),
            "EndpointConfigName": endpoint.configuration or endpoint.name,
            "EndpointStatus": status,
            "CreationTime": endpoint.created,
            "ProductionVariants": [variant],
        }
        return answer | ({"FailureReason": endpoint.reason} if status == "Failed" else {})

    def describe_endpoint_config(self, *, EndpointConfigName: str) -> dict[str, Any]:
        """What an endpoint is made of."""
        return _known(self.configurations, EndpointConfigName, "endpoint configuration")

    def delete_endpoint(self, *, EndpointName: str) -> dict[str, Any]:
        """Deletes an endpoint that is not Creating."""
        self._bury()
        endpoint, now = _known(self.endpoints, EndpointName, "endpoint"), self.clock()
        self.touched(endpoint.owner)
        if endpoint.status(now) == "Creating":
            raise client_error("ValidationException", "Cannot update in-progress endpoint")
        if endpoint.gone is None:
            endpoint.gone = now + timedelta(seconds=self.delete_seconds())
        return {}

    def delete_endpoint_config(self, *, EndpointConfigName: str) -> dict[str, Any]:
        """Deletes an endpoint configuration."""
        _known(self.configurations, EndpointConfigName, "endpoint configuration")
        del self.configurations[EndpointConfigName]
        return {}

    def delete_model(self, *, ModelName: str) -> dict[str, Any]:
        """Deletes a model."""
        _known(self.models, ModelName, "model")
        del self.models[ModelName]
        return {}

    def describe_hub_content(self, *, HubContentName: str, **_: Any) -> dict[str, Any]:
        """A model of JumpStart's hub, which says nothing against it."""
        return {"HubContentName": HubContentName, "HubContentDocument": "{}", "SupportStatus": "Supported"}

    def create_hub_content_presigned_urls(self, **_: Any) -> dict[str, Any]:
        """The files of every model."""
        files = ("config.json", "model.safetensors")
        return {"AuthorizedUrlConfigs": [{"LocalPath": f"/{name}", "Url": f"https://hub/{name}"} for name in files]}

    def list_tags(self, *, ResourceArn: str) -> dict[str, Any]:
        """The tags of a job, an endpoint, a configuration or a model."""
        kind, _, name = ResourceArn.split(":")[-1].partition("/")
        if kind in {"training-job", "endpoint"}:
            found: Any = (self.jobs if kind == "training-job" else self.endpoints).get(name)
            return {"Tags": found.tags if found else []}
        kept = (self.configurations if kind == "endpoint-config" else self.models).get(name, {})
        return {"Tags": kept.get("Tags", [])}

    def list_training_jobs(
        self, *, NameContains: str, StatusEquals: str | None = None, CreationTimeAfter: Any = None, **_: Any
    ) -> dict[str, Any]:
        """The jobs of a run; finished ones stay."""
        kept = {
            name: job for name, job in self.jobs.items() if CreationTimeAfter is None or job.created > CreationTimeAfter
        }
        found = self._listed("TrainingJob", "training-job", kept, NameContains)
        return {"TrainingJobSummaries": [one for one in found if StatusEquals in (None, one["TrainingJobStatus"])]}

    def list_endpoints(self, *, NameContains: str, **_: Any) -> dict[str, Any]:
        """The endpoints that are not gone, the newest first."""
        self._bury()
        return {"Endpoints": self._listed("Endpoint", "endpoint", self.endpoints, NameContains)[::-1]}

    def list_endpoint_configs(self, *, NameContains: str, **_: Any) -> dict[str, Any]:
        """The endpoint configurations."""
        return {"EndpointConfigs": self._listed("EndpointConfig", "endpoint-config", self.configurations, NameContains)}

    def list_models(self, *, NameContains: str, **_: Any) -> dict[str, Any]:
        """The models."""
        return {"Models": self._listed("Model", "model", self.models, NameContains)}

    def get_paginator(self, operation: str) -> Pages:
        """Pages of a list call: all on one."""
        return Pages(getattr(self, operation))

    def unchanged_until(self, name: str) -> datetime | None:
        """Until when the status of a job or an endpoint stays what it is, as long as nobody touches it."""
        if name in self.jobs and self.jobs[name].status(self.clock()) in {"InProgress", "Stopping"}:
            return self.jobs[name].end
        endpoint = self.endpoints.get(name)
        return endpoint.ready if endpoint is not None and endpoint.status(self.clock()) == "Creating" else None

    def still_there(self, run: str) -> list[str]:
        """Everything of a run that bills or may yet."""
        self._bury()
        now = self.clock()
        jobs = [name for name, job in self.jobs.items() if job.owner == run and now < job.end]
        return jobs + [name for name, endpoint in self.endpoints.items() if endpoint.owner == run]

    def _check_list(self, given: dict[str, Any], name: str, asked: dict[str, Any]) -> None:
        """As the service model describes lists of instance types: in place of one type, each type once, and not on spot."""
        kinds = [one["InstanceType"] for one in given.get(name, [])]
        if bool(kinds) == ("InstanceType" in given) or (kinds and asked.get("EnableManagedSpotTraining")):
            raise client_error("ValidationException", f"{name} is mutually exclusive with InstanceType and spot")
        if len(set(kinds)) != len(kinds):
            raise client_error("ValidationException", f"an instance type can appear only once in {name}")

    def _keep(self, things: dict[str, dict[str, Any]], name: str, asked: dict[str, Any], kind: str) -> dict[str, Any]:
        if name in things:
            raise client_error("ValidationException", f'Cannot create already existing {kind} "{name}"')
        things[name] = {**asked, "CreationTime": self.clock()}
        return {}

    def _bury(self) -> None:
        now = self.clock()
        for name in [n for n, endpoint in self.endpoints.items() if endpoint.gone is not None and endpoint.gone <= now]:
            self.past_endpoints.append(self.endpoints.pop(name))

    def _listed(self, kind: str, of: str, things: Mapping[str, Any], contains: str) -> list[dict[str, Any]]:
        """What is listed of jobs and endpoints, which have a status, or of models and configurations."""
        found = []
        for name, thing in things.items():
            row = {f"{kind}Name": name, f"{kind}Arn": arn(of, name)}
            if isinstance(thing, dict):
                row["CreationTime"] = thing["CreationTime"]
            else:
                row |= {f"{kind}Status": thing.status(self.clock()), "CreationTime": thing.created}
            found += [row] if contains.lower() in name.lower() else []
        return found
