"""Endpoints for real: behind each the rehearsal's own model server or the real vLLM, a process on this machine."""

import http.client
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from rehearsal.sagemaker import s3_folders
from rehearsal.sagemaker.engines import PING, START_LIMIT, Answer, HostingEngine, InvocationTimedOut
from rehearsal.sagemaker.store import Endpoint
from rehearsal.sagemaker.validation import model_sources
from rehearsal.sagemaker.vllm import routing
from rehearsal.sagemaker.vllm.routing import CUSTOM_ATTRIBUTES, INVOCATIONS

from .container import Container, environment_of, free_port, signal_of

_PROJECT = Path(__file__).resolve().parents[3]
_PREFIX = "SM_VLLM_"
_SERVER = "rehearsal.sagemaker.real.server.model_server"
# vLLM's own variables that this machine needs and a container of AWS does not. The first is in GiB: room for the keys and values
# of the longest context and of many short answers. Without it the CPU build takes half of the memory.
ON_THIS_MACHINE = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True)
class Start:
    """How a program is started: its command, its additions to the container's environment, and the file with its port."""

    command: list[str]
    environment: dict[str, str]
    port_file: Path


class Program(Protocol):
    """A model server with the container's contract."""

    def start(self, root: Path, environment: Mapping[str, str]) -> Start:
        """Return how it starts in the folder that plays /opt/ml, with the container's environment rewritten to it."""


