"""The Lambda around the questions: where prompts come from and where answers go."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ask import handler
from ask.questions import Settings
from common.contracts.fine_tuning import AskEvent
from common.errors import ReportIncomplete, ServiceUnreachable
from tests.doubles.ask_site import Runtime, prompts
from tests.doubles.lambda_fakes import S3, refusal

EVENT: AskEvent = {
    "runName": "captune-abc", "endpointName": "captune-abc", "model": "base", "answersKey": "runs/captune-abc/answers/pre-trained.jsonl",
    "promptsKey": "runs/captune-abc/input/prompts.jsonl", "samplesPerPrompt": 0, "seed": 3,
}  # fmt: skip


class Context:
    """A Lambda's time."""

    def __init__(self, seconds: float = 900) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> S3:
    lines = "\n".join(json.dumps(prompt) for prompt in prompts(3))
    fake = S3({("bucket", EVENT["promptsKey"]): lines.encode()})
    monkeypatch.setattr(handler, "client", lambda service: fake)
    monkeypatch.setattr(handler, "_runtime", lambda settings: Runtime())
    monkeypatch.setenv("BUCKET_NAME", "bucket")
    monkeypatch.setenv("REQUESTS_AT_ONCE", "2")
    return fake


def answers(s3: S3) -> list[dict[str, Any]]:
    return [json.loads(line) for line in s3.objects["bucket", EVENT["answersKey"]].splitlines()]


def test_all_prompts_are_answered_and_none_remains(s3: S3) -> None:
    assert handler.handle(EVENT, Context()) == {"model": "base", "answered": 3, "remaining": 0}
    assert [(answer["id"], answer["model"], answer["samples"]) for answer in answers(s3)] == [
        ("p0", "base", []), ("p1", "base", []), ("p2", "base", []),
    ]  # fmt: skip


def test_as_many_requests_are_in_flight_as_the_stack_says(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has room for so many: more would wait in it, and fewer would waste it."""
    allowed: list[int] = []

    def runtime(settings: Settings) -> Runtime:
        allowed.append(settings.concurrency)
        return Runtime()

    monkeypatch.setattr(handler, "_runtime", runtime)
    handler.handle(EVENT, Context())
    assert allowed == [2]


def test_when_time_is_over_the_state_machine_hears_how_many_remain(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    handled = [handler.handle(EVENT, Context(10))["remaining"] for _ in range(3)]
    assert handled == [2, 1, 0]


def test_a_run_without_prompts_is_refused_by_name(s3: S3) -> None:
    s3.objects.clear()
    with pytest.raises(
        ReportIncomplete, match="There are no prompts at s3://bucket/runs/captune-abc/input/prompts.jsonl"
    ):
        handler.handle(EVENT, Context())


def test_trouble_of_s3_is_the_error_that_the_state_machine_tries_again(s3: S3) -> None:
    s3.troubles["put_object"] = [refusal("SlowDown")]
    with pytest.raises(ServiceUnreachable, match="SlowDown"):
        handler.handle(EVENT, Context())
