"""Requests that wait are answered together: HTTP threads hand them over, one thread makes batches of them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .sampling import Sampling

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
    """Hands batches of waiting requests to `answer`, one batch at a time, on a thread of its own.

    Args:
        answer: fills in `tokens` and `ended` of each request. When it raises, its requests fail and the others do not.
        most, room: see `choose`.
        quiet_seconds: how long a batch that is not full waits for the next request.
    """

    def __init__(
        self,
        answer: Callable[[list[Request]], None],
        *,
        most: int,
        room: int,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        self._answer, self._most, self._room, self._quiet_seconds = answer, most, room, quiet_seconds
        self._arrivals: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, daemon=True, name="batcher")
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Queue a request; wait for its `done`."""
        self._arrivals.put(request)

    def close(self) -> None:
        """End when everything that was submitted is answered."""
        self._arrivals.put(None)
        self._thread.join()

    def _loop(self) -> None:
        waiting: list[Request] = []
        closing = False
        while waiting or not closing:
            while not closing and len(waiting) < self._most:
                try:
                    request = self._arrivals.get(timeout=self._quiet_seconds if waiting else None)
                except queue.Empty:
                    break
                if request is None:
                    closing = True
                else:
                    waiting.append(request)
            if waiting:
                batch = choose(waiting, self._most, self._room)
                waiting = [request for request in waiting if all(request is not one for one in batch)]
                self._serve(batch)

    def _serve(self, batch: list[Request]) -> None:
        try:
            self._answer(batch)
        except Exception as error:  # the requests of this batch fail; the server lives on
            for request in batch:
                request.error = repr(error)
        for request in batch:
            request.done.set()
