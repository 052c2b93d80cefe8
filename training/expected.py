"""How long a job without a GPU will take, from a second of measuring: machines differ tenfold, and somebody waits for it.

On a GPU the progress lines say it within seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from model.network import Network

WARM_UP_TOKENS, MEASURED_TOKENS = 16, 256


def seconds_on_cpu(network: Network, *, trained_tokens: int, scored_tokens: int) -> float:
    """Seconds for as many tokens of training and of scoring, by one sequence of each."""
    return trained_tokens * _seconds_a_token(network, _train) + scored_tokens * _seconds_a_token(network, _score)


def _seconds_a_token(network: Network, work: Callable[[Network, torch.Tensor], None]) -> float:
    for count in (WARM_UP_TOKENS, MEASURED_TOKENS):  # the first call of an operation takes longer
        tokens = (torch.arange(count) % network.known_tokens)[None]
        begun = time.monotonic()
        with torch.random.fork_rng(devices=[]):  # dropout draws, and the run's own numbers stay as they were seeded
            work(network, tokens)
        seconds = time.monotonic() - begun
    return seconds / MEASURED_TOKENS


def _score(network: Network, tokens: torch.Tensor) -> None:
    with network.scoring(tuned=True):
        network.token_losses(tokens, tokens)


def _train(network: Network, tokens: torch.Tensor) -> None:
    """Forward and backward, without a step."""
    with torch.autocast(network.device.type, dtype=torch.bfloat16, enabled=network.autocast):
        hidden = network.causal(input_ids=tokens, use_cache=False).logits
    network.output.summed_loss(hidden, tokens).backward()
    network.adapted.zero_grad()
