"""Tokens are drawn from the smallest set that holds top_p, by the request's own seed."""

from __future__ import annotations

import torch
from torch import Tensor

from rehearsal.sagemaker.real.server.sampling import Draws, Sampling

NO_TOKENS = torch.zeros(1, 1, dtype=torch.long)


def _drawn(logits: Tensor, *rows: Sampling) -> list[int]:
    chosen: list[int] = Draws(rows)(NO_TOKENS, logits.expand(len(rows), -1)).argmax(dim=-1).tolist()
    return chosen


def test_draws_follow_the_probabilities_within_the_top_p() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    drawn = _drawn(logits, *(Sampling(1.0, 0.79, seed) for seed in range(4000)))
    assert set(drawn) == {0, 1}
    assert abs(drawn.count(0) / 4000 - 0.625) < 0.03


def test_a_lower_temperature_makes_the_likely_likelier() -> None:
    logits = torch.log(torch.tensor([[0.6, 0.4]]))
    shares = [
        _drawn(logits, *(Sampling(heat, 1.0, seed) for seed in range(1000))).count(0) / 1000 for heat in (0.3, 1.0, 2.0)
    ]
    assert shares[0] > shares[1] + 0.1 > shares[2] + 0.1


def test_a_greedy_row_keeps_its_scores_beside_sampled_ones() -> None:
    logits = torch.tensor([[0.1, 3.0, 0.2], [0.1, 3.0, 0.2]])
    scores = Draws([Sampling(), Sampling(1.0, 1.0, 7)])(NO_TOKENS, logits)
    assert torch.equal(scores[0], logits[0])
    assert scores[1].isinf().sum() == 2
    assert torch.equal(logits[0], logits[1])  # what was given is left as it was


def test_a_flat_distribution_over_a_large_vocabulary_is_drawn_from_all_of_it() -> None:
    drawn = _drawn(torch.zeros(1, 5000), *(Sampling(1.0, 1.0, seed) for seed in range(300)))
    assert len(set(drawn)) > 250


def test_a_seed_draws_the_same_and_none_draws_anew() -> None:
    logits = torch.zeros(1, 5000)
    for seed in (0, -5, 1 << 70):
        assert _drawn(logits, Sampling(1.0, 1.0, seed)) == _drawn(logits, Sampling(1.0, 1.0, seed))
    assert len(set(_drawn(logits, *(Sampling(1.0) for _ in range(20))))) > 10
