"""Lambda: each function in separate warm processes, with its own code, environment, role, timeout and log."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from .fork_server import ForkServer, Worker


class Functions:
    """The functions of one cloud.

    Args:
        folder: where code is unpacked and logs are written.
        fork_server: where workers come from; may be shared between clouds.
        environment: the endpoints that every function is given.
        region: the region that functions believe to be in.
        ahead: how many seconds their clock is ahead of this machine's.
    """

    def __init__(
        self,
        folder: Path,
        fork_server: ForkServer,
        environment: Mapping[str, str],
        region: str,
        ahead: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.folder = folder
        self.timeouts: dict[str, float] = {}  # seconds by part of a function's name, in place of the configured ones
        self.outcomes: list[tuple[str, bool]] = []  # of each invocation: the function's name, and whether it failed
        self._fork_server, self._environment, self._region, self._ahead = fork_server, environment, region, ahead
        self._idle: defaultdict[str, list[Worker]] = defaultdict(list)  # by what they were made from
        self._busy: list[tuple[str, Worker]] = []
        self.at_work = 0  # how many events are being answered
        self._rests = threading.Condition()
        self._open = True

    def _code(self, function: Any) -> Path:
        content: bytes = function.code_bytes
        digest = hashlib.sha256(content).hexdigest()[:16]
        target = self.folder / "code" / digest
        with self._rests:
            if not target.exists():
                partial = target.with_suffix(".partial")
                shutil.rmtree(partial, ignore_errors=True)
                zipfile.ZipFile(io.BytesIO(content)).extractall(partial)
                partial.rename(target)
        return target

    def log_of(self, name: str) -> Path:
        """The file with what the function printed and logged."""
        return self.folder / "logs" / f"{name}.log"

    def _specification(self, function: Any) -> dict[str, Any]:
        role = str(function.role).rpartition("/")[2]
        folder, log = self._code(function), self.log_of(function.function_name)
        log.parent.mkdir(parents=True, exist_ok=True)
        lambdas_own = {
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.function_name}",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
            "AWS_ACCESS_KEY_ID": role,  # so that each call shows who made it
            "AWS_SECRET_ACCESS_KEY": "rehearsal",  # pragma: allowlist secret
            "AWS_SESSION_TOKEN": "rehearsal",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            # Python would ask macOS for its proxies otherwise, which can crash in a forked process.
            "NO_PROXY": "127.0.0.1,localhost",
            "LAMBDA_TASK_ROOT": str(folder),
            "_HANDLER": function.handler,
            "PATH": os.defpath,
            "TZ": "UTC",
        }
        return {
            "environment": {**lambdas_own, **(function.environment_vars or {}), **self._environment},
            "folder": str(folder),
            "handler": function.handler,
            "log": str(log),
        }

    def _timeout(self, function: Any) -> float:
        for part, seconds in self.timeouts.items():
            if part in function.function_name or part in function.handler:
                return seconds
        return float(function.timeout)

    def invoke(self, function: Any, event: Any) -> tuple[str, bool]:
        """Run a function once and return its answer as JSON, and whether that is an error.

        Args:
            function: moto's function.
            event: the event, plain JSON values.
        """
        with self._rests:
            if not self._open:  # a call that was on its way when everything was stopped
                return json.dumps(_failure("Runtime.ExitError", str(uuid4()), "The account is closed")), True
            self.at_work += 1
        try:
            answer = self._answer(function, event)
        finally:
            with self._rests:
                self.at_work -= 1
                self._rests.notify_all()
        self.outcomes.append((function.function_name, "error" in answer))
        return (json.dumps(answer["error"]), True) if "error" in answer else (str(answer["result"]), False)

    def _answer(self, function: Any, event: Any) -> dict[str, Any]:
        """What a worker answers, or what Lambda says of one that is too slow or dead."""
        request_id, timeout, specification = str(uuid4()), self._timeout(function), self._specification(function)
        made_from = json.dumps(specification)
        with self._rests:
            worker = self._idle[made_from].pop() if self._idle[made_from] else None
        worker = worker or self._fork_server.fork(specification)
        busy = (function.function_name, worker)
        with self._rests:
            self._busy.append(busy)
        request = {"request_id": request_id, "event": event, "timeout": timeout, "arn": function.function_arn}
        answer, what = None, "Runtime exited with error: signal: killed"
        try:
            answer = worker.ask({**request, "ahead": self._ahead()})
        except TimeoutError:
            what = f"Task timed out after {timeout:.2f} seconds"
        finally:
            if answer is None:
                worker.kill()
            with self._rests:
                self._busy.remove(busy)
                if self._open and not worker.is_closed:
                    self._idle[made_from].append(worker)
                else:
                    worker.close()
        kind = "Sandbox.Timedout" if what.startswith("Task") else "Runtime.ExitError"
        return answer or {"error": _failure(kind, request_id, what)}

    def kill(self, part: str) -> int:
        """Kill the workers of the functions whose name contains `part` that are running now; return how many."""
        with self._rests:
            victims = [worker.pid for name, worker in self._busy if part in name]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        return len(victims)

    def recycle(self) -> None:
        """End every worker, at work or not; the next events meet new ones."""
        self._end_idle(lambda role: True)
        self._end_busy()

    def _end_idle(self, chosen: Callable[[str], bool]) -> None:
        with self._rests:
            ended = [key for key in self._idle if chosen(json.loads(key)["environment"]["AWS_ACCESS_KEY_ID"])]
            workers = [worker for key in ended for worker in self._idle.pop(key)]
        for worker in workers:
            worker.close()

    def _end_busy(self) -> None:
        with self._rests:
            busy = [worker for _, worker in self._busy]
        for worker in busy:
            worker.kill()

    @contextmanager
    def closed(self, anew: Container[str] = ()) -> Iterator[None]:
        """Refuse every event meanwhile; end the workers at work and those of some roles, the others stay warm."""
        self._close()
        self._end_idle(lambda role: role in anew)
        yield
        with self._rests:
            self._open = True

    def close(self) -> None:
        """End every worker and refuse every event from now on."""
        self._close()
        self.recycle()

    def _close(self, timeout: float = 10) -> None:
        with self._rests:
            self._open = False
        end = time.monotonic() + timeout
        self._end_busy()
        while self.at_work and time.monotonic() < end:
            with self._rests:
                self._rests.wait(0.05)
            self._end_busy()  # an event that was accepted just before may have come to its worker since


def _failure(kind: str, request_id: str, what: str) -> dict[str, Any]:
    return {"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {what}"}
