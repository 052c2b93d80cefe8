"""What the stand-in remembers: training jobs, models, endpoint configurations, endpoints and tags."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from .endpoint_record import Endpoint
from .training_record import TrainingJob

__all__ = ["ACCOUNT", "Endpoint", "Store", "TrainingJob", "arn"]

ACCOUNT = "123456789012"  # the account that moto plays


def arn(region: str, kind: str, name: str) -> str:
    """Return the ARN of a SageMaker resource, for example of kind "endpoint-config"."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind}/{name}"


@dataclass
class Store:
    """Everything that exists, by name. `past_endpoints` keeps the deleted ones for the accounts."""

    jobs: dict[str, TrainingJob] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    configurations: dict[str, dict[str, Any]] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    past_endpoints: list[Endpoint] = field(default_factory=list)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
