"""The account that is asked: who asks, and clients that neither hang nor give up at the first refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NotConnected
from botocore.parsers import ResponseParserError

from common.aws import error_code, error_message
from operations.check.clients import Sts
from operations.check.findings import NO_ANSWER, one_line

# A question that AWS throttles is asked five times with growing pauses; one that hangs is given up after 20 s each time.
_PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=20)
_SIGN_IN = "Sign in (aws sso login, aws configure, or AWS_PROFILE), then try aws sts get-caller-identity."


class NoCredentials(RuntimeError):
    """AWS does not know who asks, or could not be reached; the message names the fix."""


@dataclass(frozen=True)
class Account:
    """The account that the credentials belong to, in one region."""

    session: boto3.Session
    region: str

    def client(self, service: str, region: str | None = None) -> Any:
        """A client of a service in the account's region, or in another one."""
        return self.session.client(service, region_name=region or self.region, config=_PATIENT)


def sign_in(region: str) -> Account:
    """The account of the environment's credentials. Raises NoCredentials for a profile that does not exist."""
    try:
        return Account(boto3.Session(), region)
    except BotoCoreError as error:
        raise _none(error) from None


def identify(sts: Sts) -> tuple[str, str]:
    """The account's id and the ARN of who asks. Raises NoCredentials."""
    try:
        answer = sts.get_caller_identity()
    except ClientError as error:
        # An expired or unknown key, or a region that the account has not enabled.
        raise NoCredentials(
            f"AWS does not accept these credentials ({error_code(error)}: {error_message(error)}). {_SIGN_IN}"
        ) from None
    except NO_ANSWER as error:
        raise _none(error) from None
    return answer["Account"], answer["Arn"]


def _none(error: BotoCoreError | ResponseParserError) -> NoCredentials:
    said = one_line(str(error)).rstrip(".")
    if isinstance(error, (NotConnected, HTTPClientError, ResponseParserError)):
        return NoCredentials(f"AWS could not be reached: {said}. Look at the network and the proxy, then try again.")
    return NoCredentials(f"No usable AWS credentials: {said}. {_SIGN_IN}")
