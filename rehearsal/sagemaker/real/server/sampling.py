"""The next token of each row of a batch: the most likely one, or a draw with the row's own seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor

_CANDIDATES = 256  # enough tokens to hold top_p of the mass nearly always; else the whole vocabulary is sorted


@dataclass(frozen=True)
class Sampling:
    """How a completion's tokens are chosen. Temperature 0 takes the most likely token; no seed is a seed at random."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


class Draws(LogitsProcessor):
    """Leaves greedy rows as they are and, of each other row, only the token that was drawn.

    With it `generate` may search greedily over greedy and sampled rows together. Each row draws from a generator of its
    own, so that what else is in the batch has no part in its draws.
    """

    def __init__(self, rows: Sequence[Sampling]) -> None:
        self._drawn = [number for number, row in enumerate(rows) if row.temperature > 0]
        self._top_p = [rows[number].top_p for number in self._drawn]
        self._heat = torch.tensor([[rows[number].temperature] for number in self._drawn])
        self._sources = [_source(rows[number].seed) for number in self._drawn]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores (rows, words) with all but the drawn token of each sampled row ruled out."""
        if not self._drawn:
            return scores
        scaled = scores[self._drawn].float() / self._heat
        whole = torch.logsumexp(scaled, dim=-1, keepdim=True)
        values, words = torch.topk(scaled, min(_CANDIDATES, scaled.shape[1]), dim=-1)
        cumulated = (values - whole).exp().double().cumsum(dim=-1)
        scores = scores.clone()
        for row, (number, top_p, source) in enumerate(zip(self._drawn, self._top_p, self._sources, strict=True)):
            sums, names = cumulated[row], words[row]
            if sums[-1] < top_p and len(sums) < scaled.shape[1]:
                ordered, names = torch.sort(scaled[row], descending=True)
                sums = (ordered - whole[row]).exp().double().cumsum(dim=-1)
            # The smallest set whose mass reaches top_p, then a draw within it.
            size = min(int(torch.searchsorted(sums, top_p)) + 1, len(sums))
            point = float(torch.rand((), generator=source, dtype=torch.float64)) * float(sums[size - 1])
            chosen = names[min(int(torch.searchsorted(sums[:size], point, right=True)), size - 1)]
            scores[number] = -torch.inf
            scores[number, chosen] = 0.0
        return scores


def _source(seed: int | None) -> torch.Generator:
    source = torch.Generator()
    if seed is None:
        source.seed()
    else:
        source.manual_seed(seed % (1 << 63))  # of any integer what a generator takes
    return source
