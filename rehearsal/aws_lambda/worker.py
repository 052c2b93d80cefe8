"""The Lambda service's side of one function: a process that imports the handler and answers events.

    python -I -S worker.py <folder with boto3>

Not imported by the rehearsal: it runs in a separate process, which sees the standard library, boto3 and the
function's code, as Lambda does, and nothing of the rehearsal. One fork server loads boto3 once; each request on
its standard input is a file descriptor and a specification, from which it forks a worker with exactly the function's
environment. A worker reads events as JSON lines from its socket, writes answers to it, and ends when it closes.
"""

from __future__ import annotations

import datetime
import importlib
import json
import logging
import os
import random
import signal
import socket
import sys
import time
import traceback
from typing import Any

# Service descriptions worth reading once for all workers; SageMaker's alone takes a fifth of a second.
_DESCRIPTIONS = (
    "dynamodb", "s3", "sagemaker", "sagemaker-runtime", "stepfunctions", "scheduler", "pricing", "service-quotas", "sns",
)  # fmt: skip


_REAL = datetime.datetime


class _AnyDatetime(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _REAL)


class Datetime(_REAL, metaclass=_AnyDatetime):
    """datetime.datetime by the rehearsal's clock, whatever this machine's shows."""

    zero = 0.0  # the rehearsal's moment when the monotonic clock, one for all processes of a machine, shows 0

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        """The present moment."""
        return _REAL.fromtimestamp(cls.zero + time.monotonic(), tz)


class Context:
    """The context object of an invocation, as far as our functions may ask it."""

    def __init__(self, request: dict[str, Any], environment: dict[str, str]) -> None:
        self.aws_request_id: str = request["request_id"]
        self.function_name: str = environment["AWS_LAMBDA_FUNCTION_NAME"]
        self.invoked_function_arn: str = request["arn"]
        self.memory_limit_in_mb: str = environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self._deadline = time.monotonic() + request["timeout"]

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def _error(kind: str, message: str, request_id: str, stack: list[str] | None = None) -> dict[str, Any]:
    return {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": stack or []}


def _answer(handler: Any, request: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    request_id = request["request_id"]
    try:
        result = handler(request["event"], Context(request, environment))
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[1:]
        logging.getLogger().exception("%s", error)
        return {"error": _error(type(error).__name__, str(error), request_id, traceback.format_list(frames))}
    except SystemExit as error:
        return {
            "error": _error("Runtime.ExitError", f"Runtime exited with error: exit status {error.code}", request_id)
        }
    try:
        return {"result": json.dumps(result)}
    except (TypeError, ValueError) as error:
        return {"error": _error("Runtime.MarshalError", f"Unable to marshal response: {error}", request_id)}


def _load(handler: str, request_id: str) -> tuple[Any, dict[str, Any] | None]:
    module_name, _, function = handler.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), function), None
    except Exception as error:
        stack = traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])
        message = f"Unable to import module '{module_name}': {error}"
        return None, _error("Runtime.ImportModuleError", message, request_id, stack)


def _serve(connection: socket.socket, specification: dict[str, Any]) -> None:
    environment: dict[str, str] = specification["environment"]
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # takes the place of the fork server's socket
    log = os.open(specification["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(specification["folder"])
    sys.path[:0] = filter(None, (specification["folder"], specification["packages"]))
    datetime.datetime = Datetime  # type: ignore[misc]
    random.seed()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    handler = None
    for line in connection.makefile("r", encoding="utf-8"):
        request, failure = json.loads(line), None
        Datetime.zero = request["clock_zero"]
        if handler is None:
            handler, failure = _load(specification["handler"], request["request_id"])
        answer = {"error": failure} if failure else _answer(handler, request, environment)
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(json.dumps(answer).encode() + b"\n")


def _preload() -> None:
    import boto3

    boto3.setup_default_session()
    loader = boto3.DEFAULT_SESSION._session.get_component("data_loader")
    for name in _DESCRIPTIONS:
        for part in ("service-2", "paginators-1", "endpoint-rule-set-1"):
            try:
                loader.load_service_model(name, part)
            except Exception:  # not every service has every part
                continue
    for name in ("endpoints", "partitions", "_retry", "sdk-default-configuration"):
        loader.load_data(name)


def fork_server() -> None:
    """Fork a worker for each request, until standard input closes; then end them all."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the children are reaped by the system
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the conductor's to handle
    _preload()
    requests = socket.socket(fileno=0)
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 1)
        if not data:
            os.killpg(0, signal.SIGKILL)  # the rehearsal has ended, however it did: so do all workers
        specification = json.loads(data)
        child = os.fork()
        if child == 0:
            connection = socket.socket(fileno=descriptors[0])
            requests.detach()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                _serve(connection, specification)
            except BaseException:
                traceback.print_exc()  # into the function's log, once that is open
            finally:
                sys.stderr.flush()
                os._exit(1)
        os.close(descriptors[0])
        requests.sendall(str(child).encode())


if __name__ == "__main__":
    sys.path.append(sys.argv[1])
    fork_server()
