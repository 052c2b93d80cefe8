"""What answers behind `captune use`: the endpoint of a run in your account, or a model server on this machine."""

from __future__ import annotations

import http.client
import json
import re
import tempfile
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EventStreamError
from urllib3.exceptions import HTTPError

from ask.questions import CHAT_ROUTE, ROUTE
from captune.account import Refused
from captune.kept_run import KeptRun
from common import aws, resources
from common.architecture import CONFIGURATION
from common.contracts import run_folder
from common.names import attempt_names

CHAT_PATH = "/v1/chat/completions"
BASE = "base"
START_SECONDS, ANSWER_SECONDS = 900, 480
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # for which vLLM makes room
_DEADLINE = re.compile(r"at\((.+)\)")
BROKEN = (BotoCoreError, EventStreamError, HTTPError, http.client.HTTPException, OSError)


class NoEndpoint(Refused):
    """The run has no endpoint in service, or none any more."""


class OtherBase(Refused):
    """The adapter was trained on another base model than the folder holds."""


class EngineFailed(Refused):
    """The model server on this machine did not start, or ended."""


class AnswerFailed(Exception):
    """A request that gets an error; `kind` names it, `status` is that of the HTTP answer."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


Pieces = Generator[bytes, None, None]  # of an answer, of any size, as they come; closing it ends the answer


class Engine(Protocol):
    """A server of a base model and a tuned one."""

    def ask(self, path: str, body: bytes, stream: bool) -> Pieces:
        """Put a completion request. Raises AnswerFailed."""

    def state(self) -> dict[str, Any]:
        """Where it runs, whether it still does, what it has cost and how long it stays."""

    def end(self) -> str:
        """End it now; a sentence that says what happens."""


def _gone(what: str) -> AnswerFailed:
    return AnswerFailed(410, NoEndpoint.__name__, what)


def route_of(path: str) -> str:
    """The custom attributes that take a request to the path, where the body's model counts."""
    return CHAT_ROUTE if path == CHAT_PATH else ROUTE


