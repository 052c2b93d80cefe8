"""`captune use`: another model's answer is never text, other sites are not answered, and every trouble has a name and a fix."""

import io
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import openai
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, EventStreamError

from ask.questions import CHAT_ROUTE, ROUTE
from captune import engines
from captune.account import Refused
from captune.engines import AnswerFailed, ClientLeft, Deployed, Pieces
from captune.kept_run import KeptRun
from captune.use import listening, proxy_words
from common import clock
from common.names import REHEARSED_ACCOUNT
from rehearsal.models import weights
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.aws_account import Answers, FakeSession, deployed, said
from tests.doubles.lambda_fakes import NOW, TEAR_DOWN, SageMaker, Service, StepFunctions, refusal
from tests.doubles.run_bucket import PLAN, RUN, RunBucket, files_of_run, kept_here
from tests.doubles.use_site import DOMAIN, TEXTS, FakeEngine, RunningServer, serving

ASK = "/v1/completions"
ASKED: dict[str, Any] = {"model": DOMAIN, "prompt": "A gene is", "max_tokens": 8}
KEY = "AKIAIOSFODNN7EXAMPLE"  # pragma: allowlist secret


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def site() -> Iterator[RunningServer]:
    with serving(FakeEngine()) as site:
        yield site


def test_openais_client_asks_both_models_whole_and_streamed(site: RunningServer) -> None:
    client = openai.OpenAI(base_url=f"{site.url}/v1", api_key="none")
    assert [model.id for model in client.models.list()] == ["base", DOMAIN]
    for model in ("base", DOMAIN):
        whole = client.completions.create(model=model, prompt="A gene is", logprobs=1, echo=True)
        parts = client.completions.create(model=model, prompt="A gene is", stream=True)
        talk = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "A gene?"}])
        said = (whole.choices[0].text, "".join(part.choices[0].text for part in parts), talk.choices[0].message.content)
        assert said == (TEXTS[model],) * 3
    path, passed_on = site.engine.asked[0]
    assert (path, passed_on["logprobs"], passed_on["echo"]) == (ASK, 1, True)


@pytest.mark.parametrize(
    ("trouble", "name"),
    [
        ("another", "AdapterNotServed"),
        (ConnectionResetError("gone"), "AnswerCutOff"),
        (EventStreamError({"Error": {"Code": "InternalStreamFailure"}}, "InvokeEndpoint"), "AnswerCutOff"),
        (None, "AnswerCutOff"),
    ],
)
def test_a_stream_that_changes_model_or_breaks_off_is_an_error(site: RunningServer, trouble: Any, name: str) -> None:
    site.engine.trouble_at, site.engine.trouble = 2, trouble
    *texts, last = site.events(DOMAIN)
    assert [event["choices"][0]["text"] for event in texts] == [" a", " stretch"] and last["error"]["type"] == name
    client = openai.OpenAI(base_url=f"{site.url}/v1", api_key="none")
    with pytest.raises(openai.APIError, match="another|broke off"):
        list(client.completions.create(model=DOMAIN, prompt="A gene is", stream=True))
    site.engine.trouble_at = 0
    assert site.error(ASK, {**ASKED, "stream": True})[:2] == (502, name)


@pytest.mark.parametrize("whole", [b"no JSON", b"[]", b"{}", b'{"error": {"message": "out of memory"}}'])
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_no_completion_is_an_error(site: RunningServer, whole: bytes, stream: bool) -> None:
    site.engine.whole = whole
    status, name, message = site.error(ASK, {**ASKED, "stream": stream})
    assert (status, name) == (502, "EndpointAnsweredBadly") and ("out of memory" in message or b"error" not in whole)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{nope", (400, "BadRequest")), ([1], (400, "BadRequest")), (b"[" * 50_000 + b"]" * 50_000, (400, "BadRequest")),
        ({"prompt": "A gene"}, (404, "UnknownModel")),
        ({**ASKED, "model": "nobody"}, (404, "UnknownModel")),
    ],
)  # fmt: skip
def test_a_bad_request_is_rejected_before_the_engine(site: RunningServer, body: Any, named: tuple[int, str]) -> None:
    assert site.error(ASK, body)[:2] == named and site.engine.asked == []


