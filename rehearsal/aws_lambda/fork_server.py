"""Worker processes for Lambda functions, forked from one process that has loaded boto3 already."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# What Lambda's Python runtime brings beside the standard library.
_RUNTIME_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")


class Worker:
    """One process that serves one function, one event at a time."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._connection = connection
        self._answers = connection.makefile("r", encoding="utf-8")
        self.is_closed = False

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the worker's answer to an event, None if it died.

        Raises:
            TimeoutError: no answer in the request's timeout (seconds).
        """
        self._connection.settimeout(float(request["timeout"]))
        try:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
            line = self._answers.readline()
        except TimeoutError:
            raise
        except OSError:
            return None
        return dict(json.loads(line)) if line.endswith("\n") else None

    def kill(self) -> None:
        """End the process, in the middle of an invocation if need be."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """Close the connection, at which the process ends itself."""
        self.is_closed = True
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


class ForkServer:
    """The process from which workers are forked; started once, at the first need."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None
        self._replies: Any = None

    def _start(self) -> socket.socket:
        packages = self._folder / "runtime"
        packages.mkdir(parents=True, exist_ok=True)
        for name in _RUNTIME_PACKAGES:
            spec = find_spec(name)
            if spec is None or spec.origin is None:
                continue
            origin = Path(spec.origin)
            origin = origin.parent if spec.submodule_search_locations else origin
            link = packages / origin.name
            if not link.exists():
                link.symlink_to(origin)
        ours, theirs = socket.socketpair()
        # -I and -S: no site-packages, no user's folder, no PYTHONPATH; an AWS profile of this machine stays unread.
        environment = {"PATH": os.defpath, "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        program = str(Path(__file__).with_name("worker.py"))
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", program, str(packages)],
            stdin=theirs.fileno(), env=environment, cwd=self._folder, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self._replies = ours.makefile("r", encoding="utf-8")
        self._requests = ours
        return ours

    def fork(self, specification: Mapping[str, Any]) -> Worker:
        """Return a new worker with the given environment, folder, handler and log."""
        with self._lock:
            requests = self._requests or self._start()
            ours, theirs = socket.socketpair()
            with theirs:
                socket.send_fds(requests, [json.dumps(specification).encode()], [theirs.fileno()])
                reply = self._replies.readline()
            if not reply:
                raise RuntimeError(f"the fork server of Lambda has ended; its folder is {self._folder}")
            return Worker(int(json.loads(reply)["pid"]), ours)

    def stop(self) -> None:
        """End the fork server; every worker has been closed before."""
        with self._lock:
            process, requests, self._process, self._requests = self._process, self._requests, None, None
        if requests is not None:
            self._replies.close()
            requests.close()
        if process is not None:
            process.wait(timeout=10)
