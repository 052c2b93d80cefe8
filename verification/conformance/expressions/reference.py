"""The reference implementation of JSONata (npm jsonata, at the version that AWS documents) in one Node process."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from verification.conformance.environments import beside_python, node_packages

_HERE = Path(__file__).parent
_PATIENCE_SECONDS = 300


class ReferenceFailed(RuntimeError):
    """The Node process broke off; the message is what it said."""


def version() -> str:
    """The pinned version."""
    lock = json.loads((_HERE / "package-lock.json").read_text(encoding="utf-8"))
    return str(lock["packages"]["node_modules/jsonata"]["version"])


def ask(requests: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the answers to requests as reference.cjs describes them, in their order.

    Raises:
        CannotRun: Node or the package is not there and cannot be installed.
        ReferenceFailed: the process ended before it had answered, or took more than five minutes.
    """
    packages = node_packages(_HERE, "conformance-jsonata")
    lines = [json.dumps(request, ensure_ascii=True) for request in requests]
    command = [str(beside_python("node")), str(_HERE / "reference.cjs"), str(packages)]
    try:
        done = subprocess.run(
            command,
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ReferenceFailed(f"no answer within {_PATIENCE_SECONDS} s") from None
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or len(answers) != len(lines):
        raise ReferenceFailed(f"{len(answers)} of {len(lines)} requests were answered. {done.stderr.strip()[-500:]}")
    return answers
