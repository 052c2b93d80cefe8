"""boto3 clients that find the rehearsed account, made once for each service and identity."""

import threading
from typing import Any

import boto3
from botocore.config import Config

from common.names import REHEARSED_ACCOUNT

ACCOUNT = REHEARSED_ACCOUNT
PERSON = "person"  # the access key id of the person at the console
_CONFIG = Config(
    retries={"total_max_attempts": 1},  # Step Functions' SDK calls are not repeated silently
    read_timeout=960,  # a Lambda may take 15 minutes
    connect_timeout=10,
    max_pool_connections=50,
    proxies={},  # everything is on this machine
    s3={"addressing_style": "path"},
)
_session: list[boto3.Session] = []  # one for the process: it keeps the services' descriptions, which take long to read
_lock = threading.Lock()  # a session must not make two clients at once


class Clients:
    """The clients of one cloud, all of one region and one address."""

    def __init__(self, url: str, region: str) -> None:
        self._url, self.region = url, region
        self._made: dict[tuple[str, str], Any] = {}

    def get(self, service: str, identity: str = PERSON) -> Any:
        """Return the client of a service (boto3's name) whose access key id is `identity`."""
        with _lock:
            if (service, identity) not in self._made:
                if not _session:
                    _session.append(boto3.Session())
                self._made[service, identity] = _session[0].client(
                    service,
                    region_name=self.region,
                    endpoint_url=self._url,
                    aws_access_key_id=identity,
                    aws_secret_access_key="rehearsal",  # pragma: allowlist secret
                    config=_CONFIG,
                )
            return self._made[service, identity]
