"""What plays the hardware: the two protocols behind the control plane, and what an engine is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .clock import Clock
from .records import Endpoint, TrainingJob

START_LIMIT = 600  # seconds until an endpoint's first ping, where the request names none
# Why an endpoint failed that never answered, in SageMaker's words.
PING = (
    "The primary container for production variant {variant} did not pass the ping health check. Please check "
    "CloudWatch logs for this endpoint."
)


@dataclass(frozen=True)
class Context:
    """What the stand-in gives its engines.

    Attributes:
        workdir: a folder for jobs, endpoints and logs.
        s3_of: gives a boto3 client that reaches the rehearsed S3 in the name of a role (ARN).
        gated_weights: the folder that plays the gated bucket's objects.
        on_training_line: called with (job name, line) for each line a training container prints.
        time_scale: real seconds for each second of SageMaker's own limits (MaxRuntimeInSeconds, the 120 s
            between SIGTERM and SIGKILL, the 60 s of InvokeEndpoint); below 1 in tests.
    """

    workdir: Path
    s3_of: Callable[[str], Any]
    gated_weights: Path | None
    clock: Clock
    on_training_line: Callable[[str, str], None]
    time_scale: float


@dataclass(frozen=True)
class Answer:
    """What a container answers to InvokeEndpoint."""

    status: int
    body: bytes
    content_type: str = "application/json"


class InvocationTimedOut(Exception):
    """The container did not answer within the 60 seconds that InvokeEndpoint allows."""


class TrainingEngine(Protocol):
    """Runs training jobs. The job's own methods (`enter`, `finish`) tell the world how it goes."""

    def attach(self, context: Context) -> None:
        """Take what is needed; called once, before the first job."""

    def start(self, job: TrainingJob) -> None:
        """Begin a job that CreateTrainingJob has accepted; must not block."""

    def observed(self, job: TrainingJob) -> None:
        """Hear that somebody looks at the job (describe, list, a stop); a fake moves time on here."""

    def stop(self, job: TrainingJob) -> None:
        """Stop a job whose status is already Stopping; must not block."""

    def close(self) -> None:
        """End everything that runs and clear away what it left on the disk."""


class HostingEngine(Protocol):
    """Runs endpoints. The endpoint's own methods (`become`, `vanish`) tell the world how it goes."""

    def attach(self, context: Context) -> None:
        """Take what is needed; called once, before the first endpoint."""

    def start(self, endpoint: Endpoint) -> None:
        """Begin to create an endpoint; must not block."""

    def observed(self, endpoint: Endpoint) -> None:
        """Hear that somebody looks at the endpoint (describe, list, a refused delete)."""

    def stop(self, endpoint: Endpoint) -> None:
        """Take down an endpoint whose status is already Deleting, then let it vanish; must not block."""

    def invoke(self, endpoint: Endpoint, body: bytes, content_type: str, custom_attributes: str = "") -> Answer:
        """Return the container's answer; raises InvocationTimedOut after 60 seconds.

        `custom_attributes` is InvokeEndpoint's CustomAttributes, which reach the container as a header.
        """

    def close(self) -> None:
        """End everything that runs and clear away what it left on the disk."""


class Attached:
    """An engine's half that takes the context and hands it out."""

    _context: Context | None = None

    @property
    def context(self) -> Context:
        """What the stand-in gave."""
        assert self._context is not None, "attach comes first"
        return self._context

    def attach(self, context: Context) -> None:
        """Take the context."""
        self._context = context
