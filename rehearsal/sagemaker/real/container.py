"""A container's command as a process of this machine, in its own process group, with a folder in place of /opt/ml."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_ROOT = "/opt/ml"


def command_of(words: Sequence[str], root: Path) -> list[str]:
    """Return a container command for this machine: the folder for /opt/ml, this Python for the image's."""
    command = [word.replace(_ROOT, str(root)) for word in words]
    if command and command[0] in ("python", "python3"):
        command[0] = sys.executable
    return command


def environment_of(given: Mapping[str, str], root: Path, *, isolated: bool) -> dict[str, str]:
    """Return a container's environment: nothing of the rehearsal's own but PATH, no model hub, no network.

    Network isolation is played by a proxy that does not answer: what uses the usual clients fails at once.
    """
    scratch = root / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(root),
        "TMPDIR": str(scratch),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    if isolated:
        environment |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
        environment["NO_PROXY"] = environment["no_proxy"] = "localhost,127.0.0.1"
    return environment | {name: value.replace(_ROOT, str(root)) for name, value in given.items()}


class Container:
    """A running command with `root` as its working folder; `on_line` is called with each line of its output, which `log` keeps.

    `ended` is set when the command has ended and its output is read to the end; `ended_at` is when it did, by the machine's clock.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        root: Path,
        log: Path,
        on_line: Callable[[str], None],
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._pid_file = root / "container.pid"
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SUPERVISOR), str(self._pid_file), *command],
            cwd=root,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self.ended = threading.Event()
        self.ended_at: float | None = None
        self.last_line = ""
        self._on_line, self._log = on_line, log
        threading.Thread(target=self._pump, daemon=True, name=f"container {root.name}").start()
        threading.Thread(target=self._reap, daemon=True, name=f"end of {root.name}").start()

    def _reap(self) -> None:
        """End a container with its command: what the command started would else hold its output open, and hide its end."""
        self._await_end()
        self.kill()

    def _await_end(self) -> None:
        self._process.wait()
        if self.ended_at is None:
            self.ended_at = time.monotonic()

    def _pump(self) -> None:
        assert self._process.stdout is not None
        with open(self._log, "a", encoding="utf-8") as log:
            for line in self._process.stdout:
                text = line.rstrip("\n")
                self.last_line = text.strip() or self.last_line
                # Neither a full disk nor a display that fails may stop the reading: the command would hang.
                with contextlib.suppress(OSError):
                    log.write(text + "\n")
                    log.flush()
                with contextlib.suppress(Exception):
                    self._on_line(text)
        self._await_end()
        self.ended.set()

    @property
    def pid(self) -> int | None:
        """The command's own process id, as soon as it is known."""
        with contextlib.suppress(OSError, ValueError):
            return int(self._pid_file.read_text())
        return None

    @property
    def exit_code(self) -> int:
        """The command's exit status; that of a signal N is 128 + N."""
        code = self._process.returncode
        return 128 - code if code is not None and code < 0 else int(code or 0)

    def terminate(self) -> None:
        """Ask the command to end (SIGTERM to its group)."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the command and everything it started, at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def signal_of(exit_code: int) -> str | None:
    """Return "signal 9 (SIGKILL)" for exit status 137; None where no signal ended the command."""
    with contextlib.suppress(ValueError):
        return f"signal {exit_code - 128} ({signal.Signals(exit_code - 128).name})"
    return None


def free_port() -> int:
    """Return a port of this machine that is free now. Another program may take it before the caller does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
