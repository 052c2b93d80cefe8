"""Asking one model of the endpoint: the same prompts and seeds for both, within limits, with no answer lost."""

import io
import itertools
import json
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from ask import handler, questions
from ask.questions import GOT_AHEAD_PROMPTS, MARGIN_SECONDS, MAX_TOKENS, SAVE_EVERY_PROMPTS, Settings, ask_all
from common.contracts.fine_tuning import AskEvent
from common.errors import AdapterNotServed, EndpointAnsweredBadly, ReportIncomplete, ServiceUnreachable
from common.pricing.costs import SAVED_COPIES
from common.pricing.durations import LONGEST_DEADLINE_SECONDS
from common.storage import Storage
from preflight.texts.prompts import MAXIMUM_PROMPTS
from stacks.configuration.images import ASK_MEMORY
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.lambda_fakes import S3, Service, refusal

TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
RECORD = {"id": "r", "kind": "record", "prompt": "Why?", "messages": TALK, "reference": "So.", "facts": []}
EVENT: AskEvent = {
    "runName": "captune-abc",
    "endpointName": "captune-abc",
    "model": "base",
    "answersKey": "runs/captune-abc/answers/pre-trained.jsonl",
    "promptsKey": "runs/captune-abc/input/prompts.jsonl",
    "samplesPerPrompt": 0,
    "seed": 3,
}


SETTINGS = Settings(endpoint="captune-abc", model="medical", samples=2, seed=7, concurrency=32)


def prompts(count: int) -> list[dict[str, Any]]:
    return [{"id": f"p{n}", "kind": "question", "prompt": f"Prompt {n}", "facts": []} for n in range(count)]


class Runtime(Service):
    """An endpoint that repeats prompt, temperature and seed. `troubled` may raise or replace an answer."""

    name = "sagemaker-runtime"

    def __init__(self, troubled: Callable[[dict[str, Any]], Any] = lambda body: None) -> None:
        super().__init__()
        self.troubled = troubled
        self.bodies: list[dict[str, Any]] = []
        self.busy = self.busiest = 0
        self._lock = threading.Lock()

    def on_invoke_endpoint(
        self, EndpointName: str, ContentType: str, CustomAttributes: str, Body: str
    ) -> dict[str, Any]:
        body = json.loads(Body)
        with self._lock:
            self.bodies.append(body)
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        try:
            answer = self.troubled(body)
        finally:
            with self._lock:
                self.busy -= 1
        talks = CustomAttributes == "route=/v1/chat/completions"
        requested = "+".join(one["role"] for one in body["messages"]) if talks else body["prompt"]
        text = f"{requested}|{body['temperature']}|{body['seed']}"
        # As vLLM's own route for SageMaker: without the attribute the body's model counts for nothing.
        model = body["model"] if talks or CustomAttributes == "route=/v1/completions" else "base"
        content = answer if answer is not None else (spoken if talks else completion)(text, model)
        return {"Body": io.BytesIO(content)}


def completion(text: object, model: object) -> bytes:
    return json.dumps({"model": model, "choices": [{"index": 0, "text": text}]}).encode()


def spoken(text: object, model: object) -> bytes:
    return json.dumps({"model": model, "choices": [{"index": 0, "message": {"content": text}}]}).encode()


class Shelf(list[list[dict[str, Any]]]):
    """Every version of the answers that was saved."""

    @property
    def ids(self) -> list[str]:
        return [answer["id"] for answer in self[-1]]


def ask(runtime: Runtime, count: int, shelf: Shelf, done: list[dict[str, Any]] | None = None, **more: Any) -> list[str]:
    settings = more.pop("settings", SETTINGS)
    answers = ask_all(runtime, prompts(count), done or [], settings, more.pop("seconds", 60.0), shelf.append, **more)
    return [answer["id"] for answer in answers]


def settings(concurrency: int = 1) -> Settings:
    return Settings("e", "base", samples=0, seed=1, concurrency=concurrency)


def ask_one(runtime: Runtime, prompt: dict[str, Any], samples: int = 1) -> dict[str, Any]:
    medical = replace(SETTINGS, samples=samples)
    (answer,) = ask_all(runtime, [prompt], [], medical, 60.0, lambda answers: None)
    return answer


