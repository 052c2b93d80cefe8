"""What answers behind `captune use`: the endpoint of a run in your account, or a model server on this machine."""

import http.client
import json
import re
import select
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EventStreamError
from urllib3.exceptions import HTTPError

from ask.questions import CHAT_ROUTE, ROUTE
from captune.account import Refused
from captune.kept_run import KeptRun
from captune.serving import ENDING, start_tear_down
from common import aws, clock, resources
from common.architecture import CONFIGURATION
from common.contracts import run_folder
from stacks.configuration.images import server_lora_rank

BASE, CHAT_PATH = "base", "/v1/chat/completions"
START_SECONDS, ANSWER_SECONDS = 900, 480
LOOK_SECONDS = 0.2  # between two looks whether the client has left
# SageMaker gives a whole answer 60 seconds.
PATIENCE = Config(retries={"total_max_attempts": 2}, connect_timeout=5, read_timeout=70, max_pool_connections=50)
BROKEN = (BotoCoreError, EventStreamError, HTTPError, http.client.HTTPException, OSError)  # a connection
Pieces = Generator[bytes, None, None]  # of an answer, of any size, as they come; closing it ends the answer


class AnswerFailed(Exception):
    """A request that gets an error; `kind` names it, `status` is that of the HTTP answer, `parameter` is the member at fault."""

    def __init__(self, status: int, kind: str, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.parameter = status, kind, parameter


class ClientLeft(AnswerFailed):
    """The client has left before its answer was whole."""


class Engine(Protocol):
    """A server of a base model and a tuned one."""

    def ask(self, path: str, body: bytes, stream: bool, left: threading.Event) -> Pieces:
        """Put a completion request; `left` is set when its client has left, before or while it is answered. Raises AnswerFailed."""

    def state(self) -> dict[str, Any]:
        """Where it runs, whether it is running, its cost so far and the minutes left."""

    def end(self) -> str:
        """End it now; returns a sentence on what happens."""


def route_of(path: str) -> str:
    """The custom attributes that take a request to the path, where the body's model counts."""
    return CHAT_ROUTE if path == CHAT_PATH else ROUTE


class Deployed:
    """The endpoint of a run in an AWS account, which the state machine `tear_down` ends. Raises Refused where none is in service."""

    def __init__(self, session: Any, plan: dict[str, Any], tear_down: str) -> None:
        self._runtime = session.client("sagemaker-runtime", config=PATIENCE)
        self._clients = {name: session.client(name) for name in ("sagemaker", "scheduler", "stepfunctions")}
        self._plan, self._tear_down, self._run = plan, tear_down, str(plan["runName"])
        if not self.state()["running"]:
            raise Refused(self._absent())

    def _absent(self) -> str:
        return (
            f"The run {self._run} has no endpoint in service: it is not there yet, or was deleted, at the end of its minutes or by hand. To ask its models "
            f"again: captune serve {self._run}"
        )

    def ask(self, path: str, body: bytes, stream: bool, left: threading.Event) -> Pieces:
        """See `Engine`. SageMaker ends no answer before it is whole."""
        call = self._runtime.invoke_endpoint_with_response_stream if stream else self._runtime.invoke_endpoint
        request = {"EndpointName": self._run, "ContentType": "application/json", "Body": body}
        try:
            answer = call(**request, CustomAttributes=route_of(path))["Body"]
        except ClientError as error:
            raise self._explained(error) from error
        except BotoCoreError as error:
            message = f"The endpoint {self._run} did not answer: {error}. Ask again."
            raise AnswerFailed(503, "ServiceUnreachable", message) from error
        return (_parts if stream else _whole)(answer)

    def _explained(self, error: ClientError) -> AnswerFailed:
        code, message = aws.error_code(error), aws.error_message(error)
        status = int(error.response.get("OriginalStatusCode") or 0)
        if code == "ModelError" and status:
            return _refusal(status, str(error.response.get("OriginalMessage") or message).encode())
        if code == "ModelError":
            slow = "No answer within 60 seconds. Ask for fewer max_tokens, or with stream=true."
            return AnswerFailed(504, "TooSlow", slow)
        if "not found" in message:
            return AnswerFailed(410, "NoEndpoint", self._absent())
        return AnswerFailed(503, code, f"SageMaker did not take the request: {message}")

    def state(self) -> dict[str, Any]:
        """See `Engine`."""
        found = resources.find_all(self._clients["sagemaker"], resources.ENDPOINT, self._run, "InService")
        mine = [one for one in found if one.name == self._run]  # an endpoint has its run's name
        now = clock.now()
        hours = sum((now - one.created).total_seconds() for one in mine) / 3600
        cost = f"${hours * float(self._plan['budget']['hostingHourlyUsd']):.2f} for the endpoint so far"
        where = f"the endpoint {self._run} in your account"
        return {"where": where, "running": bool(mine), "cost": cost, "minutes_left": self._minutes_left(now)}

    def _minutes_left(self, now: datetime) -> int | None:
        """Until the schedule ends the endpoint; None where that cannot be read."""
        try:
            told = str(self._clients["scheduler"].get_schedule(Name=self._run)["ScheduleExpression"])
            ends = datetime.fromisoformat(re.sub(r"at\((.+)\)", r"\1", told)).replace(tzinfo=UTC)
        except (ClientError, BotoCoreError, ValueError):
            return None
        return max(0, int((ends - now).total_seconds() // 60))

    def end(self) -> str:
        """See `Engine`: starts TearDown, as the schedule does."""
        arn = str(self._plan["executionArn"])
        start_tear_down(self._clients["stepfunctions"], self._tear_down, self._run, arn, clock.now())
        return f"TearDown has started for {self._run}. {ENDING}"


class Here:
    """A model server here with a run's adapter on `weights`. `program` plays the container. Raises Refused."""

    def __init__(self, run: KeptRun, weights: Path, program: Any) -> None:
        from rehearsal.sagemaker.real.container import Container, environment_of

        adapter = run.adapter().resolve()
        refuse_other_base(adapter, weights)
        self._run, self._ended = run.name, False
        self.folder = tempfile.TemporaryDirectory(prefix="captune-use-")
        root = Path(self.folder.name)
        (root / "model").symlink_to(weights.resolve())
        rank = json.loads((adapter / run_folder.ADAPTER_CONFIGURATION).read_bytes())["r"]
        module = {"name": run.domain, "path": str(adapter), "base_model_name": BASE}
        # As the state machine sets them for the container.
        settings = {
            "MODEL": "/opt/ml/model", "SERVED_MODEL_NAME": BASE, "ENABLE_LORA": "true", "MAX_LORAS": "2", "LORA_MODULES": json.dumps(module),
            "MAX_LORA_RANK": str(server_lora_rank(rank)), "MAX_MODEL_LEN": str(run.plan["hosting"]["maxModelTokens"]),
            "DTYPE": "bfloat16", "MAX_NUM_SEQS": "16", "GENERATION_CONFIG": "vllm",
        }  # fmt: skip
        variables = {f"SM_VLLM_{name}": value for name, value in settings.items()}
        environment = environment_of(variables, root, isolated=True)
        start = program.start(root, environment)
        self._port_file = start.port_file
        self._container = Container(
            start.command, environment | start.environment, root, root / "engine.log", lambda line: None
        )

    def wait(self) -> None:
        """Return when the server answers. Raises Refused."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and not self._container.ended.wait(0.2):
            try:
                if self._send("GET", "/ping", b"", {}).status == 200:
                    return
            except (*BROKEN, ValueError):
                continue
        self.end()
        said = self._container.last_line or "it said nothing"
        raise Refused(
            f"The model server did not start: {said}. End other programs if memory is short, or fetch or rehearse the run again."
        )

    def _send(
        self, method: str, path: str, body: bytes, headers: dict[str, str], left: threading.Event | None = None
    ) -> http.client.HTTPResponse:
        """Send a request and wait for the first bytes of its answer. Raises ClientLeft."""
        port = int(self._port_file.read_text())
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
        # Its end is then the end of the connection, which the server notices.
        connection.request(method, path, body, {**headers, "Connection": "close"})
        deadline = time.monotonic() + ANSWER_SECONDS
        while left is not None and not select.select([connection.sock], [], [], LOOK_SECONDS)[0]:
            if time.monotonic() > deadline:
                connection.close()
                raise TimeoutError(f"no answer within {ANSWER_SECONDS} seconds")
            if left.is_set():
                connection.close()
                raise ClientLeft(499, "ClientLeft", "The client has left.")
        return connection.getresponse()

    def ask(self, path: str, body: bytes, stream: bool, left: threading.Event) -> Pieces:
        """See `Engine`."""
        from rehearsal.sagemaker.vllm.routing import CUSTOM_ATTRIBUTES, INVOCATIONS

        headers = {"Content-Type": "application/json", CUSTOM_ATTRIBUTES: route_of(path)}
        again = f"Start it again: captune use {self._run}"
        if self._ended:
            raise AnswerFailed(410, "NoEndpoint", f"The model server was ended. {again}")
        try:
            answer = self._send("POST", INVOCATIONS, body, headers, left)
            refused = answer.read() if answer.status >= 400 else b""
        except BROKEN as error:
            message = f"The model server does not answer ({error!r}). {again}"
            raise AnswerFailed(503, "EngineFailed", message) from error
        if answer.status >= 400:
            raise _refusal(answer.status, refused)
        return _pieces(answer)

    def state(self) -> dict[str, Any]:
        """See `Engine`."""
        running = not self._ended and not self._container.ended.is_set()
        return {"where": "this machine", "running": running, "cost": "It costs nothing", "minutes_left": None}

    def end(self) -> str:
        """See `Engine`: ends the server and removes its folder."""
        self._ended = True
        self._container.terminate()
        if not self._container.ended.wait(10):
            self._container.kill()
            self._container.ended.wait()
        self.folder.cleanup()
        return "The model server has ended. Nothing of it is left on this machine but the run's own folder."


def _pieces(answer: http.client.HTTPResponse) -> Pieces:
    with closing(answer):  # where a client leaves, this ends the answer at the server
        while piece := answer.read1(65536):
            yield piece


def _whole(body: Any) -> Pieces:
    yield body.read()


def _parts(events: Any) -> Pieces:
    with closing(events):
        for event in events:
            if "PayloadPart" in event:
                yield event["PayloadPart"]["Bytes"]


def _refusal(status: int, body: bytes) -> AnswerFailed:
    """What the model server says of a request, as it is; without a chat template it is hard to understand."""
    try:
        error = json.loads(body)["error"]
        kind, message, parameter = str(error.get("type")), str(error["message"]), error.get("param")
    except (ValueError, KeyError, TypeError, AttributeError):
        kind, message, parameter = "EndpointAnsweredBadly", body[:300].decode(errors="replace"), None
    if "chat template" in message:
        message = "This model has no chat template, so it takes no messages. Send a prompt to /v1/completions."
        return AnswerFailed(400, "NoChatTemplate", message)
    return AnswerFailed(status, kind, message, parameter)


def refuse_other_base(adapter: Path, weights: Path) -> None:
    """Raises Refused where a folder of weights is not the model that the adapter was trained on, as far as its shape tells."""
    trained_on = json.loads((adapter / run_folder.METRICS).read_bytes()).get("base_model") or {}
    try:
        found = json.loads((weights / CONFIGURATION).read_bytes())
    except (OSError, ValueError) as error:
        raise Refused(f"{weights} holds no model ({error}). Name the folder with config.json: --base FOLDER") from error
    shape = {"hidden_size": found.get("hidden_size"), "layers": found.get("num_hidden_layers")}
    shape["architecture"] = (found.get("architectures") or [""])[0]
    differing = [
        f"{one} {trained_on[one]} and not {is_}" for one, is_ in shape.items() if trained_on.get(one, is_) != is_
    ]
    if differing:
        other = f"The adapter was trained on {trained_on.get('name')}, not on the model in {weights}"
        raise Refused(f"{other}: {', '.join(differing)}.")
