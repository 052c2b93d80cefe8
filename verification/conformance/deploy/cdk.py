"""The real CDK CLI, installed from the lock that the Makefile installs it from, with its output in a log file."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from verification.conformance.deploy.account import end
from verification.conformance.environments import PROJECT, beside_python, node_packages

_PATIENCE_SECONDS = 600
_SHOWN_LINES = 8


class CommandFailed(RuntimeError):
    """A command ended with an error or did not end; the message holds its last words and where its log lies."""


def version() -> str:
    """The version of the CDK CLI, which package-lock.json pins."""
    lock = json.loads((PROJECT / "package-lock.json").read_text(encoding="utf-8"))
    return str(lock["packages"]["node_modules/aws-cdk"]["version"])


class Commands:
    """Commands of a person who sits in the project's folder and whose credentials lead to an account.

    Args:
        environment: the variables with which the AWS SDKs find the account.
        logs: where each command's output goes.
    """

    def __init__(self, environment: Mapping[str, str], logs: Path) -> None:
        self._environment = {**os.environ, **environment, **_own_environment()}
        self._logs = logs
        logs.mkdir(parents=True, exist_ok=True)

    def cdk(self, name: str, *arguments: str) -> str:
        """Run the CDK CLI and return what it printed; `name` is that of its log file.

        Raises:
            CannotRun: it is not there and cannot be installed.
            CommandFailed: it ended with an error, or not at all.
        """
        packages = node_packages(PROJECT, "conformance-cdk")
        return self.run(name, [str(packages / "node_modules" / ".bin" / "cdk"), *arguments])

    def run(self, name: str, command: Sequence[str]) -> str:
        """Run any command; as `cdk`."""
        log = self._logs / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                list(command),
                cwd=PROJECT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                raise CommandFailed(f"{name} did not end within {_PATIENCE_SECONDS} s; see {log}") from None
            finally:
                end(process)
        said = log.read_text(encoding="utf-8", errors="replace")
        if code:
            last = " | ".join(line for line in said.strip().splitlines()[-_SHOWN_LINES:] if line.strip())
            raise CommandFailed(f"{name} ended with code {code}: {last} (all of it: {log})")
        return said


def _own_environment() -> dict[str, str]:
    beside = beside_python("node").parent
    return {
        "PATH": f"{beside}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONDONTWRITEBYTECODE": "1",  # what Python leaves behind would change the assets
        "CI": "true",  # plain lines
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
    }
