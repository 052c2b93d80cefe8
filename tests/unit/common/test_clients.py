"""How long each client waits for a silent service, and how often it calls a throttled one."""

from __future__ import annotations

from typing import Any

import pytest

from ask import handler
from ask.questions import Settings
from common.aws import brisk_client, client, hasty_client

ENDPOINT = Settings("captune-abc", "base", samples=2, seed=1, concurrency=7)


@pytest.mark.parametrize(
    ("make", "attempts", "connect_seconds", "read_seconds"),
    [
        (lambda: client("s3"), 6, 5, 60),
        (lambda: hasty_client("s3"), 2, 3, 10),  # all attempts together end within half a minute
        (lambda: brisk_client("s3"), 5, 3, 5),
        (lambda: handler._runtime(ENDPOINT), 4, 5, 70),  # longer than the 60 seconds of SageMaker itself
    ],
    ids=["patient", "hasty", "brisk", "endpoint"],
)
def test_client_gives_a_silent_service_up_in_time(
    monkeypatch: pytest.MonkeyPatch, make: Any, attempts: int, connect_seconds: int, read_seconds: int
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    config = make().meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": attempts}
    assert (config.connect_timeout, config.read_timeout) == (connect_seconds, read_seconds)


def test_endpoint_client_has_a_connection_for_each_request_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert handler._runtime(ENDPOINT).meta.config.max_pool_connections == 7
