"""One batch that answers join and leave at every token, through transformers and PEFT.

transformers' own continuous batching packs all requests into one row, where PEFT cannot tell base requests from adapted ones, and has no
seed for a request. Here each answer is a row with a separate cache, padded on the left.
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
from torch.nn.functional import log_softmax, pad
from transformers import DynamicCache

from .contract import Sampling
from .generation import ADAPTER, BASE, Draw, LoadedModel

READ_AT_ONCE = 512  # tokens of prompts between two tokens of the answers that are under way
# An idle engine waits this long for one more request: in bfloat16 the rounding of an answer depends on the batch that it is in, so
# requests that come together have to be answered in one batch each time.
QUIET_SECONDS = 0.1
_LEAST_AT_ONCE = 16  # of each prompt


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

    def __post_init__(self) -> None:
        self.draw = Draw(self.sampling)

    def token(self, id_: int, logits: Tensor) -> Token:
        """The token, with what is wanted of the logits (one for each word) that it was chosen by."""
        if self.top is None:
            return Token(id_)
        chances = log_softmax(logits.float(), dim=-1)
        values, words = torch.topk(chances, self.top) if self.top else (torch.empty(0), torch.empty(0))
        return Token(id_, float(chances[id_]), tuple(zip(words.int().tolist(), values.tolist(), strict=True)))


@dataclass
class _Part:
    """Rows of one cache. `seen` has 1 where a column of the cache is a token of the row, and 0 where it is padding."""

    rows: list[Row]
    cache: Any
    seen: Tensor

    def keep(self, places: list[int]) -> None:
        """Leave out all other rows, and the columns that only they needed."""
        chosen = torch.tensor(places, dtype=torch.long)
        seen = self.seen[chosen]
        first = int(seen.any(dim=0).nonzero()[0]) if places else 0
        self.rows, self.seen = [self.rows[place] for place in places], seen[:, first:]
        for layer in self.cache.layers:
            layer.keys, layer.values = (part[chosen][:, :, first:] for part in (layer.keys, layer.values))

    def join(self, other: _Part) -> None:
        """Add the rows of another part."""
        width = max(self.seen.shape[1], other.seen.shape[1])

        def both(one: Tensor, another: Tensor, place: int) -> Tensor:
            # `pad` counts dimensions from the last one.
            before = [0, 0] * (-1 - place)
            return torch.cat([pad(part, (*before, width - part.shape[place], 0)) for part in (one, another)])

        self.rows, self.seen = self.rows + other.rows, both(self.seen, other.seen, -1)
        for mine, theirs in zip(self.cache.layers, other.cache.layers, strict=True):
            mine.keys, mine.values = both(mine.keys, theirs.keys, -2), both(mine.values, theirs.values, -2)


class ContinuousBatch(LoadedModel):
    """A causal model with one adapter, or none, whose thread answers every row that is submitted.

    Of more than `most_at_once` rows, those that have waited longest come first.
    """

    def __init__(self, folder: Path, adapter: Path | None, dtype: str, most_at_once: int) -> None:
        super().__init__(folder, adapter, dtype)
        self._most_at_once = most_at_once
        self._arrivals: queue.SimpleQueue[Row] = queue.SimpleQueue()
        self._waiting: list[Row] = []
        self._batch: _Part | None = None  # rows with tokens under way
        self._reading: _Part | None = None  # rows whose prompts are read
        self._prompts = self._mask = torch.empty(0)  # of those, as far as they are not read
        threading.Thread(target=self._loop, daemon=True, name="answers").start()

    def submit(self, row: Row) -> None:
        """Queue a row; its `on_news` is called."""
        self._arrivals.put(row)

    def _loop(self) -> None:
        while True:
            self._admit()
            for step, name in ((self._read_on, "_reading"), (self._step, "_batch")):
                part: _Part | None = getattr(self, name)
                try:
                    with torch.inference_mode():
                        step()
                except Exception as error:  # these rows fail; the server lives on
                    traceback.print_exc()
                    setattr(self, name, None)
                    for row in part.rows if part else []:
                        row.on_news(Ended(error=repr(error)))

    def _admit(self) -> None:
        """Take arrivals, drop rows whose client has left, and begin to read the next prompts."""
        if not (self._waiting or self._batch or self._reading):
            self._waiting.append(self._arrivals.get())
            with contextlib.suppress(queue.Empty):
                while len(self._waiting) < self._most_at_once:
                    self._waiting.append(self._arrivals.get(timeout=QUIET_SECONDS))
        with contextlib.suppress(queue.Empty):
            while True:
                self._waiting.append(self._arrivals.get_nowait())
        self._waiting = [row for row in self._waiting if not row.left]
        if self._reading and all(row.left for row in self._reading.rows):
            self._reading = None
        if self._waiting and self._reading is None:
            self._begin_to_read()

    def _begin_to_read(self) -> None:
        """The row that has waited longest, and those of like length, as far as there is room."""
        rows, first = list(self._batch.rows if self._batch else []), self._waiting[0]
        chosen = list[Row]()
        for row in self._waiting:
            alike = len(first.prompt) <= 2 * len(row.prompt) <= 4 * len(first.prompt)
            together = [*rows, *chosen, row]
            needed = len(together) * max(len(one.prompt) + one.most for one in together)
            fits = len(together) <= self._most_at_once and needed <= self.room
            if fits and alike or not (rows or chosen):
                chosen.append(row)
        if not chosen:
            return
        self._waiting = [row for row in self._waiting if row not in chosen]
        longest = max(len(row.prompt) for row in chosen)
        self._prompts = torch.full((len(chosen), longest), min(self._ends, default=0))
        self._mask = torch.zeros_like(self._prompts)
        for place, row in enumerate(chosen):
            self._prompts[place, longest - len(row.prompt) :] = torch.tensor(row.prompt)
            self._mask[place, longest - len(row.prompt) :] = 1
        self._reading = _Part(chosen, DynamicCache(), self._mask[:, :0])

    def _read_on(self) -> None:
        """Read the next part of the prompts; when that was the last one, their rows join the batch."""
        if (part := self._reading) is None:
            return
        width = max(_LEAST_AT_ONCE, READ_AT_ONCE // len(part.rows))
        prompts, mask = self._prompts, self._mask
        scored = any(row.scored for row in part.rows)
        logits = self._forward(part, prompts[:, :width], mask[:, :width], whole=scored)
        for place, row in enumerate(part.rows):
            for column in range(min(width, prompts.shape[1])) if row.scored else ():
                if mask[place, column] and not row.scores:
                    row.scores.append(Token(int(prompts[place, column])))  # nothing stands before the first one
                if mask[place, column] and column + 1 < prompts.shape[1]:
                    row.scores.append(row.token(int(prompts[place, column + 1]), logits[place, column]))
        self._prompts, self._mask = prompts[:, width:], mask[:, width:]
        if self._prompts.shape[1]:
            return
        self._reading = None
        self._take(part, logits[:, -1])
        if not part.rows:
            return
        if self._batch is None:
            self._batch = part
        else:
            self._batch.join(part)

    def _step(self) -> None:
        if (part := self._batch) is None:
            return
        if any(row.left for row in part.rows):
            part.keep([place for place, row in enumerate(part.rows) if not row.left])
        if part.rows:
            last = torch.tensor([[row.last] for row in part.rows])
            self._take(part, self._forward(part, last, torch.ones_like(last))[:, -1])
        if not part.rows:
            self._batch = None

    def _forward(self, part: _Part, tokens: Tensor, mask: Tensor, *, whole: bool = False) -> Tensor:
        """The logits after the next tokens of each row: after all of them, or after the last one."""
        part.seen = torch.cat([part.seen, mask], dim=1)
        places = (part.seen.cumsum(dim=1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        adapters = {"adapter_names": [ADAPTER if row.adapted else BASE for row in part.rows]} if self._adapted else {}
        found: Tensor = self._model(
            input_ids=tokens, attention_mask=part.seen, position_ids=places, past_key_values=part.cache, use_cache=True,
            logits_to_keep=0 if whole else 1, **adapters,
        ).logits  # fmt: skip
        return found

    def _take(self, part: _Part, logits: Tensor) -> None:
        """Choose the next token of each row, report it, and leave out the rows that have ended."""
        going = list[int]()
        for place, (row, one) in enumerate(zip(part.rows, logits, strict=True)):
            row.last = chosen = row.draw.token(one)
            row.count += 1
            row.on_news(row.token(chosen, one))
            if chosen in self._ends or row.count == row.most:
                row.on_news(Ended("stop" if chosen in self._ends else "length"))
            else:
                going.append(place)
        if len(going) < len(part.rows):
            part.keep(going)
