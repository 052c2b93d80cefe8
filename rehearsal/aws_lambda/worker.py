"""The Lambda service's side of one function: a process that imports the handler and answers events.

    python -I -S worker.py <handler> <folder with boto3> <folder with the function's code> [<folder with its packages>]

Not imported by the rehearsal: it runs in a separate process, which sees the standard library, boto3 and the
function's code, as Lambda does, and nothing of the rehearsal. It reads events as JSON lines from the socket that is its standard
input, writes answers to it, and ends when it closes.
"""

import datetime
import importlib
import json
import logging
import os
import socket
import sys
import time
import traceback
from typing import Any

_REAL = datetime.datetime


class _AnyDatetime(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _REAL)


class Datetime(_REAL, metaclass=_AnyDatetime):
    """datetime.datetime by the rehearsal's clock, whatever this machine's shows."""

    # The rehearsal's moment when the monotonic clock, one for all processes of a machine, shows 0; until the first event this machine's.
    zero = time.time() - time.monotonic()

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


def _load(handler: str) -> tuple[Any, dict[str, Any] | None]:
    module_name, _, function = handler.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), function), None
    except Exception as error:
        stack = traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])
        message = f"Unable to import module '{module_name}': {error}"
        return None, _error("Runtime.ImportModuleError", message, "", stack)


def serve(handler_name: str, runtime: str, *path: str) -> None:
    """Answers events until standard input closes."""
    connection = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.path[:] = [*path, *sys.path, runtime]
    datetime.datetime = Datetime  # type: ignore[misc]
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    handler, failure = _load(handler_name)
    connection.sendall(b"ready\n")
    for line in connection.makefile("r", encoding="utf-8"):
        request = json.loads(line)
        Datetime.zero = request["clock_zero"]
        refused = {"error": {**failure, "requestId": request["request_id"]}} if failure else None
        answer = refused or _answer(handler, request, dict(os.environ))
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(json.dumps(answer).encode() + b"\n")
    os._exit(0)  # at once: nothing is left to be done


if __name__ == "__main__":
    serve(*sys.argv[1:])