class Deployed:
    """The endpoint of a run in an AWS account. Raises NoEndpoint where none is in service.

    Args:
        session: a boto3 session.
        plan: the run's.
        tear_down: the ARN of the state machine that ends a run.
    """

    def __init__(self, session: Any, plan: dict[str, Any], tear_down: str) -> None:
        patience = Config(
            retries={"total_max_attempts": 2}, connect_timeout=5, read_timeout=70, max_pool_connections=50
        )
        self._runtime = session.client("sagemaker-runtime", config=patience)
        self._clients = {name: session.client(name) for name in ("sagemaker", "scheduler", "stepfunctions")}
        self._plan, self._tear_down, self._run = plan, tear_down, str(plan["runName"])
        self._named = ""
        self._state: dict[str, Any] = {}
        self._asked_at = 0.0
        self.state()
        if not self._named:
            raise NoEndpoint(self._absent())

    def _absent(self) -> str:
        uri = run_folder.adapter_uri(str(self._plan["bucket"]), self._run, self._run)
        return (
            f"The run {self._run} has no endpoint in service: it was deleted at the end of its minutes, or by a person. To ask its models again, start "
            f"FineTuning with {json.dumps({'adapterUri': self._plan.get('adapterUri') or uri, 'keepEndpointMinutes': 60})}, and use the new run."
        )

    def ask(self, path: str, body: bytes, stream: bool) -> Pieces:
        """See `Engine`."""
        call = self._runtime.invoke_endpoint_with_response_stream if stream else self._runtime.invoke_endpoint
        attributes = {"CustomAttributes": route_of(path)}
        try:
            answer = call(EndpointName=self._named, ContentType="application/json", Body=body, **attributes)
        except ClientError as error:
            raise self._explained(error) from error
        except BotoCoreError as error:
            raise AnswerFailed(
                503, "ServiceUnreachable", f"The endpoint {self._named} did not answer: {error}. Ask again."
            ) from error
        return _parts(answer["Body"]) if stream else _pieces(answer["Body"])

    def _explained(self, error: ClientError) -> AnswerFailed:
        code, message = aws.error_code(error), aws.error_message(error)
        status = int(error.response.get("OriginalStatusCode") or 0)
        if code == "ModelError" and status:
            return _refusal(status, str(error.response.get("OriginalMessage") or message).encode())
        if code == "ModelError":
            return AnswerFailed(
                504, "TooSlow", "SageMaker gives an answer 60 seconds. Ask for fewer max_tokens, or with stream=true."
            )
        if aws.is_missing(error) or "not found" in message:
            return _gone(self._absent())
        return AnswerFailed(503, code or "ServiceUnreachable", f"SageMaker did not take the request: {message}")

    def state(self) -> dict[str, Any]:
        """See `Engine`. AWS is asked every ten seconds at most."""
        if time.monotonic() - self._asked_at > 10 or not self._state:
            self._asked_at = time.monotonic()
            found = resources.find_all(self._clients["sagemaker"], resources.ENDPOINT, self._run, "InService")
            mine = [one for one in found if one.name in attempt_names(self._run)]
            now = datetime.now(UTC)
            hours = sum((now - one.created).total_seconds() for one in mine) / 3600
            price = float(self._plan["budget"]["hostingHourlyUsd"])
            self._named = mine[0].name if mine else self._named
            self._state = {
                "where": f"the endpoint {self._named} in your account",
                "running": bool(mine),
                "cost": f"${hours * price:.2f} for the endpoint so far" if mine else "",
                "minutes_left": self._minutes_left(now) if mine else 0,
            }
        return self._state

    def _minutes_left(self, now: datetime) -> int | None:
        """Until the schedule ends the endpoint; None where that cannot be read."""
        try:
            told = _DEADLINE.fullmatch(self._clients["scheduler"].get_schedule(Name=self._run)["ScheduleExpression"])
            ends = datetime.fromisoformat(told[1]).replace(tzinfo=UTC) if told else now
        except (ClientError, BotoCoreError, ValueError):
            return None
        return max(0, int((ends - now).total_seconds() // 60))

    def end(self) -> str:
        """See `Engine`: starts TearDown, as the schedule does."""
        told = {"runName": self._run, "executionArn": self._plan["executionArn"], "reason": "person"}
        name = f"end-{self._run}-{int(time.time())}"
        self._clients["stepfunctions"].start_execution(
            stateMachineArn=self._tear_down, name=name, input=json.dumps(told)
        )
        self._state = {}
        return f"TearDown has started: it deletes {self._named} and settles the run's cost. An e-mail tells when it is done."


@dataclass
class Here:
    """A model server on this machine, with the run's adapter. Raises NoAdapter, OtherBase and EngineFailed.

    Args:
        weights: the folder of the base model.
        program: what plays the container (rehearsal.sagemaker.real.programs).
    """

    run: KeptRun
    weights: Path
    program: Any
    _ended: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        from rehearsal.sagemaker.real.container import Container, environment_of

        adapter = self.run.adapter().resolve()
        refuse_other_base(adapter, self.weights)
        self._folder = tempfile.TemporaryDirectory(prefix="captune-use-")
        root = Path(self._folder.name)
        (root / "model").symlink_to(self.weights.resolve())
        settings = environment_of(self._settings(adapter), root, isolated=True)
        start = self.program.start(root, settings)
        log = root / "engine.log"
        self._container = Container(start.command, settings | start.environment, root, log, lambda line: None)
        self._port_file = start.port_file

    def _settings(self, adapter: Path) -> dict[str, str]:
        """The container's variables, as the state machine sets them."""
        rank = json.loads((adapter / run_folder.ADAPTER_CONFIGURATION).read_bytes())["r"]
        module = {"name": self.run.domain, "path": str(adapter), "base_model_name": BASE}
        return {
            "SM_VLLM_MODEL": "/opt/ml/model", "SM_VLLM_SERVED_MODEL_NAME": BASE, "SM_VLLM_ENABLE_LORA": "true", "SM_VLLM_MAX_LORAS": "2",
            "SM_VLLM_MAX_LORA_RANK": str(next(room for room in _RANKS if room >= rank)), "SM_VLLM_LORA_MODULES": json.dumps(module),
            "SM_VLLM_MAX_MODEL_LEN": str(self.run.plan["hosting"]["maxModelTokens"]), "SM_VLLM_DTYPE": "bfloat16",
            "SM_VLLM_MAX_NUM_SEQS": "16", "SM_VLLM_GENERATION_CONFIG": "vllm",
        }  # fmt: skip

    def wait(self) -> None:
        """Return when the server answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and not self._container.ended.wait(0.2):
            try:
                if self._send("GET", "/ping", b"", {}).status == 200:
                    return
            except (*BROKEN, ValueError):
                continue
        self.close()
        raise EngineFailed(
            f"The model server did not start: {self._container.last_line or 'it said nothing'}. Is there memory enough for the model?"
        )

    def _send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> http.client.HTTPResponse:
        port = int(self._port_file.read_text())
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
        connection.request(method, path, body, headers)
        return connection.getresponse()

    def ask(self, path: str, body: bytes, stream: bool) -> Pieces:
        """See `Engine`."""
        from rehearsal.sagemaker.vllm.routing import CUSTOM_ATTRIBUTES, INVOCATIONS

        if self._ended:
            raise _gone("The engine was ended. Start it again: captune use " + self.run.name)
        try:
            answer = self._send(
                "POST", INVOCATIONS, body, {"Content-Type": "application/json", CUSTOM_ATTRIBUTES: route_of(path)}
            )
            if answer.status >= 400:
                raise _refusal(answer.status, answer.read())
        except (*BROKEN, ValueError) as error:
            raise AnswerFailed(
                503, EngineFailed.__name__, f"The engine does not answer ({error!r}). Start captune use again."
            ) from error
        return _pieces(answer)

    def state(self) -> dict[str, Any]:
        """See `Engine`."""
        running = not self._ended and not self._container.ended.is_set()
        return {"where": "this machine", "running": running, "cost": "It costs nothing", "minutes_left": None}

    def end(self) -> str:
        """See `Engine`."""
        self.close()
        return "The engine has ended. Nothing of it is left on this machine but the run's own folder."

    def close(self) -> None:
        """End the server and remove its folder."""
        self._ended = True
        self._container.terminate()
        if not self._container.ended.wait(10):
            self._container.kill()
            self._container.ended.wait()
        self._folder.cleanup()


def _pieces(answer: Any) -> Pieces:
    with closing(answer):
        while piece := answer.read1(65536) if hasattr(answer, "read1") else answer.read():
            yield piece


def _parts(events: Any) -> Pieces:
    with closing(events):
        for event in events:
            if "PayloadPart" in event:
                yield event["PayloadPart"]["Bytes"]


def _refusal(status: int, body: bytes) -> AnswerFailed:
    """What the model server says of a request, as it is; without a chat template it is hard to understand."""
    try:
        error = json.loads(body)["error"]
        kind, message = str(error.get("type")), str(error["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        kind, message = "EndpointAnsweredBadly", body[:300].decode(errors="replace")
    if "chat template" in message:
        return AnswerFailed(
            400,
            "NoChatTemplate",
            "This model has no chat template, so it takes no messages. Send a prompt to /v1/completions.",
        )
    return AnswerFailed(status, kind, message)


def refuse_other_base(adapter: Path, weights: Path) -> None:
    """Raises OtherBase where a folder of weights is not the model that the adapter was trained on, as far as its shape tells."""
    made_for = json.loads((adapter / run_folder.METRICS).read_bytes()).get("base_model") or {}
    try:
        found = json.loads((weights / CONFIGURATION).read_bytes())
    except (OSError, ValueError) as error:
        raise OtherBase(
            f"{weights} holds no model ({error}). Give the folder with config.json and the weights: --base FOLDER"
        ) from error
    shape = {
        "architecture": (found.get("architectures") or [""])[0],
        "hidden_size": found.get("hidden_size"),
        "layers": found.get("num_hidden_layers"),
    }
    differing = [
        f"{name} {made_for[name]} and not {value}"
        for name, value in shape.items()
        if made_for.get(name, value) != value
    ]
    if differing:
        raise OtherBase(
            f"The adapter was trained on {made_for.get('name')}, and {weights} holds another model: it has {', '.join(differing)}."
        )