class TestRequests:
    def test_each_prompt_gets_a_greedy_answer_and_seeded_samples(self) -> None:
        runtime, shelf = Runtime(), Shelf()
        ask(runtime, 1, shelf)
        (answer,) = shelf[-1]
        assert (answer["id"], answer["model"], answer["greedy"]) == ("p0", "medical", "Prompt 0|0.0|7")
        assert (answer["samples"], answer["seeds"]) == (["Prompt 0|0.6|7", "Prompt 0|0.6|8"], [7, 8])
        body = {"model": "medical", "prompt": "Prompt 0", "max_tokens": 64}
        assert runtime.bodies == [
            {**body, "temperature": 0.0, "top_p": 1.0, "seed": 7},
            {**body, "temperature": 0.6, "top_p": 0.9, "seed": 7},
            {**body, "temperature": 0.6, "top_p": 0.9, "seed": 8},
        ]
        request = runtime.calls[0][1]
        assert (request["EndpointName"], request["CustomAttributes"]) == ("captune-abc", "route=/v1/completions")

    def test_starter_is_sampled_at_least_once(self) -> None:
        answer = ask_one(Runtime(), {"id": "s", "kind": "starter", "prompt": "Certain", "facts": []}, samples=0)
        assert (len(answer["samples"]), answer["seeds"]) == (1, [7])

    def test_conversation_goes_to_the_chat_route(self) -> None:
        runtime = Runtime()
        answer = ask_one(runtime, RECORD)
        assert (answer["greedy"], answer["samples"]) == ("system+user|0.0|7", ["system+user|0.6|7"])
        assert answer["prompt"] == "Why?" and "messages" not in answer
        assert (runtime.bodies[0]["messages"], "prompt" in runtime.bodies[0]) == (TALK, False)
        assert {call[1]["CustomAttributes"] for call in runtime.calls} == {"route=/v1/chat/completions"}
        with pytest.raises(EndpointAnsweredBadly, match="did not answer with an OpenAI completion"):
            ask_one(Runtime(lambda body: completion("So.", "medical")), RECORD)


def test_largest_run_fits_into_the_functions_memory() -> None:
    """10,000 prompts with 8 samples; one character of four bytes makes Python hold each of a text at four bytes."""
    count, libraries_mib = 200, 120
    content = completion("\N{GRINNING FACE}" + "x" * (4 * MAX_TOKENS), "medical")
    runtime = SimpleNamespace(invoke_endpoint=lambda **request: {"Body": io.BytesIO(content)})
    storage, many = Storage(S3({}), "bucket"), replace(SETTINGS, samples=8, concurrency=1)

    def asked(number: int) -> None:
        ask_all(runtime, prompts(number), [], many, 600, lambda lines: storage.write_lines("k", lines))

    asked(1)  # what is loaded at the first call is counted among the libraries
    tracemalloc.start()
    asked(count)
    peak_mib = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert ASK_MEMORY / 2 < peak_mib * MAXIMUM_PROMPTS / count + libraries_mib < ASK_MEMORY


