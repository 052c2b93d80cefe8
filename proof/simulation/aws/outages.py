"""Outages: from when to when a service does not answer, and whether it refuses at once or lets its callers wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

# boto3's name of each service, and what it is called here. "Lambda", "Step Functions" and "EventBridge" are the machinery itself:
# while they are away nothing runs that they would run.
SERVICES = {
    "dynamodb": "ledger",
    "sagemaker": "SageMaker",
    "stepfunctions": "Step Functions",
    "scheduler": "Scheduler",
    "sns": "SNS",
    "s3": "S3",
    "lambda": "Lambda",
    "events": "EventBridge",
}


@dataclass(frozen=True)
class Outage:
    """One service is away for a while. One that `hangs` answers nothing until its caller gives up."""

    service: str
    start: datetime
    end: datetime
    hangs: bool = False

    def at(self, moment: datetime) -> bool:
        """Whether the service is away then."""
        return self.start <= moment < self.end


class Killed(BaseException):
    """The function's own time was over, in the middle of whatever it did: no handler of errors sees this."""


class Unimitated(BaseException):
    """The code calls what this world does not imitate: no finding of the proof, but a gap in it."""


@dataclass
class Patience:
    """How long one function has left; calls to what is away use it up."""

    seconds: float
    used: float = 0.0

    def wait(self, seconds: float) -> None:
        """Lets time pass. Raises Killed when it was the last."""
        self.used += seconds
        if self.used >= self.seconds:
            self.used = self.seconds
            raise Killed


class Guarded:
    """A client of a service: every call first asks `reach` whether the service answers at all."""

    def __init__(self, client: Any, reach: Callable[[], None]) -> None:
        self._client, self._reach = client, reach

    def __getattr__(self, operation: str) -> Any:
        found = getattr(self._client, operation, None)
        if found is None:
            raise Unimitated(f"{type(self._client).__name__} of this world has no {operation}")
        if operation == "get_paginator":
            return lambda name: _Pages(found(name), self._reach)

        def call(**arguments: Any) -> Any:
            self._reach()
            return found(**arguments)

        return call


class _Pages:
    def __init__(self, pages: Any, reach: Callable[[], None]) -> None:
        self._pages, self._reach = pages, reach

    def paginate(self, **arguments: Any) -> Any:
        self._reach()
        yield from self._pages.paginate(**arguments)


def refusal(service: str) -> ClientError:
    """What is left of an outage after botocore's own attempts."""
    return ClientError({"Error": {"Code": "InternalServerError", "Message": f"{service} is away"}}, service)


def silence(service: str) -> ReadTimeoutError:
    """The same, of a service that does not even refuse."""
    return ReadTimeoutError(endpoint_url=service)
