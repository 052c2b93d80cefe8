"""The plan of memory: whether 16-bit weights fit, and what is given up where they don't.

In public runs LoRA on a bfloat16 Llama 2 7B peaked at 15 to 17 GB on the 24 GB of an A10G; `estimate` gives 16.0 for sequences of 512
tokens. Of what it adds up, the activations are tested against what torch really keeps for the backward pass.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import psutil
import torch

from arguments import MOST_SEQUENCES_PER_STEP, Arguments
from failure import TrainingFailure
from model.loss import BLOCK, LOGIT_BYTES

# Tokens that go through the model at once. On a CPU 1,024 took 3.4 GiB in all, 512 takes 2.1.
MICRO_TOKENS = {"cpu": 512, "cuda": 2048}
USABLE = 0.92  # of the free memory: the rest is for the allocator's gaps and the libraries' workspaces
KEEP = (
    0.6  # activations are kept only while all fits into this share; the estimate is not yet compared with a real card
)
FIXED_BYTES = 600_000_000  # libraries, tokenizer, the corpus and what an evaluation holds at once
ADAPTER_BYTES = 4 + 4 + 8 + 2  # per parameter in float32: weight, gradient, AdamW's two moments; and its bfloat16 copy
# Bytes of a weight in 4-bit NormalFloat: half a byte, a scale in 8 bits for 64 of them, a scale of scales for 256 of those.
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)


@dataclasses.dataclass(frozen=True)
class Shape:
    """What of a model decides how much memory it takes."""

    parameters: int
    linear_parameters: int  # of the layers that get an adapter; only these are ever quantised
    adapter_parameters: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the model is to be held, and the bytes that this takes of those that are free."""

    quantization: str  # "none" or "nf4"
    dtype: torch.dtype  # of the weights that are not quantised, and of the multiplications
    micro_batch: int  # sequences at a time
    checkpointing: bool  # activations are computed again in the backward pass instead of being kept
    needed_bytes: int
    free_bytes: int

    @property
    def dtype_name(self) -> str:
        """Such as "bfloat16"."""
        return str(self.dtype).removeprefix("torch.")


def shape_of(causal: Any, adapted_layers: list[str], rank: int) -> Shape:
    """Measures a model, which may be one without data (on torch's meta device)."""
    linear = [
        layer
        for name, layer in causal.named_modules()
        if isinstance(layer, torch.nn.Linear) and name.rpartition(".")[2] in adapted_layers
    ]
    configuration = causal.config
    hidden = configuration.hidden_size
    return Shape(
        parameters=sum(value.numel() for value in causal.parameters()),
        linear_parameters=sum(layer.weight.numel() for layer in linear),
        adapter_parameters=sum(rank * (layer.in_features + layer.out_features) for layer in linear),
        layers=configuration.num_hidden_layers,
        hidden=hidden,
        intermediate=getattr(configuration, "intermediate_size", 4 * hidden),
        vocabulary=configuration.vocab_size,
    )


def kept_bytes(shape: Shape, tokens: int, *, width_bytes: int = 2) -> int:
    """What one layer keeps of `tokens` for its backward pass.

    Per token, in numbers of the model's width: the inputs of the attention's and the perceptron's first layers and of the output
    projection (3), query, key, value and result of the attention (4), and each norm's input in float32 (2 × 4 bytes) with its output
    before the scale (2). In numbers of the perceptron's width: gate, its activation, up, and their product (4).
    """
    return tokens * (width_bytes * ((3 + 4 + 2) * shape.hidden + 4 * shape.intermediate) + 2 * 4 * shape.hidden)


def estimate(shape: Shape, tokens: int, *, quantization: str, dtype: torch.dtype, checkpointing: bool) -> int:
    """Bytes at the peak of a training step with `tokens` at a time."""
    width = dtype.itemsize
    weights: float = shape.parameters * width
    if quantization == "nf4":
        weights += shape.linear_parameters * (NF4_BYTES - width)
    layer = kept_bytes(shape, tokens, width_bytes=width)
    # Kept: every layer's. Computed again: every layer's input, and one layer's in full. The slopes of one layer in either case.
    activations = shape.layers * (tokens * shape.hidden * width if checkpointing else layer) + 2 * layer
    logits = LOGIT_BYTES * min(tokens, BLOCK) * shape.vocabulary
    return int(weights + ADAPTER_BYTES * shape.adapter_parameters + activations + logits + FIXED_BYTES)


def free_bytes(device: torch.device) -> int:
    """What the card, or the machine without one, has free now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def plan(shape: Shape, arguments: Arguments, device_type: str, free: int, *, fast_bfloat16: bool = True) -> Plan:
    """The most precise way that fits `free` bytes: bfloat16 weights, and on a GPU 4-bit ones where those don't fit.

    A CPU without fast bfloat16 computes in float32 where that fits comfortably. Raises TrainingFailure for a GPU that is too small
    even for 4 bits; a CPU's machine may have memory to swap to, and is let try.
    """
    length = arguments.sequence_length
    most = max(1, min(MICRO_TOKENS[device_type] // length, arguments.sequences_per_step or MOST_SEQUENCES_PER_STEP))

    def planned(quantization: str, dtype: torch.dtype, micro_batch: int, checkpointing: bool) -> Plan:
        tokens = micro_batch * length
        needed = estimate(shape, tokens, quantization=quantization, dtype=dtype, checkpointing=checkpointing)
        return Plan(quantization, dtype, micro_batch, checkpointing, needed, free)

    if not fast_bfloat16:
        found = planned("none", torch.float32, most, False)
        if found.needed_bytes <= KEEP * free:
            return found
    for quantization in ("none", "nf4") if device_type == "cuda" else ("none",):
        found = planned(quantization, torch.bfloat16, most, False)
        if found.needed_bytes <= KEEP * free:
            return found
        micro_batch = most
        while micro_batch >= 1:
            found = planned(quantization, torch.bfloat16, micro_batch, True)
            if found.needed_bytes <= USABLE * free:
                return found
            micro_batch //= 2
    if device_type == "cuda":
        raise TrainingFailure(
            f"The model does not fit one GPU: even 4-bit weights need about {found.needed_bytes / 1e9:.1f} GB, and the GPU has {free / 1e9:.1f} GB free. "
            "More GPUs do not help, because training copies the model to each.",
            "Choose a training instance whose GPU has more memory, or lower sequence_length or lora_rank.",
        )
    return found
