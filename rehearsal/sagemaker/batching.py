"""Continuous batching: requests join and leave the running batch at every token."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .kv_cache import Cache
from .llama import Llama

_CANDIDATES = 256  # enough tokens to hold top_p of the mass nearly always; else the whole vocabulary is sorted


@dataclass
class Request:
    """One completion on its way. `done` is set when `error` or the `tokens` are final."""

    prompt: list[int]
    adapted: bool
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    tokens: list[int] = field(default_factory=list)
    finish_reason: str = "length"
    error: str | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        # A generator of its own: what else is in the batch has no part in a request's draws.
        self.source = random.Random(self.seed)

    @property
    def room(self) -> int:
        """Tokens of cache that it needs in the end."""
        return len(self.prompt) + self.max_tokens


def pick(logits: Tensor, requests: list[Request]) -> list[int]:
    """Return the next token of each request from its row of logits: the best, or a draw from the top_p."""
    drawn = [number for number, request in enumerate(requests) if request.temperature > 0]
    chosen = [0] * len(requests)
    greedy = [number for number, request in enumerate(requests) if request.temperature == 0]
    if greedy:
        for number, token in zip(greedy, logits[greedy].argmax(dim=-1).tolist(), strict=True):
            chosen[number] = token
    if not drawn:
        return chosen
    heat = torch.tensor([[requests[number].temperature] for number in drawn])
    scaled = logits[drawn] / heat
    whole = torch.logsumexp(scaled, dim=-1, keepdim=True)
    values, tokens = torch.topk(scaled, min(_CANDIDATES, scaled.shape[1]), dim=-1)
    cumulated = (values - whole).exp().double().cumsum(dim=-1)
    for row, number in enumerate(drawn):
        request, sums, names = requests[number], cumulated[row], tokens[row]
        if sums[-1] < request.top_p and len(sums) < scaled.shape[1]:
            ordered, names = torch.sort(scaled[row], descending=True)
            sums = (ordered - whole[row]).exp().double().cumsum(dim=-1)
        # The smallest set whose mass reaches top_p, then a draw within it.
        size = min(int(torch.searchsorted(sums, request.top_p)) + 1, len(sums))
        point = request.source.random() * float(sums[size - 1])
        chosen[number] = int(names[min(int(torch.searchsorted(sums[:size], point, right=True)), size - 1)])
    return chosen


class Batcher:
    """Answers requests on a thread of its own.

    Args:
        model: the model.
        ends: token ids that end a text.
        most: requests at a time.
        memory: tokens of cache for all requests together, if there is more than one.
    """

    def __init__(self, model: Llama, ends: set[int], *, most: int = 32, memory: int = 8192) -> None:
        self._model, self._ends, self._most, self._memory = model, ends, most, memory
        self._waiting: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._held: Request | None = None
        self._running: list[Request] = []
        shape = model.shape
        self._new_cache: Callable[[], Cache] = lambda: Cache(shape.layers, shape.kv_heads, shape.head_size)
        self._cache = self._new_cache()
        self._thread = threading.Thread(target=self._loop, daemon=True, name="batcher")
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Queue a request; wait for its `done`."""
        self._waiting.put(request)

    def close(self) -> None:
        """End after the present step."""
        self._waiting.put(None)
        self._thread.join()

    def _admit(self) -> list[Request] | None:
        """Return the requests that join now; None to end. Waits where nothing runs."""
        fresh: list[Request] = []
        while len(self._running) + len(fresh) < self._most:
            if self._held is None:
                try:
                    request = self._waiting.get(block=not self._running and not fresh)
                except queue.Empty:
                    break
                if request is None:
                    return None
                self._held = request
            everyone = [*self._running, *fresh, self._held]
            if len(everyone) > 1 and len(everyone) * max(one.room for one in everyone) > self._memory:
                break
            fresh.append(self._held)
            self._held = None
        return fresh

    def _loop(self) -> None:
        while True:
            fresh = self._admit()
            if fresh is None:
                return
            try:
                self._step(fresh)
            except Exception as error:  # the requests of this step fail; the server lives on
                for request in (*self._running, *fresh):
                    request.error = repr(error)
                    request.done.set()
                self._running, self._cache = [], self._new_cache()

    @torch.inference_mode()
    def _step(self, fresh: list[Request]) -> None:
        everyone = [*self._running, *fresh]
        adapted: Tensor | None = None
        if any(request.adapted for request in everyone):
            rows = [request.adapted for request in self._running]
            rows += [request.adapted for request in fresh for _ in request.prompt]
            adapted = torch.tensor(rows, dtype=torch.float32)[:, None]
        last = torch.tensor([request.tokens[-1] for request in self._running], dtype=torch.long)
        logits = self._model.forward(self._cache, last, [torch.tensor(request.prompt) for request in fresh], adapted)
        self._running = everyone
        for request, token in zip(everyone, pick(logits, everyone), strict=True):
            if token in self._ends:
                request.finish_reason = "stop"
            else:
                request.tokens.append(token)
        for slot in reversed(range(len(self._running))):
            request = self._running[slot]
            over = request.finish_reason == "stop" or len(request.tokens) >= request.max_tokens
            if over:
                self._cache.drop(slot)
                self._running[slot] = self._running[-1]
                self._running.pop()
                request.done.set()
