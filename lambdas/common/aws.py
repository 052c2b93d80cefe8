"""Clients with patience: throttled and broken calls are tried again before anything is called a failure."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from common.errors import ServiceUnreachable
from common.outside import outside

_PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 6}, connect_timeout=5, read_timeout=60)

# For what is done again anyway: a pass of the tear-down must not wait for one silent service until its own time is over.
_HASTY = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=3, read_timeout=10)

# For what has some seconds and no more: a throttled call is made again within 15 seconds, and a silent service is left within half a minute.
_BRISK = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=3, read_timeout=5)


@cache
def client(service: str, region: str | None = None) -> Any:
    """A client of an AWS service, shared by the invocations that one Lambda sandbox serves."""
    return outside().make_client(service, region_name=region, config=_PATIENT)


@cache
def hasty_client(service: str) -> Any:
    """A client that gives up a call within half a minute."""
    return outside().make_client(service, config=_HASTY)


@cache
def brisk_client(service: str, region: str | None = None) -> Any:
    """A client for a question that may stay unanswered: it is patient with throttling, and gives up a call within half a minute."""
    return outside().make_client(service, region_name=region, config=_BRISK)


@contextmanager
def reaching(purpose: str) -> Iterator[None]:
    """Turns an error of AWS itself into ServiceUnreachable, the one error of a Lambda that FineTuning tries again."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise ServiceUnreachable(f"{purpose} failed after several attempts: {error}. Try again later.") from error


def error_code(error: ClientError) -> str:
    """The code of a service error, for example `ValidationException`."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_message(error: ClientError) -> str:
    """The message of a service error."""
    return str(error.response.get("Error", {}).get("Message", error))


def unless(codes: str, call: Callable[..., Any], **request: Any) -> Any:
    """What AWS answers to a call, or None where it answers with one of these error codes, which are separated by blanks."""
    try:
        return call(**request)
    except ClientError as error:
        if error_code(error) not in codes.split():
            raise
        return None


def or_none(call: Callable[..., Any], **request: Any) -> Any:
    """What AWS answers to a call, or None where what it names does not exist."""
    try:
        return call(**request)
    except ClientError as error:
        if not is_missing(error):
            raise
        return None


def is_missing(error: ClientError) -> bool:
    """Whether a resource does not exist; SageMaker says so in a ValidationException: `Could not find endpoint "…"`."""
    code, message = error_code(error), error_message(error).lower()
    if code in {"ResourceNotFound", "ResourceNotFoundException", "NoSuchKey", "NoSuchVersion", "404"}:
        return True
    return code == "ValidationException" and ("could not find" in message or "not found" in message)
