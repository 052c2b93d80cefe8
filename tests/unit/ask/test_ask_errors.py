"""Errors of the endpoint: which will pass and which will not, and what is kept of the answers."""

from __future__ import annotations

import json
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, ReadTimeoutError

from ask import questions
from ask.questions import GOT_AHEAD_PROMPTS, Settings, _explain
from common.errors import AdapterNotServed, EndpointAnsweredBadly, ServiceUnreachable
from tests.doubles.ask_site import SETTINGS, Runtime, Shelf, ask, completion
from tests.doubles.lambda_fakes import refusal


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"{}",
        b'{"model": "medical", "choices": []}',
        b'{"model": "medical", "choices": [{"message": {}}]}',
        b'{"model": "medical", "choices": [{"text": null}]}',
        b'{"model": null, "choices": [{"text": "an answer of nobody knows whom"}]}',
        b'{"choices": [{"text": "an answer of nobody knows whom"}]}',
        b"\xff",
        b'"text"',
    ],
)
def test_an_answer_that_is_no_completion_ends_the_run_by_name(content: bytes) -> None:
    with pytest.raises(EndpointAnsweredBadly, match="did not answer as an OpenAI completion.*vLLM image"):
        ask(Runtime(lambda body: content), 1, Shelf())


def test_an_empty_answer_is_an_answer() -> None:
    shelf = Shelf()
    ask(Runtime(lambda body: completion("", "medical")), 1, shelf)
    assert shelf[-1][0]["greedy"] == ""


def test_an_answer_of_another_model_is_refused_with_the_image_as_the_way_out() -> None:
    message = r"asked for the model 'medical' and answered as 'base'.*CustomAttributes 'route=/v1/completions'.*leave hosting_image empty"
    shelf = Shelf()
    with pytest.raises(AdapterNotServed, match=message):
        ask(Runtime(lambda body: completion("fluent, but of the wrong model", "base")), 3, shelf)
    assert shelf.ids == []


def test_without_the_route_the_run_ends_instead_of_comparing_the_base_model_with_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(questions, "ROUTE", "trace=1")
    with pytest.raises(AdapterNotServed):
        ask(Runtime(), 1, Shelf())
    assert ask(Runtime(), 1, Shelf(), settings=replace(SETTINGS, model="base")) == ["p0"]


