"""Lambda: each function in a warm process (`worker.py`) with its own code, environment, role, timeout and log.

A further one is started while the first is busy. Starting one takes a third of a second of a core, most of it to import boto3.
"""

import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

# What Lambda's Python runtime brings beside the standard library.
_RUNTIME_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
# The packages of requirements/bundle.txt, which a deployment brings to the functions that write a report and to no others.
_BUNDLED_PACKAGES, _WITH_BUNDLE = ("jinja2", "markupsafe", "typst"), ("report", "finish")
_END_SECONDS = 10


def link_packages(names: Iterable[str], folder: Path) -> Path:
    """The folder, with links to these packages of this environment, as far as they are installed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            origin = Path(spec.origin)
            origin = origin.parent if spec.submodule_search_locations else origin
            with suppress(FileExistsError):
                (folder / origin.name).symlink_to(origin)
    return folder


class _Worker:
    def __init__(self, specification: Mapping[str, Any]) -> None:
        self._connection, theirs = socket.socketpair()
        # -I and -S: no site-packages, no user's folder, no PYTHONPATH; an AWS profile of this machine stays unread.
        command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("worker.py"))]
        with theirs, open(specification["log"], "ab") as log:
            self._process = subprocess.Popen(
                [*command, specification["handler"], specification["runtime"], *specification["path"]],
                stdin=theirs.fileno(), stdout=log, stderr=log, env=specification["environment"],
                cwd=specification["path"][0], start_new_session=True,
            )  # fmt: skip
        self._answers = self._connection.makefile("r", encoding="utf-8")
        self._answers.readline()  # it has imported its handler, which Lambda does not count as time of an event
        self.is_closed = self.is_late = False

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the worker's answer to an event, None if it died or, in the request's timeout (seconds), gave none."""
        self._connection.settimeout(float(request["timeout"]))
        try:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
            line = self._answers.readline()
        except OSError as error:
            self.is_late |= isinstance(error, TimeoutError)
            return None
        return dict(json.loads(line)) if line.endswith("\n") else None

    def strike(self) -> None:
        """Kill the process as the kernel would; the pending event fails."""
        self._process.kill()

    def kill(self) -> None:
        """End the process, in the middle of an invocation if need be."""
        self._process.kill()
        self.close()

    def close(self) -> None:
        """Close the connection, at which an idle process ends itself."""
        self.is_closed = True
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._process.wait(_END_SECONDS)


class Functions:
    """The functions of one cloud, each given the variables in `environment`.

    `at_work` is how many events are being answered.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], region: str, clock: Callable[[], datetime]
    ) -> None:
        self.folder = folder
        self.at_work = 0
        self._environment, self._region, self._clock = environment, region, clock
        self._idle: defaultdict[str, list[_Worker]] = defaultdict(list)  # by what they were made from
        self._busy: list[tuple[str, _Worker]] = []
        self._changed = threading.Condition()
        self._open = True

    def _code(self, function: Any) -> Path:
        content: bytes = function.code_bytes
        target = self.folder / "code" / hashlib.sha256(content).hexdigest()[:16]
        with self._changed:
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
        folder, log = self._code(function), self.log_of(function.function_name)
        log.parent.mkdir(parents=True, exist_ok=True)
        lambdas_own = {
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
            "AWS_ACCESS_KEY_ID": str(function.role).rpartition("/")[2],  # so that each call shows its role
            "AWS_SECRET_ACCESS_KEY": "rehearsal",  # pragma: allowlist secret
            "AWS_SESSION_TOKEN": "rehearsal",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
            "LAMBDA_TASK_ROOT": str(folder),
            "PATH": os.defpath,
            "TZ": "UTC",
        }
        bundled = function.handler.split(".")[0] in _WITH_BUNDLE
        packages = [str(link_packages(_BUNDLED_PACKAGES, self.folder / "bundle"))] if bundled else []
        return {
            "environment": {**lambdas_own, **(function.environment_vars or {}), **self._environment},
            "path": [str(folder), *packages],
            "runtime": str(link_packages(_RUNTIME_PACKAGES, self.folder / "runtime")),
            "handler": function.handler,
            "log": str(log),
        }

    def invoke(self, function: Any, event: Any) -> tuple[str, bool]:
        """Run a function of moto's once on an event, and return its answer as JSON, and whether that is an error."""
        with self._changed:
            if not self._open:  # a call that was on its way when everything was stopped
                return json.dumps(_failure("Runtime.ExitError", str(uuid4()), "The account is closed")), True
            self.at_work += 1
        try:
            answer = self._answer(function, event)
        finally:
            with self._changed:
                self.at_work -= 1
                self._changed.notify_all()
        return (json.dumps(answer["error"]), True) if "error" in answer else (str(answer["result"]), False)

    def _answer(self, function: Any, event: Any) -> dict[str, Any]:
        """What a worker answers, or what Lambda says of one that is too slow or dead."""
        request_id, specification = str(uuid4()), self._specification(function)
        timeout = float(function.timeout)
        made_from = json.dumps(specification)
        with self._changed:
            worker = self._idle[made_from].pop() if self._idle[made_from] else None
        worker = worker or _Worker(specification)
        busy = (function.function_name, worker)
        with self._changed:
            self._busy.append(busy)
        request = {"request_id": request_id, "event": event, "timeout": timeout, "arn": function.function_arn}
        answer = None
        try:
            answer = worker.ask({**request, "clock_zero": self._clock().timestamp() - time.monotonic()})
        finally:
            if answer is None:
                worker.kill()
            with self._changed:
                self._busy.remove(busy)
                if self._open and not worker.is_closed:
                    self._idle[made_from].append(worker)
                else:
                    worker.close()
        if answer is not None:
            return answer
        if worker.is_late:
            return {"error": _failure("Sandbox.Timedout", request_id, f"Task timed out after {timeout:.2f} seconds")}
        died = "Runtime exited with error: signal: killed"
        return {"error": _failure("Runtime.ExitError", request_id, died)}

    def kill(self, function: str) -> int:
        """Kill the workers of a function that are running now; return how many."""
        with self._changed:
            victims = [worker for name, worker in self._busy if name == function]
        for worker in victims:
            worker.strike()
        return len(victims)

    def time_out(self, function: str) -> None:
        """End the workers of a function that are running now as its timeout would: a test need not wait for it."""
        with self._changed:
            for name, worker in self._busy:
                worker.is_late |= name == function
        self.kill(function)

    @contextmanager
    def closed(self, anew: Container[str] = ()) -> Iterator[None]:
        """Refuse every event meanwhile; end the workers at work and those of some roles, the others stay warm."""
        self._close(lambda made_from: json.loads(made_from)["environment"]["AWS_ACCESS_KEY_ID"] in anew)
        yield
        with self._changed:
            self._open = True

    def close(self) -> None:
        """End every worker and refuse every event from now on."""
        self._close(lambda made_from: True)

    def _close(self, chosen: Callable[[str], bool]) -> None:
        end = time.monotonic() + _END_SECONDS
        with self._changed:
            self._open = False
            for made_from in [key for key in self._idle if chosen(key)]:
                for worker in self._idle.pop(made_from):
                    worker.close()
            while self.at_work and time.monotonic() < end:
                for _, worker in self._busy:
                    worker.kill()
                self._changed.wait(0.05)  # an event that was accepted just before may come to its worker meanwhile


def _failure(kind: str, request_id: str, what: str) -> dict[str, Any]:
    return {"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {what}"}
