"""What the stand-in remembers: training jobs, models, endpoint configurations, endpoints and tags."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Protocol

from rehearsal.account.clients import ACCOUNT


class Clock(Protocol):
    """The time of every record, which is moved on where AWS would take long."""

    def __call__(self) -> datetime:
        """The present moment."""

    def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0) -> None:
        """Goes on."""


_Span = tuple[datetime, datetime | None]  # the end is None while it lasts
# A second on spot costs this share of one on demand here. AWS's own share changes by the hour.
SPOT_SHARE = 0.4
_JOB_SUMMARY = (
    "TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime", "LastModifiedTime", "TrainingJobStatus",
    "SecondaryStatus",
)  # fmt: skip
_ENDPOINT_SUMMARY = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")


def arn(region: str, kind: str, name: str) -> str:
    """Return the ARN of a SageMaker resource, for example of kind "endpoint-config"."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind}/{name}"


class TrainingJob:
    """One training job: its request, its states and the seconds it bills. Thread-safe."""

    def __init__(self, name: str, job_arn: str, request: Mapping[str, Any], clock: Clock) -> None:
        self.name, self.arn, self.request, self.clock = name, job_arn, request, clock
        self.instance_types = listed_types(request["ResourceConfig"], "InstancePreferences")
        self.instance_type = self.instance_types[0]  # until another of them is selected
        self.created = self.modified = clock()
        self.status, self.secondary = "InProgress", ""
        self.started: datetime | None = None
        self.ended: datetime | None = None
        self.failure_reason: str | None = None
        self.transitions: list[dict[str, Any]] = []
        # When the job had its instance, and when its command ran there.
        self._busy: list[_Span] = []
        self._ran: list[_Span] = []
        self.billed_share = SPOT_SHARE if self.is_spot else 1.0  # of the seconds in which it has its instance
        self.lock = threading.RLock()
        self.enter("Pending", "Preparing the instances for training")

    @property
    def output_prefix(self) -> str:
        """The S3 prefix of all that this job writes, without a slash at its end."""
        return f"{str(self.request['OutputDataConfig']['S3OutputPath']).rstrip('/')}/{self.name}/output"

    @property
    def artifacts(self) -> str:
        """The S3 prefix to which SageMaker uploads an uncompressed model."""
        return f"{self.output_prefix}/model/"

    @property
    def instance_count(self) -> int:
        """InstanceCount of the request."""
        return int(self.request["ResourceConfig"]["InstanceCount"])

    @property
    def max_runtime(self) -> timedelta:
        """MaxRuntimeInSeconds of the request."""
        return timedelta(seconds=int(self.request["StoppingCondition"]["MaxRuntimeInSeconds"]))

    @property
    def max_wait(self) -> timedelta:
        """MaxWaitTimeInSeconds of a request for spot."""
        return timedelta(seconds=int(self.request["StoppingCondition"]["MaxWaitTimeInSeconds"]))

    @property
    def is_spot(self) -> bool:
        """Whether the job runs on spot, and may lose its instance."""
        return bool(self.request.get("EnableManagedSpotTraining"))

    @property
    def is_over(self) -> bool:
        """Whether the job has reached a state that it cannot leave."""
        return self.ended is not None

    def enter(self, secondary: str, message: str, *, at: datetime | None = None) -> None:
        """Go to a secondary status, now or at an earlier moment; the instance bills from "Downloading" on."""
        with self.lock:
            if self.is_over:
                return
            now = at or self.clock()
            if self.transitions and "EndTime" not in self.transitions[-1]:
                self.transitions[-1]["EndTime"] = now
            self.transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": message})
            self.secondary, self.modified = secondary, now
            if secondary == "Downloading":
                self.started = self.started or now
                self._busy.append((now, None))
            elif secondary == "Training":
                self._ran.append((now, None))

    def interrupt(self, *, at: datetime | None = None) -> None:
        """Lose the spot instance: the job stays in progress and bills nothing until it has another instance."""
        with self.lock:
            now = at or self.clock()
            self._leave(now)
            self.enter("Interrupted", "The managed spot training instances were interrupted", at=now)

    def _leave(self, moment: datetime) -> None:
        for spans in (self._busy, self._ran):
            if spans and spans[-1][1] is None:
                spans[-1] = (spans[-1][0], moment)

    def stopping(self) -> None:
        """Go to Stopping, as StopTrainingJob does at once."""
        with self.lock:
            if not self.is_over:
                self.status = "Stopping"
                self.enter("Stopping", "Stopping the training job")

    def finish(
        self, status: str, secondary: str | None = None, reason: str | None = None, *, at: datetime | None = None
    ) -> None:
        """End the job as "Completed", "Failed" or "Stopped"; only the first end counts.

        The secondary status may be another, for example "MaxRuntimeExceeded". `reason` is FailureReason, which AWS cuts at 1024 characters.
        """
        with self.lock:
            if self.is_over:
                return
            now = at or self.clock()
            self.enter(secondary or status, reason or f"Training job {status.lower()}", at=now)
            self.ended = self.transitions[-1]["EndTime"] = now
            self._leave(self.ended)
            self.status, self.failure_reason = status, reason[:1024] if reason else None

    def trained_seconds(self, now: datetime) -> float:
        """Seconds for which the job had its instance until `now`."""
        with self.lock:
            return _seconds(self._busy, now)

    def ran_seconds(self, now: datetime) -> float:
        """Seconds that count against MaxRuntimeInSeconds until `now`: all starts of its command together.

        AWS does not document whether it adds them up, nor whether the image's pull and the downloads count. The training
        script plans with less time in case they do, and the reservation with more in case they don't.
        """
        with self.lock:
            return _seconds(self._ran, now)

    def billed_seconds(self, now: datetime) -> int:
        """Seconds billed until `now`, as AWS counts them: while it has its instance, and on spot a share of them."""
        return ceil(self.trained_seconds(now) * self.billed_share)

    def describe(self) -> dict[str, Any]:
        """Return the answer of DescribeTrainingJob."""
        with self.lock:
            answer: dict[str, Any] = {key: value for key, value in self.request.items() if key != "Tags"}
            answer |= {
                "TrainingJobArn": self.arn,
                "TrainingJobStatus": self.status,
                "SecondaryStatus": self.secondary,
                "CreationTime": self.created,
                "LastModifiedTime": self.modified,
                "SecondaryStatusTransitions": [dict(step) for step in self.transitions],
                "ModelArtifacts": {"S3ModelArtifacts": self.artifacts},
            }
            if self.started is not None:
                answer["TrainingStartTime"] = self.started
                if "InstancePreferences" in self.request["ResourceConfig"]:
                    selected = {
                        "SelectedInstanceType": self.instance_type,
                        "SelectedInstanceCount": self.instance_count,
                    }
                    answer["ResourceConfig"] = {**self.request["ResourceConfig"], **selected}
            if self.ended is not None:
                answer["TrainingEndTime"] = self.ended
                answer["TrainingTimeInSeconds"] = ceil(self.trained_seconds(self.ended))
                answer["BillableTimeInSeconds"] = self.billed_seconds(self.ended)
            if self.failure_reason:
                answer["FailureReason"] = self.failure_reason
            return answer

    def summary(self) -> dict[str, Any]:
        """Return the job's row in ListTrainingJobs."""
        whole = self.describe()
        return {name: whole[name] for name in _JOB_SUMMARY if name in whole}