@pytest.mark.parametrize(
    "given",
    ["Host: evil.example:80", "Host: 127.0.0.1", "Origin: http://evil.example", "Origin: null", "Origin: https://127.0.0.1:PORT"],
)  # fmt: skip
def test_requests_from_other_sites_are_rejected(site: RunningServer, given: str) -> None:
    header, _, value = given.replace("PORT", str(site.port)).partition(": ")
    for path, body in ((ASK, ASKED), ("/captune/end", {}), ("/", None), ("/captune/state", None)):
        assert site.error(path, body, **{header: value})[:2] == (403, "OtherOrigin")
    assert not site.engine.asked and not site.engine.ended
    own = {"Host": f"localhost:{site.port}", "Origin": f"http://localhost:{site.port}"}
    assert site.call(ASK, ASKED, **own)[0] == 200


def raw(site: RunningServer, **asked: Any) -> socket.socket:
    """A connection on which a completion is asked for, and nothing was read yet."""
    body = json.dumps(asked)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # who reads nothing fills it soon
    connection.settimeout(PATIENCE_SECONDS)
    connection.connect(("127.0.0.1", site.port))
    head = f"POST {ASK} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall((head + body).encode())
    return connection


def test_models_and_paths_are_answered_as_openais_clients_read_them(site: RunningServer) -> None:
    client = openai.OpenAI(base_url=f"{site.url}/v1", api_key="none", max_retries=0)
    assert client.models.retrieve(DOMAIN).id == DOMAIN
    with pytest.raises(openai.NotFoundError, match="There is no model 'gpt'") as caught:
        client.models.retrieve("gpt")
    assert caught.value.type == "UnknownModel"
    for path, body, status in (("/v1/embeddings", {}, 404), ("/nothing", None, 404), (ASK, None, 405)):
        assert site.error(path, body)[:2] == (status, "UnknownPath")
    site.engine.refusal = AnswerFailed(400, "BadRequestError", "no", "tools")
    assert json.loads(site.call(ASK, ASKED)[1])["error"]["param"] == "tools"


def test_a_client_that_leaves_before_its_whole_answer_is_known_to_have_left(site: RunningServer) -> None:
    heard, left = threading.Event(), list[bool]()

    def ask(path: str, body: bytes, stream: bool, gone: threading.Event) -> Pieces:
        heard.set()
        left.append(gone.wait(60))
        raise ClientLeft(499, "ClientLeft", "The client has left.")

    site.engine.ask = ask
    for stream in (False, True):
        with raw(site, **ASKED, stream=stream):
            assert heard.wait(60)
        heard.clear()
    assert site.call("/captune/state")[0] == 200
    while len(left) < 2:
        time.sleep(0.01)
    assert left == [True, True]


def test_a_client_that_leaves_ends_its_answer(site: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TEXTS, "base", f" {'word' * 5_000}" * 2_000)
    with raw(site, model="base", prompt="A gene is", stream=True) as leaving:
        leaving.recv(1000)
    assert site.engine.closed.wait(PATIENCE_SECONDS)


def test_a_key_of_aws_is_in_no_answer_and_no_log(
    site: RunningServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO):
        for error in (refusal("SignatureDoesNotMatch", f"Credential={KEY}/20261129"), AnswerFailed(503, "Busy", KEY)):
            site.engine.refusal = error
            status, _, message = site.error(ASK, ASKED)
            assert status == 503 and KEY not in message
    assert KEY not in caplog.text + "".join(capfd.readouterr())