class OwnServer:
    """transformers and PEFT behind the contract of vLLM: `server.model_server`."""

    def start(self, root: Path, environment: Mapping[str, str]) -> Start:
        """See `Program`."""
        port_file = root / "port"
        # Two cores are shared with the rest of the rehearsal: threads that wait must sleep and not spin.
        own = {"PYTHONPATH": str(_PROJECT), "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "20000"}
        return Start([sys.executable, "-m", _SERVER, str(root / "model"), str(port_file)], own, port_file)


class Vllm:
    """The real vLLM, started as AWS's images start it; `dtype` is the number format to compute in, None for that of the container's environment."""

    def __init__(self, python: Path, dtype: str | None = None) -> None:
        self._python, self.dtype = python, dtype

    @classmethod
    def on_this_machine(cls, python: Path) -> Self:
        """Return the server with the number format in which this processor can answer within SageMaker's 60 seconds.

        On a processor without bfloat16 instructions, 40 answers of 64 tokens at once took 76 s in it and 14 s in float32.
        """
        # As training measures it, and in a process of its own: torch stays out of this one.
        measure = [sys.executable, "-m", "model.precision"]
        fast = subprocess.run(measure, cwd=_PROJECT / "training", capture_output=True, text=True, check=True).stdout
        return cls(python, dtype=None if fast.strip() == "bfloat16" else "float32")

    def start(self, root: Path, environment: Mapping[str, str]) -> Start:
        """See `Program`. The port is one that is free now: vLLM cannot report which one it took."""
        package = root / "server" / "captune_route"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        shutil.copy(str(routing.__file__), package)
        port_file = root / "port"
        port = str(free_port())
        port_file.write_text(port)
        wanted = environment if self.dtype is None else {**environment, f"{_PREFIX}DTYPE": self.dtype}
        words = ["-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", port]
        words += [*arguments_of(wanted), "--middleware", "captune_route.routing.RouteMiddleware"]
        # Its sockets lie outside the container's folder: their names may have 107 characters in all.
        own = {"PYTHONPATH": str(package.parent), "VLLM_RPC_BASE_PATH": tempfile.gettempdir()}
        return Start([str(self._python), *words], ON_THIS_MACHINE | own, port_file)


def arguments_of(environment: Mapping[str, str]) -> list[str]:
    """Return the command line that AWS's images make of a container's environment: SM_VLLM_MAX_MODEL_LEN=8 is --max-model-len 8.

    "true" is the flag alone and "false" no flag; anything else is one word. Read in scripts/docker/vllm/sagemaker_args.py
    (aws/deep-learning-containers, e0ecede), whose rules for arrays, for several objects in a row and for a model that no
    variable names are left out here, as the project uses none of them.
    """
    words: list[str] = []
    for name, value in sorted(environment.items()):
        meaning = value.strip().lower()
        if name.startswith(_PREFIX) and meaning != "false":
            words.append("--" + name.removeprefix(_PREFIX).lower().replace("_", "-"))
            if meaning and meaning != "true":
                words.append(value)
    return words


INVOCATION_LIMIT = 60  # seconds within which a container must answer InvokeEndpoint
STOP_LIMIT = 10  # seconds that a server has to end by itself
LOOK_SECONDS = 0.1  # between two looks whether a server has started or ended


class _Server:
    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.container: Container | None = None
        self.port = 0
        self.thread: threading.Thread | None = None


class ModelHost(HostingEngine):
    """Runs each endpoint's model server, the rehearsal's own when left out, as a subprocess in a separate folder."""

    def __init__(self, program: Program | None = None) -> None:
        self._program = program or OwnServer()
        self._servers: dict[Endpoint, _Server] = {}

    def log_of(self, name: str) -> Path:
        """Return the file that holds an endpoint's output."""
        return self.context.workdir / "logs" / f"endpoint-{name}.log"

    def _running(self, name: str) -> tuple[_Server, Container] | None:
        for endpoint, server in list(self._servers.items()):
            if endpoint.name == name and server.container and not server.container.ended.is_set():
                return server, server.container
        return None

    def pid_of(self, name: str) -> int | None:
        """Return the process id of an endpoint's model server while it runs."""
        running = self._running(name)
        return running[1].pid if running else None

    def port_of(self, name: str) -> int:
        """Return the port of this machine on which an endpoint's model server listens. Raises LookupError where none does."""
        running = self._running(name)
        if not running or not running[0].port:
            raise LookupError(f"no model server of the endpoint {name} listens")
        return running[0].port

    def start(self, endpoint: Endpoint) -> None:
        """Begin an endpoint on a new thread."""
        server = self._servers[endpoint] = _Server()
        server.thread = threading.Thread(target=self._run, args=(endpoint, server), daemon=True, name=endpoint.name)
        server.thread.start()

    def stop(self, endpoint: Endpoint) -> None:
        """Take the server down; the endpoint vanishes when it has ended."""
        self._servers[endpoint].stopping.set()

    def close(self) -> None:
        """Take every server down and wait until its folder is removed."""
        for endpoint in list(self._servers):
            self.stop(endpoint)
        for server in list(self._servers.values()):
            if server.thread is not None:
                server.thread.join()

    def _run(self, endpoint: Endpoint, server: _Server) -> None:
        root = (self.context.workdir / "endpoints" / f"{endpoint.name}-{id(endpoint):x}").resolve()
        try:
            self._serve(endpoint, server, root)
        except s3_folders.DownloadFailed as error:
            endpoint.become("Failed", f"Failed to download model data for container. {error}")
        except Exception as error:
            endpoint.become("Failed", f"Request to service failed: {error!r}")
        finally:
            if server.container is not None:
                server.container.kill()
            shutil.rmtree(root, ignore_errors=True)
            # A failed endpoint stays until somebody deletes it, as on AWS.
            server.stopping.wait()
            endpoint.vanish()

    def _serve(self, endpoint: Endpoint, server: _Server, root: Path) -> None:
        context, container = self.context, endpoint.container
        s3 = context.s3_of(endpoint.model["ExecutionRoleArn"])
        for channel, source in model_sources(container):
            place = f"additional-model-data-sources/{channel}" if channel else "model"
            s3_folders.fetch(s3, source["S3Uri"], root / place, context.gated_weights)
        root.mkdir(parents=True, exist_ok=True)
        isolated = bool(endpoint.model.get("EnableNetworkIsolation"))
        environment = environment_of(container.get("Environment") or {}, root, isolated=isolated)
        start = self._program.start(root, environment)
        if server.stopping.is_set():
            return
        log = self.log_of(endpoint.name)
        server.container = running = Container(
            start.command, environment | start.environment, root, log, lambda _: None
        )
        ping = PING.format(variant=endpoint.variant["VariantName"])
        limit = int(endpoint.variant.get("ContainerStartupHealthCheckTimeoutInSeconds", START_LIMIT))
        deadline = time.monotonic() + limit * context.time_scale
        while not running.ended.is_set() and not self._pinged(server, start.port_file):
            if time.monotonic() > deadline:
                running.kill()
                endpoint.become("Failed", ping)
                return
            if server.stopping.wait(LOOK_SECONDS):
                break
        if not server.stopping.is_set() and not running.ended.is_set():
            endpoint.become("InService")
        while not running.ended.is_set() and not server.stopping.wait(LOOK_SECONDS):
            pass
        if server.stopping.is_set():
            running.terminate()
            if not running.ended.wait(STOP_LIMIT * context.time_scale):
                running.kill()
                running.ended.wait()
            return
        how = signal_of(running.exit_code) or f"exit code {running.exit_code}"
        endpoint.become("Failed", f"{ping} The container ended with {how}: {running.last_line}"[:1024])

    def _pinged(self, server: _Server, port_file: Path) -> bool:
        try:
            server.port = int(port_file.read_text("utf-8"))
            return _request(server.port, "GET", "/ping", None, {}, 5).status == 200
        except (OSError, ValueError, http.client.HTTPException):
            return False

    def invoke(self, endpoint: Endpoint, body: bytes, content_type: str, custom_attributes: str = "") -> Answer:
        """Pass a request to the model server. Raises InvocationTimedOut after 60 seconds."""
        headers = {"Content-Type": content_type}
        if custom_attributes:
            headers[CUSTOM_ATTRIBUTES] = custom_attributes
        port, limit = self._servers[endpoint].port, INVOCATION_LIMIT * self.context.time_scale
        try:
            return _request(port, "POST", INVOCATIONS, body, headers, limit)
        except TimeoutError:
            raise InvocationTimedOut from None
        except (OSError, http.client.HTTPException) as error:
            return Answer(500, f"the container cannot be reached: {error!r}".encode(), "text/plain")


def _request(port: int, method: str, path: str, body: bytes | None, headers: dict[str, str], limit: float) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(), answer.headers.get("Content-Type", ""))
    finally:
        connection.close()
