"""What the job says while it runs, and how much time it still has.

The lines are both for people and for SageMaker's metric regular expressions: a word, then key=value pairs.
"""

import math
import signal
import time
from types import FrameType

GRACE_SECONDS = 105.0  # SageMaker kills 120 s after SIGTERM; the rest is for the upload's start


_silent = False


def only_from_first(rank: int) -> None:
    """From now on `say` prints in the first process of a job alone."""
    global _silent
    _silent = rank != 0


def say(event: str, **values: object) -> None:
    """Prints one line `event key=value …` at once."""
    if not _silent:
        print(event, *(f"{key}={value}" for key, value in values.items()), flush=True)


class Clock:
    """The time this process may still use: the budget, or what is left of the grace after a stop signal.

    `started` is when the job began, where that was before this process did.
    """

    def __init__(self, budget_seconds: float = math.inf, started: float | None = None) -> None:
        self.started = time.monotonic() if started is None else started
        self.budget_seconds = budget_seconds
        self.stop_requested_at: float | None = None

    def listen(self) -> None:
        """From now on SIGTERM and SIGINT ask for an orderly end instead of killing the process."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.stop_requested_at is None:  # repeated signals do not prolong the grace
            self.stop_requested_at = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def stop_requested(self) -> bool:
        return self.stop_requested_at is not None

    @property
    def remaining(self) -> float:
        """Seconds left before the process must have ended."""
        left = self.budget_seconds - self.elapsed
        if self.stop_requested_at is not None:
            left = min(left, self.stop_requested_at + GRACE_SECONDS - time.monotonic())
        return left