class Runtime(Service):
    """SageMaker's runtime: the model server behind it goes by the route, as AWS's images do."""

    name = "sagemaker-runtime"

    def _answer(self, request: dict[str, Any]) -> bytes:
        routed = request["CustomAttributes"] in (ROUTE, CHAT_ROUTE)
        model = json.loads(request["Body"])["model"] if routed else "base"
        return json.dumps({"model": model, "choices": [{"index": 0, "text": TEXTS[model]}]}).encode()

    def on_invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        return {"Body": io.BytesIO(self._answer(request))}

    def on_invoke_endpoint_with_response_stream(self, **request: Any) -> dict[str, Any]:
        sent = b"data: " + self._answer(request) + b"\n\ndata: [DONE]\n\n"
        return {"Body": ({"PayloadPart": {"Bytes": part}} for part in (sent[:9], sent[9:]))}


def in_account(name: str = RUN, status: str = "InService") -> FakeSession:
    """An account with an endpoint that was made half an hour ago and ends in another one."""
    ends = f"at({NOW + timedelta(minutes=30):%Y-%m-%dT%H:%M:%S})"
    sagemaker = SageMaker(endpoints={name: status})
    sagemaker.created = NOW - timedelta(minutes=30)
    return FakeSession(**{
        "sagemaker": sagemaker, "stepfunctions": StepFunctions(), "sagemaker-runtime": Runtime(),
        "scheduler": Answers("scheduler", get_schedule={"ScheduleExpression": ends}),
    })  # fmt: skip


def behind(account: FakeSession, **plan: Any) -> Deployed:
    return Deployed(account, {**PLAN, **plan}, TEAR_DOWN)


def test_the_endpoint_of_a_run_answers_as_both_models(monkeypatch: pytest.MonkeyPatch) -> None:
    account = in_account()
    with serving(behind(account)) as site:
        for model in ("base", DOMAIN):
            assert TEXTS[model] in site.call(ASK, {**ASKED, "model": model})[1]
            assert site.events(model)[0]["choices"][0]["text"] == TEXTS[model]
        request = account.services["sagemaker-runtime"].called("invoke_endpoint")[0]
        assert (request["EndpointName"], request["CustomAttributes"]) == (RUN, ROUTE)
        monkeypatch.setattr(engines, "ROUTE", "none")
        for stream in (False, True):
            status, name, message = site.error(ASK, {**ASKED, "stream": stream})
            assert (status, name) == (502, "AdapterNotServed") and TEXTS["base"] not in message
            assert site.call(ASK, {**ASKED, "model": "base", "stream": stream})[0] == 200


def of_model(status: int, message: str) -> ClientError:
    return refusal("ModelError", OriginalStatusCode=status, OriginalMessage=message)


@pytest.mark.parametrize(
    ("error", "named", "said"),
    [
        (of_model(400, '{"error": {"message": "too long", "type": "BadRequestError"}}'), (400, "BadRequestError"), "too long"),
        (of_model(400, '{"error": {"message": "you must provide a chat template"}}'), (400, "NoChatTemplate"), ASK),
        (of_model(500, "no JSON"), (500, "EndpointAnsweredBadly"), "no JSON"),
        (refusal("ModelError"), (504, "TooSlow"), "max_tokens"),
        (refusal("ValidationError", f"Endpoint {RUN} of account 1 not found."), (410, "NoEndpoint"), "captune serve"),
        (refusal("ThrottlingException", "Rate exceeded"), (503, "ThrottlingException"), "Rate exceeded"),
        (EndpointConnectionError(endpoint_url="https://x"), (503, "ServiceUnreachable"), "Ask again"),
    ],
)  # fmt: skip
def test_what_sagemaker_says_has_a_name_and_a_fix(error: Exception, named: tuple[int, str], said: str) -> None:
    account = in_account()
    with serving(behind(account)) as site:
        for stream, operation in ((False, "invoke_endpoint"), (True, "invoke_endpoint_with_response_stream")):
            account.services["sagemaker-runtime"].troubles[operation] = [error]
            status, kind, message = site.error(ASK, {**ASKED, "stream": stream})
            assert (status, kind) == named and said in message


