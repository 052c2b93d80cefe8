"""Losses by blocks of positions, held against plain torch on all logits at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from failure import TrainingFailure
from model.accelerator import tiny_layer
from model.loss import BLOCK, OutputLayer
from text import IGNORED

pytestmark = pytest.mark.slow

POSITIONS = 2 * BLOCK + 44  # no whole number of blocks


class Largest(TorchDispatchMode):
    """Sees every tensor that is made, and keeps the size of the largest."""

    numbers = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numbers = max(self.numbers, made.numel())
        return made


@pytest.fixture
def causal() -> Any:
    return tiny_layer().float().get_base_model()


@pytest.fixture
def rows(causal: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states (2, POSITIONS / 2, width), and labels of which some are not to be learnt."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, POSITIONS // 2, causal.config.hidden_size, generator=generator)
    labels = torch.randint(causal.config.vocab_size, (2, POSITIONS // 2), generator=generator)
    labels[0, ::7] = IGNORED
    return hidden, labels


def by_torch(matrix: torch.Tensor, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits = (hidden @ matrix.T).flatten(0, 1)
    return functional.cross_entropy(logits, labels.flatten(), ignore_index=IGNORED, reduction="none").view_as(labels)


def test_each_tokens_loss_is_torchs_own(causal: Any, rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    output = OutputLayer(causal)
    found = output.token_losses(*rows)
    torch.testing.assert_close(found, by_torch(output.matrix, *rows))
    assert (found[rows[1] == IGNORED] == 0).all()


def test_the_sum_has_torchs_slope(causal: Any, rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    output = OutputLayer(causal)
    hidden, labels = rows
    one, other = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    found, expected = output.summed_loss(one, labels), by_torch(output.matrix, other, labels).sum()
    (0.25 * found).backward()
    (0.25 * expected).backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(one.grad, other.grad)


def test_logits_of_more_than_a_block_are_never_held(causal: Any, rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    output = OutputLayer(causal)
    hidden, labels = rows
    most = BLOCK * causal.config.vocab_size
    assert most < labels.numel() * causal.config.vocab_size
    with Largest() as seen:
        output.token_losses(hidden, labels)
        output.summed_loss(hidden.clone().requires_grad_(), labels).backward()
    assert seen.numbers <= max(most, hidden.numel())


def test_the_model_answers_with_hidden_states_and_its_loss_is_that_of_all_its_logits(causal: Any) -> None:
    tokens = torch.arange(12)[None] % causal.config.vocab_size
    following = tokens.roll(-1)
    logits = causal(input_ids=tokens).logits
    output = OutputLayer(causal)
    answer = causal(
        input_ids=tokens, labels=following, shift_labels=following, num_items_in_batch=torch.tensor(tokens.numel())
    )
    torch.testing.assert_close(answer.logits @ output.matrix.T, logits)
    torch.testing.assert_close(answer.loss, functional.cross_entropy(logits[0], following[0]))


def test_an_output_layer_that_is_more_than_a_matrix_is_refused(causal: Any) -> None:
    causal.set_output_embeddings(torch.nn.Linear(causal.config.hidden_size, causal.config.vocab_size))
    with pytest.raises(TrainingFailure, match="not a plain matrix"):
        OutputLayer(causal)


def test_logits_that_are_capped_are_refused(causal: Any) -> None:
    causal.config.final_logit_softcapping = 30.0
    with pytest.raises(TrainingFailure, match="not a plain matrix"):
        OutputLayer(causal)
