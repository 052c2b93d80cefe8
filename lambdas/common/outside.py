"""What a Lambda has from outside its code: clients of AWS, the time, its variables, and how it waits. All of it is asked for here.

A proof that runs the functions in a simulated account puts that account and its clock in their place: `replaced`.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3


@dataclass(frozen=True)
class Outside:
    """One outside: `make_client` as `boto3.client`, the time in UTC, the environment variables, and `time.sleep`."""

    make_client: Callable[..., Any] = boto3.client
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    variables: Callable[[], Mapping[str, str]] = lambda: os.environ
    sleep: Callable[[float], None] = time.sleep


_IN_FORCE = [Outside()]


def outside() -> Outside:
    """The outside in force: Lambda's own, unless another one was put in its place."""
    return _IN_FORCE[-1]


@contextmanager
def replaced(by: Outside) -> Iterator[None]:
    """Another outside for as long as this lasts."""
    _IN_FORCE.append(by)
    try:
        yield
    finally:
        _IN_FORCE.pop()


def sleep(seconds: float) -> None:
    """Waits."""
    outside().sleep(seconds)