class TestTime:
    def test_a_slow_prompt_moves_the_deadline_forward(self) -> None:
        (done,) = ask_all(Runtime(), prompts(1), [], SETTINGS, 60.0, lambda lines: None)

        def answered(longest: float, seconds: float) -> int:
            ticks, before = itertools.count(), [{**done, "seconds": longest}]
            passing = {"seconds": seconds, "clock": lambda: float(next(ticks))}
            return len(ask(Runtime(), 50, Shelf(), done=before, settings=settings(), **passing))

        assert answered(0, 12) == answered(MARGIN_SECONDS, 12) > answered(MARGIN_SECONDS + 4, 12) == answered(0, 8) > 1

    def test_answers_are_saved_at_the_deadline_while_a_request_hangs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(questions, "QUIET_SECONDS", 0.1)
        hanging, shelf = threading.Event(), Shelf()

        def save(answers: list[dict[str, Any]]) -> None:
            shelf.append(answers)
            hanging.set()

        def hang(body: dict[str, Any]) -> None:
            if body["prompt"] == "Prompt 1":
                assert hanging.wait(PATIENCE_SECONDS), "nothing was saved while a request hung"

        runtime = Runtime(hang)
        ask_all(runtime, prompts(2), [], settings(2), 0.2, save, clock=lambda: float(len(runtime.bodies) == 2))
        assert [answer["id"] for answer in shelf[0]] == ["p0"]
        assert shelf.ids == ["p0", "p1"]

    def test_slowest_run_saves_no_more_copies_than_are_reserved(self) -> None:
        """10,000 prompts in the four hours of the longest deadline, for a quarter of an hour at each call."""
        runtime, calls, saved, done = Runtime(), 0, 0, list[dict[str, Any]]()

        def now() -> float:
            return LONGEST_DEADLINE_SECONDS / MAXIMUM_PROMPTS * len(runtime.bodies)

        def save(answers: list[dict[str, Any]]) -> None:
            nonlocal saved
            saved += len(answers)

        while len(done) < MAXIMUM_PROMPTS:
            calls += 1
            done = ask_all(runtime, prompts(MAXIMUM_PROMPTS), done, settings(32), 900 - MARGIN_SECONDS, save, now)
        assert calls in (17, 18)  # by how many requests are under way when a call's time is over
        # An old version is there for 30 days and until the next midnight, in the shortest month too.
        assert 0.8 * SAVED_COPIES < saved / MAXIMUM_PROMPTS * 31 / 28 <= SAVED_COPIES

    def test_long_lists_are_saved_on_the_way(self) -> None:
        shelf = Shelf()
        ask(Runtime(), SAVE_EVERY_PROMPTS + 20, shelf)
        assert len(shelf) == 2 and len(shelf[0]) >= SAVE_EVERY_PROMPTS


def time_left(seconds: int) -> Any:
    return SimpleNamespace(get_remaining_time_in_millis=lambda: seconds * 1000)


class TestHandler:
    @pytest.fixture
    def s3(self, monkeypatch: pytest.MonkeyPatch) -> S3:
        lines = "\n".join(json.dumps(prompt) for prompt in prompts(3))
        fake = S3({("bucket", EVENT["promptsKey"]): lines.encode()})

        def runtime(settings: Settings) -> Runtime:
            assert settings.concurrency == 2, "as the stack sets it"
            return Runtime()

        monkeypatch.setattr(handler, "client", lambda service: fake)
        monkeypatch.setattr(handler, "_runtime", runtime)
        monkeypatch.setenv("BUCKET_NAME", "bucket")
        monkeypatch.setenv("REQUESTS_AT_ONCE", "2")
        return fake

    def test_each_call_asks_what_is_not_answered_yet_and_says_what_remains(self, s3: S3) -> None:
        told = [{"model": "base", "answered": count, "remaining": 3 - count} for count in (1, 2, 3)]
        assert [handler.handle(EVENT, time_left(10)) for _ in range(3)] == told
        answers = [json.loads(line) for line in s3.objects["bucket", EVENT["answersKey"]].splitlines()]
        assert [(answer["id"], answer["model"]) for answer in answers] == [(f"p{n}", "base") for n in range(3)]

    def test_run_without_prompts_is_rejected(self, s3: S3) -> None:
        s3.objects.clear()
        with pytest.raises(ReportIncomplete, match="prompts are missing at s3://bucket/runs/captune-abc/input"):
            handler.handle(EVENT, time_left(10))


NOT_A_COMPLETION = [
    b"\xff",
    b'"text"',
    b'{"model": "medical", "choices": []}',
    b'{"model": "medical", "choices": [{"text": null}]}',
    b'{"choices": [{"text": "an answer of an unknown model"}]}',
]


def model_error(status: int) -> ClientError:
    """SageMaker's error for an answer of the container with this status, as botocore raises it."""
    return refusal("ModelError", "the container said no", OriginalStatusCode=status)


class Failing:
    def __init__(self, number: int, trouble: Exception) -> None:
        self.prompt, self.trouble = f"Prompt {number}", trouble

    def __call__(self, body: dict[str, Any]) -> None:
        if body["prompt"] == self.prompt:
            raise self.trouble


@pytest.mark.parametrize("content", NOT_A_COMPLETION)
def test_answer_that_is_no_completion_ends_the_run(content: bytes) -> None:
    with pytest.raises(EndpointAnsweredBadly, match="did not answer with an OpenAI completion.*vLLM image"):
        ask(Runtime(lambda body: content), 1, Shelf())


