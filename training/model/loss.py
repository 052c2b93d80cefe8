"""Next-token loss over a large vocabulary without ever holding all logits.

The output layer is frozen, so the slope of the loss with respect to the hidden states can be worked out in the forward pass, a block
of positions at a time, while the block's logits are still at hand. The trainer's own way holds logits of every position, five times
over: for Llama 3's 128,256 words and 2,048 positions, 5 GB of 24 instead of 0.4.
"""

from typing import Any

import torch
from torch.nn import functional

from common.memory import BLOCK
from failure import TrainingFailure
from text import IGNORED


class OutputLayer:
    """The model's frozen output layer, taken off: the model answers with hidden states, and this makes losses of them."""

    def __init__(self, causal: Any) -> None:
        """Raises TrainingFailure for a model whose logits are more than a product with one matrix."""
        layer = causal.get_output_embeddings()
        if getattr(layer, "bias", None) is not None or getattr(causal.config, "final_logit_softcapping", None):
            raise TrainingFailure(
                f"The output layer of {type(causal).__name__} is not a plain matrix.",
                "Choose a model of the Llama, Mistral or Qwen 2 family.",
            )
        self.matrix: torch.Tensor = layer.weight.detach()
        causal.set_output_embeddings(torch.nn.Identity())
        causal.loss_function = self._mean_loss

    def token_losses(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Negative log likelihood in nats of each label, 0 where it is `IGNORED`, for hidden states (…, width) and labels (…)."""
        with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
            flat = zip(_blocks(hidden.flatten(0, -2).to(self.matrix.dtype)), _blocks(labels.flatten()), strict=True)
            losses = [
                functional.cross_entropy(
                    (states @ self.matrix.T).float(), wanted, ignore_index=IGNORED, reduction="none"
                )
                for states, wanted in flat
            ]
        return torch.cat(losses).view_as(labels)

    def summed_loss(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The sum of the same losses, differentiable in `hidden`."""
        with torch.autocast(hidden.device.type, enabled=False):
            states = hidden.flatten(0, -2).to(self.matrix.dtype)
            found: torch.Tensor = _SummedLoss.apply(states, self.matrix, labels.flatten())
        return found

    def _mean_loss(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        *_: Any,
        shift_labels: torch.Tensor,
        num_items_in_batch: torch.Tensor,
        **__: Any,
    ) -> torch.Tensor:
        """As transformers asks for a loss: what it takes for logits are hidden states, and the step's tokens are counted.

        What else a family of models hands over, by name or (Gemma's vocabulary size) by place, is of no use here.
        """
        return self.summed_loss(logits, shift_labels) / num_items_in_batch


class _SummedLoss(torch.autograd.Function):
    """Sum of the negative log likelihoods; its backward pass only scales what the forward pass already knows."""

    @staticmethod
    def forward(context: Any, hidden: torch.Tensor, matrix: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden)
        for states, wanted, slopes in zip(_blocks(hidden), _blocks(labels), _blocks(gradient), strict=True):
            counted = wanted != IGNORED
            logits = (states @ matrix.T).float()
            logits -= logits.logsumexp(dim=-1, keepdim=True)  # now log probabilities
            rows = torch.arange(len(wanted), device=hidden.device)
            index = wanted.clamp_min(0)
            total -= (logits[rows, index] * counted).sum()
            slope = logits.exp_()
            slope[rows, index] -= 1.0
            slope *= counted.unsqueeze(1)
            slopes.copy_(slope.to(matrix.dtype) @ matrix)
        context.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(context: Any, *outward: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = context.saved_tensors
        return gradient * outward[0].to(gradient.dtype), None, None


def _blocks(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    blocks: tuple[torch.Tensor, ...] = values.split(BLOCK)
    return blocks