def listed_types(given: Mapping[str, Any], member: str) -> list[str]:
    """Return the instance types of a request in order of preference: those of its list, or its only one."""
    rows = sorted(given.get(member) or [given], key=lambda row: row.get("Priority", 0))
    return [str(row["InstanceType"]) for row in rows]


def _seconds(spans: Sequence[_Span], now: datetime) -> float:
    return sum(max(0.0, ((end or now) - start).total_seconds()) for start, end in spans)


class Endpoint:
    """One endpoint: the configuration and model it was made from, and its state. Thread-safe."""

    def __init__(
        self, name: str, endpoint_arn: str, configuration: Mapping[str, Any], model: Mapping[str, Any], clock: Clock
    ) -> None:
        self.name, self.arn, self.configuration, self.model = name, endpoint_arn, configuration, model
        self.clock = clock
        self.instance_types = listed_types(self.variant, "InstancePools")
        self.instance_type = self.instance_types[0]  # until another of them is selected
        self.created = self.modified = clock()
        self.status = "Creating"
        self.failure_reason: str | None = None
        self.deleted: datetime | None = None  # when it left the account
        self.placed = False  # whether it has an instance, so that an engine runs it
        self.served = False  # whether it was ever in service
        self.lock = threading.RLock()

    @property
    def variant(self) -> Mapping[str, Any]:
        """The first production variant of the configuration."""
        variant: Mapping[str, Any] = self.configuration["ProductionVariants"][0]
        return variant

    @property
    def instance_count(self) -> int:
        """InitialInstanceCount of the configuration."""
        return int(self.variant.get("InitialInstanceCount", 1))

    @property
    def container(self) -> Mapping[str, Any]:
        """The model's container definition, empty if the model was deleted before the endpoint was created."""
        container: Mapping[str, Any] = self.model.get("PrimaryContainer", {})
        return container

    def become(self, status: str, reason: str | None = None, *, at: datetime | None = None) -> None:
        """Go to a state, now or at an earlier moment; an endpoint that is being deleted stays so."""
        with self.lock:
            if self.status == "Deleting":
                return
            self.status, self.modified, self.failure_reason = status, at or self.clock(), reason
            self.served = self.served or status == "InService"

    def vanish(self, *, at: datetime | None = None) -> None:
        """Leave the account, after Deleting, now or at an earlier moment."""
        with self.lock:
            self.deleted = at or self.clock()

    def describe(self) -> dict[str, Any]:
        """Return the answer of DescribeEndpoint."""
        with self.lock:
            answer: dict[str, Any] = {
                "EndpointName": self.name,
                "EndpointArn": self.arn,
                "EndpointStatus": self.status,
                "EndpointConfigName": self.configuration["EndpointConfigName"],
                "CreationTime": self.created,
                "LastModifiedTime": self.modified,
            }
            if self.served:  # one that failed shows no instance, nor which of its types it was to have
                counts = dict.fromkeys(("CurrentInstanceCount", "DesiredInstanceCount"), self.instance_count)
                variant = {"VariantName": self.variant["VariantName"], **counts}
                if "InstancePools" in self.variant:
                    variant["InstancePools"] = [
                        {
                            "InstanceType": kind,
                            "CurrentInstanceCount": self.instance_count * (kind == self.instance_type),
                        }
                        for kind in self.instance_types
                    ]
                answer["ProductionVariants"] = [variant]
            if self.failure_reason:
                answer["FailureReason"] = self.failure_reason
            return answer

    def summary(self) -> dict[str, Any]:
        """Return the endpoint's row in ListEndpoints."""
        whole = self.describe()
        return {name: whole[name] for name in _ENDPOINT_SUMMARY}


@dataclass
class Store:
    """Everything that exists, by name."""

    jobs: dict[str, TrainingJob] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    configurations: dict[str, dict[str, Any]] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def keep_tags(self, where: str, request: Mapping[str, Any]) -> None:
        """Keep the tags of a request to create the resource of this ARN."""
        self.tags[where] = {tag["Key"]: tag["Value"] for tag in request.get("Tags") or []}