def test_answer_of_another_model_is_rejected() -> None:
    message = r"answered with the model 'base' instead of 'medical'.*Empty hosting_image"
    shelf = Shelf()
    with pytest.raises(AdapterNotServed, match=message):
        ask(Runtime(lambda body: completion("fluent, but of the wrong model", "base")), 3, shelf)
    assert not shelf


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        *((model_error(status), EndpointAnsweredBadly) for status in (400, 422)),
        (refusal("ValidationError", "Endpoint captune-abc not found."), EndpointAnsweredBadly),
        *((model_error(status), ServiceUnreachable) for status in (408, 429, 500)),
        *((refusal(code), ServiceUnreachable) for code in ("ThrottlingException", "ModelNotReadyException")),
        (ReadTimeoutError(endpoint_url="endpoint"), ServiceUnreachable),
    ],
)
def test_rejections_end_the_run_and_passing_trouble_is_retried(trouble: Exception, kind: type[Exception]) -> None:
    shelf = Shelf()
    with pytest.raises(kind) as problem:
        ask(Runtime(Failing(5, trouble)), 8, shelf, settings=settings())
    assert type(problem.value) is kind
    assert shelf.ids == ["p0", "p1", "p2", "p3", "p4"]


@pytest.mark.parametrize(
    ("answered", "trouble", "raised"),
    [
        (GOT_AHEAD_PROMPTS, refusal("ThrottlingException"), None),
        (GOT_AHEAD_PROMPTS - 1, refusal("ThrottlingException"), ServiceUnreachable),
        (149, model_error(400), EndpointAnsweredBadly),
    ],
    ids=["passing, after many", "passing, after few", "a rejection, after many"],
)
def test_passing_trouble_after_many_answers_costs_no_attempt(
    answered: int, trouble: Exception, raised: type[Exception] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of ten thousand prompts some request fails, and the state machine gives up after six attempts."""
    shelf = Shelf()
    with pytest.raises(raised) if raised else nullcontext():
        ask(Runtime(Failing(answered, trouble)), 150, shelf, settings=settings())
    assert len(shelf.ids) == answered
    assert (f'"answered": {answered}, "reason"' in capsys.readouterr().out) is (raised is None)


def test_requests_in_flight_at_an_error_are_kept() -> None:
    failed = threading.Event()

    def fail_first(body: dict[str, Any]) -> None:
        if body["prompt"] == "Prompt 0":
            failed.set()
            raise refusal("InternalFailure")
        failed.wait(PATIENCE_SECONDS)

    shelf = Shelf()
    with pytest.raises(ServiceUnreachable):
        ask(Runtime(fail_first), 4, shelf, settings=settings(4))
    assert shelf.ids == ["p1", "p2", "p3"]


def crowded(most: int) -> Runtime:
    """A container that answers in time only while no more than this many requests are in flight."""

    crowd = threading.Event()

    def answer(body: dict[str, Any]) -> None:
        if runtime.busy > most:
            crowd.set()
            raise too_slow
        came = crowd.wait(PATIENCE_SECONDS)
        crowd.set()  # so that the others do not wait as long again
        assert came, "so many never came at once"

    runtime, too_slow = Runtime(answer), model_error(0)
    return runtime


def test_container_that_is_too_slow_gets_fewer_requests_at_once() -> None:
    runtime = crowded(3)
    assert ask(runtime, 40, Shelf(), settings=settings(32)) == [f"p{n}" for n in range(40)]
    assert 3 < runtime.busiest <= 32, "some were rejected"
    assert len(runtime.bodies) <= 40 + 32 + 16 + 8 + 4, "half as many at once after each rejection"


@pytest.mark.parametrize("seconds", [60, 0])
def test_container_too_slow_for_one_request_is_retried_with_a_limit(seconds: float) -> None:
    shelf = Shelf()
    with pytest.raises(ServiceUnreachable) as problem:
        ask(crowded(0), 5, shelf, settings=settings(4), seconds=seconds)
    assert type(problem.value) is ServiceUnreachable and "the container said no" in str(problem.value)
    assert not shelf
