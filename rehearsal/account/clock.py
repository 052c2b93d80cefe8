"""The rehearsal's clock: real time, which a test or the conductor may move forward."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class Clock:
    """A callable that returns the present moment in UTC. Only moves forward. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ahead = timedelta(0)
        self._listeners: list[Callable[[], None]] = []

    def __call__(self) -> datetime:
        with self._lock:
            return datetime.now(UTC) + self._ahead

    @property
    def ahead(self) -> timedelta:
        """How far it was moved forward."""
        with self._lock:
            return self._ahead

    def begin_again(self) -> None:
        """Return to real time, for an account that is empty again."""
        with self._lock:
            self._ahead = timedelta(0)

    def on_advance(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each move, so that whoever waits for a moment can look again."""
        self._listeners.append(listener)

    def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0) -> None:
        """Move forward.

        Raises:
            ValueError: the step is negative.
        """
        step = timedelta(seconds=seconds, minutes=minutes, hours=hours)
        if step < timedelta(0):
            raise ValueError(f"a clock does not go back, got {step}")
        with self._lock:
            self._ahead += step
        for listener in list(self._listeners):
            listener()