def model_error(status: int) -> ClientError:
    """A 424 as botocore itself reads it from the wire."""
    client = boto3.client("sagemaker-runtime", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    body = json.dumps({"Message": "the container said no", "OriginalStatusCode": status}).encode()
    headers = {"x-amzn-errortype": "ModelError", "content-type": "application/json"}

    class Raw:
        def stream(self, **_: Any) -> Any:
            yield body

    def answer(**_: Any) -> AWSResponse:
        return AWSResponse("https://a", 424, headers, Raw())

    client.meta.events.register("before-send.sagemaker-runtime.InvokeEndpoint", answer)
    with pytest.raises(ClientError) as refused:
        client.invoke_endpoint(EndpointName="captune-abc", Body=b"{}")
    return refused.value


@pytest.mark.parametrize("status", [400, 404, 422])
def test_what_the_container_refuses_will_not_get_better(status: int) -> None:
    problem = _explain(model_error(status), SETTINGS)
    assert type(problem) is EndpointAnsweredBadly
    assert "refused a prompt for the model 'medical' (ModelError): the container said no" in str(problem)
    assert "/aws/sagemaker/Endpoints/captune-abc" in str(problem)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_the_container_cannot_do_now_is_tried_again(status: int) -> None:
    assert type(_explain(model_error(status), SETTINGS)) is ServiceUnreachable


@pytest.mark.parametrize(
    "code", ["ThrottlingException", "ServiceUnavailable", "InternalFailure", "ModelNotReadyException"]
)
def test_trouble_of_sagemaker_itself_is_tried_again(code: str) -> None:
    assert type(_explain(refusal(code), SETTINGS)) is ServiceUnreachable


def test_an_endpoint_that_is_gone_ends_the_run_by_name() -> None:
    assert (
        type(_explain(refusal("ValidationError", "Endpoint captune-abc not found."), SETTINGS)) is EndpointAnsweredBadly
    )


@pytest.mark.parametrize("trouble", [refusal("ThrottlingException"), ReadTimeoutError(endpoint_url="endpoint")])
def test_what_came_back_before_an_error_is_saved_and_the_next_call_goes_on(trouble: Exception) -> None:
    def at_prompt_5(body: dict[str, Any]) -> None:
        if body["prompt"] == "Prompt 5":
            raise trouble

    shelf = Shelf()
    with pytest.raises(ServiceUnreachable):
        ask(Runtime(at_prompt_5), 8, shelf, settings=Settings("e", "base", 0, 1, concurrency=1))
    assert shelf.ids == ["p0", "p1", "p2", "p3", "p4"]
    again = Runtime()
    assert ask(again, 8, shelf, done=shelf[-1]) == [f"p{n}" for n in range(8)]
    assert "Prompt 0" not in {body["prompt"] for body in again.bodies}


@pytest.mark.parametrize(("answered", "raised"), [(GOT_AHEAD_PROMPTS, False), (GOT_AHEAD_PROMPTS - 1, True)])
def test_passing_trouble_after_many_answers_does_not_count_among_the_few_attempts(
    answered: int, raised: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of ten thousand prompts with eight samples each one request or another fails, and the state machine gives up after six."""

    def at_one(body: dict[str, Any]) -> None:
        if body["prompt"] == f"Prompt {answered}":
            raise refusal("ThrottlingException")

    shelf, one_by_one = Shelf(), Settings("e", "base", 0, 1, concurrency=1)
    with pytest.raises(ServiceUnreachable) if raised else nullcontext():
        assert len(ask(Runtime(at_one), 150, shelf, settings=one_by_one)) == answered
    assert len(shelf.ids) == answered
    logged = f'"answered": {answered}, "reason": "Endpoint e is busy or failing (ThrottlingException)'
    assert (logged in capsys.readouterr().out) is not raised


def test_an_answer_that_will_not_get_better_ends_the_run_however_many_came_before() -> None:
    def at_last(body: dict[str, Any]) -> None:
        if body["prompt"] == "Prompt 149":
            raise model_error(400)

    with pytest.raises(EndpointAnsweredBadly):
        ask(Runtime(at_last), 150, Shelf(), settings=Settings("e", "base", 0, 1, concurrency=1))


def test_requests_in_flight_at_an_error_are_waited_for_and_kept() -> None:
    failed = threading.Event()

    def fail_first(body: dict[str, Any]) -> None:
        if body["prompt"] == "Prompt 0":
            failed.set()
            raise refusal("InternalFailure")
        failed.wait(10)

    shelf = Shelf()
    with pytest.raises(ServiceUnreachable):
        ask(Runtime(fail_first), 4, shelf, settings=Settings("e", "base", 0, 1, concurrency=4))
    assert shelf.ids == ["p1", "p2", "p3"]


class Crowded:
    """A container that answers in time only while no more than so many requests are in flight."""

    def __init__(self, bears: int) -> None:
        self.bears, self.flying, self.refused = bears, 0, list[int]()
        self._lock, self._too_slow = threading.Lock(), model_error(0)

    def __call__(self, body: dict[str, Any]) -> None:
        with self._lock:
            self.flying += 1
            seen = self.flying
        try:
            if seen > self.bears:
                self.refused.append(seen)
                raise self._too_slow
            time.sleep(0.005)
        finally:
            with self._lock:
                self.flying -= 1


@pytest.mark.parametrize(("bears", "at_once"), [(1, 32), (3, 8)])
def test_a_container_that_is_too_slow_for_so_many_requests_gets_fewer_at_once(bears: int, at_once: int) -> None:
    container, shelf = Crowded(bears), Shelf()
    settings = Settings("e", "base", 0, 1, concurrency=at_once)
    assert ask(Runtime(container), 40, shelf, settings=settings) == [f"p{n}" for n in range(40)]
    assert container.refused and max(container.refused) <= at_once


def test_one_that_is_too_slow_for_a_single_request_is_tried_again_by_its_name_in_the_state_machine() -> None:
    container, shelf = Crowded(0), Shelf()
    with pytest.raises(ServiceUnreachable) as problem:
        ask(Runtime(container), 5, shelf, settings=Settings("e", "base", 0, 1, concurrency=4))
    assert type(problem.value) is ServiceUnreachable and "the container said no" in str(problem.value)
    assert shelf.ids == []


def test_a_call_whose_time_ends_before_anything_was_answered_is_not_taken_for_one_that_got_ahead() -> None:
    """Its repetitions would begin with as many requests at once, without a limit."""
    shelf = Shelf()
    with pytest.raises(ServiceUnreachable):
        ask(Runtime(Crowded(0)), 5, shelf, settings=Settings("e", "base", 0, 1, concurrency=4), seconds=0)
    assert shelf.ids == []
