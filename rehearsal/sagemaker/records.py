"""What the stand-in remembers beside training jobs: models, endpoint configurations, endpoints and tags."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from typing import Any

from .training_record import Clock, TrainingJob

__all__ = ["ACCOUNT", "Clock", "Endpoint", "Store", "TrainingJob", "arn", "utc_now"]

ACCOUNT = "123456789012"  # the account that moto plays
_SUMMARY = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def arn(region: str, kind: str, name: str) -> str:
    """Return the ARN of a SageMaker resource, for example of kind "endpoint-config"."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind}/{name}"


class Endpoint:
    """One endpoint: the configuration and model it was made from, its state, its lifetime. Thread-safe."""

    def __init__(
        self, name: str, endpoint_arn: str, configuration: Mapping[str, Any], model: Mapping[str, Any], clock: Clock
    ) -> None:
        self.name, self.arn, self.configuration, self.model = name, endpoint_arn, configuration, model
        self.clock = clock
        self.created = self.modified = clock()
        self.status = "Creating"
        self.failure_reason: str | None = None
        self.ended: datetime | None = None
        self.deleted = False
        self.placed = False  # whether it has an instance, so that an engine runs it
        self.lock = threading.RLock()

    @property
    def variant(self) -> Mapping[str, Any]:
        """The first production variant of the configuration."""
        variant: Mapping[str, Any] = self.configuration["ProductionVariants"][0]
        return variant

    @property
    def instance_type(self) -> str:
        """InstanceType of the configuration."""
        return str(self.variant["InstanceType"])

    @property
    def instance_count(self) -> int:
        """InitialInstanceCount of the configuration."""
        return int(self.variant.get("InitialInstanceCount", 1))

    @property
    def container(self) -> Mapping[str, Any]:
        """The model's container definition."""
        container: Mapping[str, Any] = self.model.get("PrimaryContainer") or self.model["Containers"][0]
        return container

    def become(self, status: str, reason: str | None = None) -> None:
        """Go to a state. Failed and Deleting end the billing; an endpoint that is being deleted stays so."""
        with self.lock:
            if self.status == "Deleting":
                return
            self.status, self.modified, self.failure_reason = status, self.clock(), reason
            if status in ("Failed", "Deleting") and self.ended is None:
                self.ended = self.modified

    def vanish(self) -> None:
        """Leave the account, after Deleting."""
        with self.lock:
            self.deleted = True

    def billed_seconds(self, now: datetime) -> int:
        """Seconds billed until `now`: the whole life, Creating included, to be on the safe side."""
        with self.lock:
            return max(0, ceil(((self.ended or now) - self.created).total_seconds()))

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
            if self.status == "InService":
                counts = dict.fromkeys(("CurrentInstanceCount", "DesiredInstanceCount"), self.instance_count)
                answer["ProductionVariants"] = [{"VariantName": self.variant["VariantName"], **counts}]
            if self.failure_reason:
                answer["FailureReason"] = self.failure_reason
            return answer

    def summary(self) -> dict[str, Any]:
        """Return the endpoint's row in ListEndpoints."""
        whole = self.describe()
        return {name: whole[name] for name in _SUMMARY}


@dataclass
class Store:
    """Everything that exists, by name. `past_endpoints` keeps the deleted ones for what was billed."""

    jobs: dict[str, TrainingJob] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    configurations: dict[str, dict[str, Any]] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    past_endpoints: list[Endpoint] = field(default_factory=list)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def keep_tags(self, where: str, request: Mapping[str, Any]) -> None:
        """Keep the tags of a request to create the resource of this ARN."""
        self.tags[where] = {tag["Key"]: tag["Value"] for tag in request.get("Tags") or []}
