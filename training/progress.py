"""What the job says while it runs, and how much time it still has.

The lines are both for people and for SageMaker's metric regular expressions: a word, then key=value pairs.
"""

import math
import signal
import time
from collections import defaultdict
from functools import partial
from types import FrameType

from tqdm.std import EMA

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


class Pace:
    """The tokens that are left to train on and to score, and how long they take at the speed of the last ones of their kind."""

    TRAIN, SCORE = "train", "score"

    def __init__(self) -> None:
        self._left: dict[str, float] = {}
        self._guesses: dict[str, float] = {}  # seconds a token, until work of the kind is done
        # tqdm's moving averages: about the last ten steps or batches.
        self._tokens: defaultdict[str, EMA] = defaultdict(partial(EMA, smoothing=0.1))
        self._seconds: defaultdict[str, EMA] = defaultdict(partial(EMA, smoothing=0.1))

    def plan(self, kind: str, tokens: float, seconds_a_token: float = math.nan) -> None:
        """So many tokens of a kind are left; `seconds_a_token` is a first guess of their speed."""
        self._left[kind], self._guesses[kind] = tokens, seconds_a_token

    def done(self, kind: str, tokens: float, seconds: float) -> None:
        """So many of them took so long."""
        self._left[kind] = max(0.0, self._left.get(kind, 0.0) - tokens)
        self._tokens[kind](tokens)
        self._seconds[kind](seconds)

    def told(self) -> dict[str, int]:
        """The seconds left as a field of a line; no field while the speed of one kind is unknown."""
        seconds = sum(left * self._seconds_a_token(kind) for kind, left in self._left.items() if left)
        return {} if math.isnan(seconds) else {"seconds_left": round(seconds)}

    def _seconds_a_token(self, kind: str) -> float:
        tokens = self._tokens[kind]()
        return self._seconds[kind]() / tokens if tokens else self._guesses[kind]


class Clock:
    """The time this process may still use: the budget, or what is left of the grace after a stop signal.

    `started` is when the job began, where that was before this process did. `pace` tells how much of it the rest of the work takes.
    """

    def __init__(self, budget_seconds: float = math.inf, started: float | None = None) -> None:
        self.started = time.monotonic() if started is None else started
        self.budget_seconds = budget_seconds
        self.pace = Pace()
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
