"""What bills at SageMaker: training jobs and endpoints, each with when it began, when it ends, and on which instances."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil

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
    pull: float = 0.0
    spot: bool = False
    # On spot: how much of the time from its start to its end is billed. What it waited is not, and the rest is cheaper.
    billed_share: float = 1.0
    detail: str = ""
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
    instance_type: str = "ml.g5.2xlarge"
    instances: int = 1
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
