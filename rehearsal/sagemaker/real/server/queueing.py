"""Requests that wait are answered together: HTTP threads hand them over, one worker takes batches of them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .contract import Sampling

# A batch waits for more requests while they still come: as one batch ends, its callers ask again within this time.
QUIET_SECONDS = 0.1


@dataclass
class Request:
    """One completion on its way. `done` is set when `error` or the `tokens` are final.

    `tokens` leaves out the token that ended the text; `ended` says whether there was one.
    """

    prompt: list[int]
    adapted: bool
    max_tokens: int
    sampling: Sampling = Sampling()
    tokens: list[int] = field(default_factory=list)
    ended: bool = False
    error: str | None = None
    done: threading.Event = field(default_factory=threading.Event)


def choose(waiting: Sequence[Request], most: int, room: int) -> list[Request]:
    """Return the next batch: the request that has waited longest and those most like it in length.

    Every row of a batch is padded to the longest prompt and takes the memory of the longest answer, so requests of like
    length belong together.

    Args:
        waiting: in the order of their arrival; at least one.
        most: rows in a batch.
        room: tokens of all rows together, padding included, for a batch of more than one row.
    """
    first = waiting[0]
    alike = sorted(waiting[1:], key=lambda other: abs(len(other.prompt) - len(first.prompt)))
    batch = [first]
    for other in alike[: most - 1]:
        rows = [*batch, other]
        if len(rows) * (max(len(row.prompt) for row in rows) + max(row.max_tokens for row in rows)) <= room:
            batch = rows
    return batch


class Batcher:
    """Hands batches of waiting requests to a worker, on a thread of its own.

    Args:
        worker: fills in `tokens` and `ended` of the requests of a batch. When it raises, the requests of its batch fail and
            the others do not.
        most, room: of one batch, see `choose`.
        quiet_seconds: how long a batch that is not full waits for the next request.
    """

    def __init__(
        self,
        worker: Callable[[list[Request]], None],
        *,
        most: int,
        room: int,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        self._worker, self._most, self._room, self._quiet_seconds = worker, most, room, quiet_seconds
        self._arrivals: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._waiting: list[Request] = []
        self._closing = False
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Queue a request; wait for its `done`."""
        self._arrivals.put(request)

    def close(self) -> None:
        """End when everything that was submitted is answered."""
        self._arrivals.put(None)
        self._thread.join()

    def _loop(self) -> None:
        while batch := self._next():
            try:
                self._worker(batch)
            except Exception as error:  # the requests of this batch fail; the server lives on
                for request in batch:
                    request.error = repr(error)
            for request in batch:
                request.done.set()

    def _next(self) -> list[Request]:
        """The next batch, when there is one; none to end."""
        while not self._closing and len(self._waiting) < self._most:
            try:
                request = self._arrivals.get(timeout=self._quiet_seconds if self._waiting else None)
            except queue.Empty:
                break
            if request is None:
                self._closing = True
            else:
                self._waiting.append(request)
        if not self._waiting:
            return []
        batch = choose(self._waiting, self._most, self._room)
        self._waiting = [request for request in self._waiting if all(request is not one for one in batch)]
        return batch
