"""Keys and values of the requests being answered, one slot a request, packed at the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_STEP = 64  # the cache grows by so many tokens at a time


@dataclass(frozen=True)
class Places:
    """Where the rows of one pass belong."""

    count: int  # running requests, one row each
    slots: Tensor
    positions: Tensor
    last_rows: Tensor
    prompts: list[tuple[int, int]]  # first row and row after the last, of each new request
    mask: Tensor | None  # which cached tokens each running request may see


class Cache:
    """Slots of keys and values that grow with need.

    Args:
        layers, kv_heads, head_size: the model's sizes.
    """

    def __init__(self, layers: int, kv_heads: int, head_size: int) -> None:
        self._sizes = (kv_heads, head_size)
        self.keys = [torch.empty(0, kv_heads, 0, head_size) for _ in range(layers)]
        self.values = [torch.empty(0, kv_heads, 0, head_size) for _ in range(layers)]
        self.lengths: list[int] = []

    def extend(self, count: int, prompts: Sequence[int]) -> Places:
        """Make room for one more token of each running request and for new prompts of these lengths."""
        positions = torch.tensor(self.lengths[:count], dtype=torch.long)
        slots, ends, row = [torch.arange(count)], [], count
        spans: list[tuple[int, int]] = []
        for number, length in enumerate(prompts):
            slots.append(torch.full((length,), count + number))
            spans.append((row, row + length))
            row += length
            ends.append(row - 1)
        positions = torch.cat((positions, *(torch.arange(length) for length in prompts)))
        self.lengths = [length + 1 for length in self.lengths[:count]] + list(prompts)
        self._reserve(len(self.lengths), max(self.lengths))
        mask = None
        if count:
            longest = max(self.lengths[:count])
            mask = (torch.arange(longest)[None] <= positions[:count, None])[:, None, None]
        last = torch.cat((torch.arange(count), torch.tensor(ends, dtype=torch.long)))
        return Places(count, torch.cat(slots), positions, last, spans, mask)

    def _reserve(self, slots: int, tokens: int) -> None:
        have_slots, _, have_tokens, _ = self.keys[0].shape
        if slots <= have_slots and tokens <= have_tokens:
            return
        kv_heads, head_size = self._sizes
        whole = (max(slots, have_slots), kv_heads, max(-(-tokens // _STEP) * _STEP, have_tokens), head_size)
        for store in (self.keys, self.values):
            for number, old in enumerate(store):
                # Zeros and not empty: a masked position still takes part in a product, and 0 x NaN is NaN.
                store[number] = torch.zeros(whole)
                store[number][:have_slots, :, :have_tokens] = old

    def attend(self, layer: int, places: Places, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Store the rows' keys and values in a layer and return what their queries see."""
        keys, values = self.keys[layer], self.values[layer]
        keys[places.slots, :, places.positions] = key
        values[places.slots, :, places.positions] = value
        kv_heads, head_size = self._sizes
        heads, count = query.shape[1], places.count
        seen = torch.empty_like(query)
        if places.mask is not None:
            longest = places.mask.shape[-1]
            # Query heads that share a key head stand in as queries of one head: nothing is copied.
            grouped = query[:count].reshape(count, kv_heads, heads // kv_heads, head_size)
            answer = F.scaled_dot_product_attention(
                grouped, keys[:count, :, :longest], values[:count, :, :longest], attn_mask=places.mask
            )
            seen[:count] = answer.reshape(count, heads, head_size)
        for first, end in places.prompts:
            q, k, v = (rows[first:end].transpose(0, 1)[None] for rows in (query, key, value))
            answer = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads != kv_heads)
            seen[first:end] = answer[0].transpose(0, 1)
        return seen

    def drop(self, slot: int) -> None:
        """Free a slot: the last one moves into it, as the caller's list of requests must do too."""
        last = len(self.lengths) - 1
        if slot != last:
            length = self.lengths[last]
            for store in (*self.keys, *self.values):
                store[slot, :, :length] = store[last, :, :length]
            self.lengths[slot] = self.lengths[last]
        self.lengths.pop()
