"""An endpoint as the stand-in remembers it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from math import ceil
from typing import Any

from .clock import Clock


class Endpoint:
    """One endpoint: the configuration and model it was made from, its state, its lifetime. Thread-safe."""

    def __init__(
        self,
        name: str,
        endpoint_arn: str,
        configuration: Mapping[str, Any],
        model: Mapping[str, Any],
        clock: Clock,
    ) -> None:
        self.name, self.arn, self.configuration, self.model = name, endpoint_arn, configuration, model
        self.clock = clock
        self.created = self.modified = clock()
        self.status = "Creating"
        self.failure_reason: str | None = None
        self.ended: datetime | None = None
        self.gone = False
        self.placed = False  # whether an instance was found, so that an engine has it
        self.lock = threading.RLock()

    @property
    def variant(self) -> Mapping[str, Any]:
        """The first production variant of the configuration."""
        variant: Mapping[str, Any] = self.configuration["ProductionVariants"][0]
        return variant

    @property
    def container(self) -> Mapping[str, Any]:
        """The model's container definition."""
        container: Mapping[str, Any] = self.model.get("PrimaryContainer") or self.model["Containers"][0]
        return container

    def become(self, status: str, reason: str | None = None) -> None:
        """Go to a state; Failed and Deleting end the billing, an endpoint being deleted stays so."""
        with self.lock:
            if self.status == "Deleting":
                return
            self.status, self.modified, self.failure_reason = status, self.clock(), reason
            if status in ("Failed", "Deleting") and self.ended is None:
                self.ended = self.modified

    def vanish(self) -> None:
        """Leave the account, after Deleting."""
        with self.lock:
            self.gone = True

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
                count = self.variant.get("InitialInstanceCount", 1)
                answer["ProductionVariants"] = [
                    {
                        "VariantName": self.variant["VariantName"],
                        "CurrentWeight": 1.0,
                        "DesiredWeight": 1.0,
                        "CurrentInstanceCount": count,
                        "DesiredInstanceCount": count,
                    }
                ]
            if self.failure_reason:
                answer["FailureReason"] = self.failure_reason
            return answer

    def summary(self) -> dict[str, Any]:
        """Return the endpoint's line in ListEndpoints."""
        whole = self.describe()
        names = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
        return {name: whole[name] for name in names}
