"""A malformed request is refused as vLLM 0.32.0 refused it (held against a running one by verification/conformance/serving)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rehearsal.sagemaker.real.server.completion_request import Refused, read
from rehearsal.sagemaker.real.server.sampling import Sampling

ROUTED, PLAIN = "/v1/completions", "/invocations"
ASKED = {"model": "base", "prompt": "Hello", "max_tokens": 4}


def _refused(path: str, content: Any) -> tuple[int, str, str | None]:
    with pytest.raises(Refused) as caught:
        read(path, content if isinstance(content, bytes) else json.dumps(content).encode())
    return caught.value.status, caught.value.kind, caught.value.parameter


@pytest.mark.parametrize(
    ("changes", "member"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 2.5}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"n": 2}, "n"),
        ({"stream": True}, "stream"),
        ({"top_k": 5}, "top_k"),
        ({"prompt": ["Hello", "you"]}, "prompt"),
    ],
)
def test_what_is_beyond_its_limits_or_not_played_is_refused_by_its_name(changes: dict[str, Any], member: str) -> None:
    for path in (ROUTED, PLAIN):
        assert _refused(path, ASKED | changes) == (400, "BadRequestError", member)


@pytest.mark.parametrize(
    "changes",
    [{"prompt": 5}, {"max_tokens": 2.5}, {"max_tokens": "four"}, {"temperature": "hot"}, {"seed": 1.5}],
)
def test_a_member_of_the_wrong_type_is_no_completion_request(changes: dict[str, Any]) -> None:
    assert _refused(ROUTED, ASKED | changes) == (400, "Bad Request", f"body.{next(iter(changes))}")
    assert _refused(PLAIN, ASKED | changes) == (400, "BadRequestError", None)


def test_a_model_that_is_no_text_is_refused_where_the_request_is_routed() -> None:
    assert _refused(ROUTED, ASKED | {"model": 3}) == (400, "Bad Request", "body.model")


def test_a_body_that_is_no_object_is_refused() -> None:
    assert _refused(ROUTED, b"{nope") == (400, "Bad Request", "body.0")
    assert _refused(PLAIN, b"{nope") == (400, "Bad Request", None)
    assert _refused(ROUTED, [1]) == (400, "Bad Request", "body")
    assert _refused(PLAIN, [1]) == (400, "BadRequestError", None)


def test_what_the_server_takes_for_a_number_is_taken() -> None:
    asked = read(ROUTED, json.dumps(ASKED | {"max_tokens": "4", "temperature": True, "seed": 7.0}).encode())
    assert (asked.max_tokens, asked.sampling) == (4, Sampling(1.0, 1.0, 7))


def test_what_is_left_out_has_the_servers_own_value() -> None:
    asked = read(PLAIN, b'{"prompt": "Hello", "unknown": 1}')
    assert (asked.model, asked.max_tokens, asked.sampling) == (None, 16, Sampling(1.0, 1.0, None))


def test_a_model_of_any_kind_is_passed_over_where_the_request_is_not_routed() -> None:
    for model in ("unknown", 5, ["base"], None):
        body = json.dumps({"model": model, "prompt": "A gene"}).encode()
        assert read("/invocations", body).model is None


TALK = {"model": "base", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}


def test_a_conversation_is_read_with_its_messages_where_it_is_routed_to() -> None:
    asked = read("/v1/chat/completions", json.dumps(TALK).encode())
    assert (asked.prompt, asked.messages, asked.max_tokens) == ("", ({"role": "user", "content": "Hello"},), 4)


@pytest.mark.parametrize(
    "messages", [None, "Hello", [5], [{"role": "user"}], [{"content": "Hello"}], [{"role": "user", "content": 5}]]
)
def test_what_is_no_list_of_messages_is_no_conversation(messages: Any) -> None:
    assert _refused("/v1/chat/completions", TALK | {"messages": messages}) == (400, "Bad Request", "body.messages")
