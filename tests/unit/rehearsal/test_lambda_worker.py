"""What a Lambda's process answers: results, errors in Lambda's own words, the time that is left, and the rehearsal's clock."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rehearsal.aws_lambda import worker
from rehearsal.aws_lambda.worker import Context, Datetime

ENVIRONMENT = {"AWS_LAMBDA_FUNCTION_NAME": "captune-settle", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256"}


def request(event: Any = None, timeout: float = 30) -> dict[str, Any]:
    return {"request_id": "r-1", "arn": "arn:aws:lambda:::function:settle", "timeout": timeout, "event": event}


def answer(handler: Callable[[Any, Any], Any], event: Any = None) -> dict[str, Any]:
    return worker._answer(handler, request(event), ENVIRONMENT)


def test_a_result_goes_back_as_json() -> None:
    assert json.loads(answer(lambda event, context: {"seen": event}, [1, 2])["result"]) == {"seen": [1, 2]}


def test_what_is_no_json_cannot_be_marshalled() -> None:
    error = answer(lambda event, context: {1, 2})["error"]
    assert error["errorType"] == "Runtime.MarshalError"
    assert error["errorMessage"].startswith("Unable to marshal response: ")


def test_an_exception_is_told_by_its_class_and_its_stack_begins_in_the_functions_own_code() -> None:
    def handle(event: Any, context: Any) -> None:
        raise LookupError("no such run")

    error = answer(handle)["error"]

    assert (error["errorType"], error["errorMessage"], error["requestId"]) == ("LookupError", "no such run", "r-1")
    assert len(error["stackTrace"]) == 1
    assert Path(__file__).name in error["stackTrace"][0]


def test_a_handler_that_ends_its_process_is_an_exit_error() -> None:
    error = answer(lambda event, context: sys.exit(3))["error"]
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"] == "Runtime exited with error: exit status 3"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules can be imported; they are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_handler_is_the_function_of_a_module_by_its_dotted_name(package: Path) -> None:
    (package / "worker_sound.py").write_text("def handle(event, context):\n    return 'here'\n")
    handler, failure = worker._load("worker_sound.handle", "r-1")
    assert failure is None
    assert handler(None, None) == "here"


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (
            "import worker_nowhere",
            "Runtime.ImportModuleError",
            "Unable to import module 'worker_unsound': No module named 'worker_nowhere'",
        ),
        ("1 / 0", "Runtime.ImportModuleError", "Unable to import module 'worker_unsound': division by zero"),
        ("other = 1", "Runtime.HandlerNotFound", "Handler 'handle' missing: "),
    ],
)
def test_a_module_that_cannot_be_loaded_is_told_as_lambda_tells_it(
    package: Path, content: str, kind: str, message: str
) -> None:
    (package / "worker_unsound.py").write_text(content)
    handler, failure = worker._load("worker_unsound.handle", "r-1")
    assert handler is None
    assert failure is not None
    assert failure["errorType"] == kind
    assert failure["errorMessage"].startswith(message)


def test_the_time_that_is_left_falls_to_zero_and_no_further() -> None:
    context = Context(request(timeout=5), ENVIRONMENT)
    assert 4_000 < context.get_remaining_time_in_millis() <= 5_000
    assert Context(request(timeout=-1), ENVIRONMENT).get_remaining_time_in_millis() == 0
    assert context.log_group_name == "/aws/lambda/captune-settle"
    assert context.memory_limit_in_mb == "256"


def test_now_is_the_rehearsals_moment_and_any_datetime_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Datetime, "ahead", timedelta(hours=5))
    ahead = Datetime.now(UTC) - datetime.now(UTC)
    assert timedelta(hours=5) - timedelta(seconds=5) < ahead <= timedelta(hours=5)
    assert isinstance(datetime(2026, 1, 1, tzinfo=UTC), Datetime), (
        "what botocore parsed before the clock was put in place"
    )
