"""Time of the stand-in: an injectable clock, always timezone-aware UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def from_wire(value: object) -> datetime:
    """Read a timestamp of a JSON request: seconds since 1970 as AWS JSON sends them, or ISO 8601.

    Raises:
        ValueError: the value is neither.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    raise ValueError(f"not a timestamp: {value!r}")
