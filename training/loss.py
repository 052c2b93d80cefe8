"""Next-token loss over a large vocabulary without ever holding all logits.

The output layer is frozen, so the gradient of the loss with respect to the hidden states can be computed in the
forward pass, a block of positions at a time, while the block's logits are still at hand. For SmolLM2 (49,152 words)
and 1,024 positions this saves 400 MB of float32 and a second product with the output matrix.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from text import IGNORED

BLOCK = 256  # positions whose logits exist at the same time: 50 MB of float32 for 49,152 words


class _SummedLoss(torch.autograd.Function):
    """Sum of the negative log likelihoods; its backward pass only scales what the forward pass already knows."""

    @staticmethod
    def forward(context: Any, hidden: torch.Tensor, matrix: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden)
        for start in range(0, len(labels), BLOCK):
            part = slice(start, start + BLOCK)
            wanted = labels[part]
            counted = wanted != IGNORED
            logits = (hidden[part] @ matrix.T).float()
            logits -= logits.logsumexp(dim=-1, keepdim=True)  # now log probabilities
            rows = torch.arange(len(wanted), device=hidden.device)
            index = wanted.clamp_min(0)
            total -= (logits[rows, index] * counted).sum()
            slope = logits.exp_()
            slope[rows, index] -= 1.0
            slope *= counted.unsqueeze(1)
            gradient[part] = slope.to(matrix.dtype) @ matrix
        context.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(context: Any, *outward: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = context.saved_tensors
        return gradient * outward[0].to(gradient.dtype), None, None


def summed_loss(hidden: torch.Tensor, matrix: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum in nats of the negative log likelihood of `labels`, differentiable in `hidden`.

    `hidden` is (positions, width), `matrix` the frozen output matrix (words, width), `labels` (positions,) with
    `IGNORED` where nothing is to be learnt.
    """
    with torch.autocast(hidden.device.type, enabled=False):
        result: torch.Tensor = _SummedLoss.apply(hidden.to(matrix.dtype), matrix, labels)
        return result


@torch.no_grad()
def token_losses(hidden: torch.Tensor, matrix: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Negative log likelihood in nats of each label, 0 where it is `IGNORED`; same shapes as `summed_loss`."""
    losses = torch.empty(len(labels), dtype=torch.float32, device=hidden.device)
    with torch.autocast(hidden.device.type, enabled=False):
        hidden = hidden.to(matrix.dtype)
        for start in range(0, len(labels), BLOCK):
            part = slice(start, start + BLOCK)
            logits = (hidden[part] @ matrix.T).float()
            losses[part] = functional.cross_entropy(logits, labels[part], ignore_index=IGNORED, reduction="none")
    return losses
