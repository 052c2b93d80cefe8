"""One batch that answers join and leave at every token, through transformers.

transformers' own continuous batching packs all requests into one row, where an adapter cannot tell its requests from the base model's, and has
no seed for a request. Here each answer is a row with its own cache: nothing is padded, and a prompt is read by itself, so that the logits of a
row depend on no other row.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from .contract import Sampling
from .generation import Draw, LoadedModel

READ_AT_ONCE = 512  # tokens of prompts between two tokens of the answers that are under way


@dataclass(frozen=True)
class Token:
    """A token with its log-probability, and the likeliest ones with theirs; none where the request wants none."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Ended:
    """The last news of an answer. `reason` is OpenAI's: stop or length; an answer that failed has an `error`."""

    reason: str = "stop"
    error: str = ""


@dataclass(eq=False)
class Row:
    """One answer on its way, of at most `most` tokens; `on_news` is called with each and at the end, on the engine's thread.

    `top` is how many log-probabilities are wanted beside that of each token, None for none at all; those of the prompt's tokens, where `scored`
    wants them, are whole before the first news. Once the client has `left`, the row ends at the next token.
    """

    prompt: list[int]
    adapted: bool
    most: int
    sampling: Sampling
    on_news: Callable[[Token | Ended], None]
    top: int | None = None
    scored: bool = False
    left: bool = False
    scores: list[Token] = field(default_factory=list)
    count: int = 0
    last: int = 0
    # Keys and values by layer, with room for all of its tokens, and for how many of them they are there.
    cache: Tensor = field(default_factory=lambda: torch.empty(0))
    known: int = 0

    def __post_init__(self) -> None:
        self.draw = Draw(self.sampling)

    @property
    def room(self) -> int:
        """How many tokens it may have in all."""
        return len(self.prompt) + self.most

    def token(self, id_: int, logits: Tensor) -> Token:
        """The token, with what is wanted of the logits (one for each word) that it was chosen by."""
        if self.top is None:
            return Token(id_)
        chances = log_softmax(logits.float(), dim=-1)
        values, words = torch.topk(chances, self.top) if self.top else (torch.empty(0), torch.empty(0))
        return Token(id_, float(chances[id_]), tuple(zip(words.int().tolist(), values.tolist(), strict=True)))


class _Caches:
    """What transformers takes for the cache of a forward pass. Attention gets each row's own keys and values, as `attend` expects them."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def get_seq_length(self, layer: int = 0) -> int:
        """Positions are given with the tokens, so none is counted here."""
        return 0

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any) -> tuple[list[Tensor], list[Tensor]]:
        """Add the keys and values of the next tokens; all of each row."""
        found: tuple[list[Tensor], list[Tensor]] = [], []
        for row, *new in zip(self._rows, keys, values, strict=True):
            for cache, tokens, all_of_them in zip(row.cache[layer], new, found, strict=True):
                cache[:, row.known : row.known + tokens.shape[1]] = tokens
                all_of_them.append(cache[:, : row.known + tokens.shape[1]])
        return found


class ContinuousBatch(LoadedModel):
    """A causal model with one adapter, or none, whose thread answers every row that is submitted.

    Of more than `most_at_once` rows, those that have waited longest come first.
    """

    def __init__(self, folder: Path, adapter: Path | None, dtype: str, most_at_once: int) -> None:
        super().__init__(folder, adapter, dtype)
        self._most_at_once = most_at_once
        self._arrivals: queue.SimpleQueue[Row] = queue.SimpleQueue()
        self._waiting: list[Row] = []
        self._reading: list[Row] = []  # rows whose prompts are read, one after the other
        self._batch: list[Row] = []  # rows with tokens under way
        self._computed: list[Row] = []  # rows of the last forward pass
        threading.Thread(target=self._loop, daemon=True, name="answers").start()

    def submit(self, row: Row) -> None:
        """Queue a row; its `on_news` is called."""
        self._arrivals.put(row)

    def _loop(self) -> None:
        while True:
            self._admit()
            for step in (self._read_on, self._step):
                try:
                    with torch.inference_mode():
                        step()
                except Exception as error:  # these rows fail; the server lives on
                    traceback.print_exc()
                    failed = self._computed
                    self._reading, self._batch = (
                        [row for row in rows if row not in failed] for rows in (self._reading, self._batch)
                    )
                    for row in failed:
                        row.on_news(Ended(error=repr(error)))

    def _admit(self) -> None:
        """Take arrivals, drop rows whose client has left, and begin with those that there is room for."""
        if not (self._waiting or self._batch or self._reading):
            self._waiting.append(self._arrivals.get())
        with contextlib.suppress(queue.Empty):
            while True:
                self._waiting.append(self._arrivals.get_nowait())
        self._waiting, self._reading, self._batch = (
            [row for row in rows if not row.left] for rows in (self._waiting, self._reading, self._batch)
        )
        while self._waiting and self._has_room(self._waiting[0]):
            row = self._waiting.pop(0)
            row.cache = torch.empty(self.cache_shape(row.room), dtype=self.kind)
            self._reading.append(row)

    def _has_room(self, row: Row) -> bool:
        """Whether another row fits; one always does."""
        others = [*self._reading, *self._batch]
        fits = len(others) < self._most_at_once and sum(one.room for one in [*others, row]) <= self.room
        return fits or not others

    def _read_on(self) -> None:
        """Read the next parts of the prompts; a row whose prompt is read joins the batch."""
        left = READ_AT_ONCE
        while self._reading and left > 0:
            row, start = self._reading[0], self._reading[0].known
            tokens = row.prompt[start : start + READ_AT_ONCE]
            logits = self._forward([row], [tokens], whole=row.scored)[0]
            left -= len(tokens)
            if row.scored:
                row.scores += [] if start else [Token(tokens[0])]  # nothing stands before the first one
                following = row.prompt[start + 1 : row.known + 1]
                row.scores += [row.token(token, one) for token, one in zip(following, logits, strict=False)]
            if row.known == len(row.prompt):
                self._reading.pop(0)
                self._batch += self._take([row], logits[-1:])

    def _step(self) -> None:
        """The next token of every answer."""
        if self._batch:
            self._batch = self._take(
                self._batch, self._forward(self._batch, [[row.last] for row in self._batch])[:, -1]
            )

    def _forward(self, rows: list[Row], tokens: list[list[int]], *, whole: bool = False) -> Tensor:
        """The logits after the next tokens of each row: after all of them, or after the last one."""
        self._computed, width = rows, len(tokens[0])
        self.adapt([row.adapted for row in rows])
        found: Tensor = self.model(
            input_ids=torch.tensor(tokens), position_ids=torch.tensor([[*range(row.known, row.known + width)] for row in rows]),
            past_key_values=_Caches(rows), use_cache=True, logits_to_keep=0 if whole else 1,
        ).logits  # fmt: skip
        for row in rows:
            row.known += width
        return found

    def _take(self, rows: list[Row], logits: Tensor) -> list[Row]:
        """Choose the next token of each row and report it; the rows that go on."""
        going = []
        for row, one in zip(rows, logits, strict=True):
            row.last = chosen = row.draw.token(one)
            row.count += 1
            row.on_news(row.token(chosen, one))
            if chosen in self.ends or row.count == row.most:
                row.on_news(Ended("stop" if chosen in self.ends else "length"))
            else:
                going.append(row)
        return going
