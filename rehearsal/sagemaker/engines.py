"""What plays the hardware: the two kinds of engine behind the control plane, and what an engine is given."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from .store import Clock, Endpoint, TrainingJob

START_LIMIT = 600  # seconds until an endpoint's first ping, where the request names none
# FailureReason of an endpoint that never answered, in SageMaker's words.
PING = (
    "The primary container for production variant {variant} did not pass the ping health check. Please check "
    "CloudWatch logs for this endpoint."
)
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Context:
    """What the stand-in gives its engines.

    `s3_of` returns a client that reaches the rehearsed S3 as a role (ARN), and `gated_weights` plays the gated bucket's objects. `time_scale` is real
    seconds for each second of SageMaker's own limits (MaxRuntimeInSeconds, the 120 s from SIGTERM to SIGKILL, the 60 s of InvokeEndpoint).
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


class Engine(ABC, Generic[Thing]):
    """Runs training jobs or endpoints. It reports how they go by calling their own methods, such as `enter` and `become`."""

    context: Context  # the stand-in sets it before the first start

    @abstractmethod
    def start(self, thing: Thing, /) -> None:
        """Begin a job or endpoint that the control plane has accepted; must not block."""

    def observed(self, thing: Thing, /) -> None:
        """Note that somebody describes, lists, stops or deletes it. A fake goes on here; real time passes by itself."""

    @abstractmethod
    def stop(self, thing: Thing, /) -> None:
        """Stop a job that is Stopping, or take down an endpoint that is Deleting; must not block."""

    def close(self) -> None:
        """End everything that runs and remove what it left on the disk."""


class TrainingEngine(Engine[TrainingJob]):
    """Runs training jobs."""


class HostingEngine(Engine[Endpoint]):
    """Runs endpoints; `stop` lets the endpoint vanish in the end."""

    @abstractmethod
    def invoke(self, endpoint: Endpoint, body: bytes, content_type: str, custom_attributes: str = "") -> Answer:
        """Return the container's answer to InvokeEndpoint; the custom attributes reach it as a header. Raises InvocationTimedOut after 60 seconds."""
