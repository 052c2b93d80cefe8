"""Endpoints for real: a model server behind each, a process of its own on this machine."""

from __future__ import annotations

import http.client
import shutil
import threading
import time
from pathlib import Path

from rehearsal.sagemaker import s3_folders
from rehearsal.sagemaker.engines import PING, START_LIMIT, Answer, HostingEngine, InvocationTimedOut
from rehearsal.sagemaker.records import Endpoint
from rehearsal.sagemaker.validation import model_sources
from rehearsal.sagemaker.vllm.routing import CUSTOM_ATTRIBUTES, INVOCATIONS

from .container import Container, environment_of, signal_of
from .programs import OwnServer, Program

INVOCATION_LIMIT = 60  # seconds within which a container must answer InvokeEndpoint
STOP_LIMIT = 10  # seconds that a server has to end by itself


class _Server:
    """One endpoint on its way."""

    def __init__(self) -> None:
        self.wake = threading.Event()
        self.stopping = False
        self.container: Container | None = None
        self.port = 0
        self.thread: threading.Thread | None = None


class ModelHost(HostingEngine):
    """Runs each endpoint's model server as a subprocess in a folder of its own.

    Args:
        program: what plays the container; the rehearsal's own server when left out.
    """

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
        """Return the port of this machine on which an endpoint's model server listens.

        Raises:
            LookupError: no server of that name listens.
        """
        running = self._running(name)
        if not running or not running[0].port:
            raise LookupError(f"no model server of the endpoint {name} listens")
        return running[0].port

    def start(self, endpoint: Endpoint) -> None:
        """Begin an endpoint on a thread of its own."""
        server = self._servers[endpoint] = _Server()
        server.thread = threading.Thread(target=self._run, args=(endpoint, server), daemon=True, name=endpoint.name)
        server.thread.start()

    def stop(self, endpoint: Endpoint) -> None:
        """Take the server down; the endpoint vanishes when it has ended."""
        server = self._servers[endpoint]
        server.stopping = True
        server.wake.set()

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
            while not server.stopping:
                server.wake.wait()
                server.wake.clear()
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
        if server.stopping:
            return
        log = self.log_of(endpoint.name)
        server.container = running = Container(
            start.command, environment | start.environment, root, log, lambda _: None, server.wake.set
        )
        ping = PING.format(variant=endpoint.variant["VariantName"])
        limit = int(endpoint.variant.get("ContainerStartupHealthCheckTimeoutInSeconds", START_LIMIT))
        deadline = time.monotonic() + limit * context.time_scale
        while not server.stopping and not running.ended.is_set() and not self._pinged(server, start.port_file):
            if time.monotonic() > deadline:
                running.kill()
                endpoint.become("Failed", ping)
                return
            server.wake.wait(0.1)
        if not server.stopping and not running.ended.is_set():
            endpoint.become("InService")
        while not server.stopping and not running.ended.is_set():
            server.wake.wait()
            server.wake.clear()
        if server.stopping:
            running.terminate()
            if not running.ended.wait(STOP_LIMIT * context.time_scale):
                running.kill()
                running.ended.wait()
            return
        how = signal_of(running.exit_code) or f"exit code {running.exit_code}"
        endpoint.become("Failed", f"{ping} The container ended with {how}: {running.last_line}"[:1024])

    def _pinged(self, server: _Server, port_file: Path) -> bool:
        try:
            server.port = int(port_file.read_text())
            return _request(server.port, "GET", "/ping", None, {}, 5).status == 200
        except (OSError, ValueError, http.client.HTTPException):
            return False

    def invoke(self, endpoint: Endpoint, body: bytes, content_type: str, custom_attributes: str = "") -> Answer:
        """Pass a request to the model server.

        Raises:
            InvocationTimedOut: it has not answered within 60 seconds.
        """
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