def test_the_state_tells_cost_and_minutes_and_the_end_starts_the_tear_down() -> None:
    account = in_account()
    with serving(behind(account)) as site:
        state = json.loads(site.call("/captune/state")[1])
        assert (state["running"], state["cost"], state["minutes_left"]) == (True, "$0.76 for the endpoint so far", 30)
        assert "TearDown has started" in site.call("/captune/end", {})[1]
        (started,) = account.services["stepfunctions"].started
        told = {"runName": RUN, "executionArn": PLAN["executionArn"], "reason": "person"}
        assert (started["machine"], json.loads(started["input"])) == (TEAR_DOWN, told)
        account.services["sagemaker"].endpoints[RUN] = "Deleting"
        assert json.loads(site.call("/captune/state")[1])["running"] is False


@pytest.mark.parametrize(
    "endpoint", [(RUN, "Deleting"), (f"{RUN}-try0", "InService"), ("captune-onemore", "InService")]
)
def test_a_run_without_an_endpoint_is_told_how_to_get_one(endpoint: tuple[str, str]) -> None:
    with pytest.raises(Refused, match=f"captune serve {RUN}$"):
        behind(in_account(*endpoint))


def test_what_the_command_cannot_use_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*words: object) -> str:
        code, text = said("use", *words, "--results", tmp_path, "--port", 0)
        assert code == 1
        return text

    account = deployed()
    account.services |= in_account(status="Deleting").services | {"s3": RunBucket({RUN: files_of_run()})}
    monkeypatch.setattr(boto3, "Session", lambda region_name: account)
    assert "no run captune-nobody" in told("nobody")
    assert "no endpoint in service" in told("one")
    account.services["cloudformation"].outputs.clear()
    plan = tmp_path / RUN / "plan.json"
    plan.parent.mkdir()
    plan.write_bytes(files_of_run()["plan.json"])
    assert f"There are: {RUN}" in told("oone")
    assert f"captune fetch {RUN}" in told("one", "--base", tmp_path)
    plan.write_bytes(files_of_run(executionArn=f"x:{REHEARSED_ACCOUNT}:y")["plan.json"])
    assert "has left no adapter" in told(RUN)
    kept_here(tmp_path, {"name": weights.NAME}, executionArn=f"x:{REHEARSED_ACCOUNT}:y")

    def missing(cache: Path) -> Path:
        raise weights.CannotRun("The small model is not installed. Run: make setup")

    monkeypatch.setattr(weights, "ensure_weights", missing)
    assert "Run: make setup" in told(RUN)
    plan.write_text("{}")
    assert "is not the plan of a run" in told(plan.parent)


def test_a_port_that_is_taken_is_told() -> None:
    with listening(0) as taken, pytest.raises(Refused, match="cannot be used .*--port 0"):
        listening(taken.getsockname()[1])


def test_a_number_that_is_no_port_is_told() -> None:
    for port in (80_000, -1):
        with pytest.raises(Refused, match=f"{port} is no port. Choose one from 1024 to 65535"):
            listening(port)


@pytest.mark.parametrize(
    ("planned", "said", "not_said"),
    [
        ("Llama 2 7B", "stands in for Llama 2 7B. It may answer messages, which an endpoint rejects", "nothing"),
        ("Llama 2 7B Chat", "stands in for Llama 2 7B Chat. A whole answer", "messages"),
        (weights.NAME, "A whole answer may take as long as it needs", "stands in"),
    ],
)
def test_the_command_tells_how_the_proxy_model_differs(tmp_path: Path, planned: str, said: str, not_said: str) -> None:
    folder = kept_here(tmp_path, {"name": weights.NAME})
    words = proxy_words(KeptRun(folder, {**PLAN, "baseModel": {"name": planned}}))
    assert said in words and not_said not in words and "60 seconds" in words
