"""Error names and their advice, how long each client waits for a silent service, and how often it calls a throttled one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ask import handler
from ask.questions import Settings
from common import errors
from common.aws import brisk_client, client, hasty_client
from common.errors import CaptuneError, advice

ROOT = Path(__file__).parents[3]
ENDPOINT = Settings("captune-abc", "base", samples=2, seed=1, concurrency=7)


def written_names() -> set[str]:
    """The error names that the state machines, the sweeper and the tear-down write themselves."""
    machines = "".join(path.read_text("utf-8") for path in (ROOT / "stacks").glob("*.asl.yaml"))
    code = "".join(path.read_text("utf-8") for path in (ROOT / "lambdas").glob("*/*.py"))
    return {*re.findall(r"\bError: ([A-Z][A-Za-z]+)\b", machines), *re.findall(r'\berror="([A-Z][A-Za-z]+)"', code)}


def test_every_written_error_name_has_a_class() -> None:
    assert {"TrainingNotStarted", "BudgetAlarm", "DeadlineReached"} <= written_names() <= set(errors.kinds())


@pytest.mark.parametrize("name", errors.kinds())
def test_an_error_says_what_it_means_and_what_to_do(name: str) -> None:
    kind = errors.kinds()[name]
    assert kind.__doc__ and "\n" not in kind.__doc__
    assert kind.when in (errors.REFUSED, errors.RUNNING, errors.REMOVED)
    assert advice(name) == kind.advice != CaptuneError.advice


def test_an_unknown_error_and_a_status_have_advice_too() -> None:
    assert advice("SomethingElse") == advice(None) == CaptuneError.advice
    assert advice("TIMED_OUT") == errors.OF_STATUSES["TIMED_OUT"] != CaptuneError.advice


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
