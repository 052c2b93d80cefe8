"""Error names and their advice, how long each client waits for a silent service, and how often it calls a throttled one."""

import re
from pathlib import Path

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


def test_a_hasty_client_ends_soon_and_the_endpoints_outlasts_sagemaker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    hasty, endpoint = hasty_client("s3").meta.config, handler._runtime(ENDPOINT).meta.config
    assert hasty.retries["total_max_attempts"] * (hasty.connect_timeout + hasty.read_timeout) < 30
    assert endpoint.read_timeout > 60
    made = (client("s3"), brisk_client("s3"), hasty_client("s3"), handler._runtime(ENDPOINT))
    assert {one.meta.config.retries["mode"] for one in made} == {"standard"}
    assert endpoint.max_pool_connections == 7, "a connection for each request in flight"
