"""Rights, with the emulator's own IAM evaluator: each call of a role is held against its policies (AUTH=true).

Why it exists: the policies refuse a connection without TLS, and the emulator is asked over plain HTTP on this machine.
Every other condition is the evaluator's own affair.
"""

from __future__ import annotations

from typing import Any

from ministack.core import iam_evaluator

_original = iam_evaluator._resolve_condition_key


def _resolve(key: str, context: Any) -> Any:
    return "true" if key.lower() == "aws:securetransport" else _original(key, context)


def install() -> None:
    """Let every connection count as one with TLS."""
    iam_evaluator._resolve_condition_key = _resolve
