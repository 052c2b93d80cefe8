"""The plan of memory, from the sizes of a model that torch has measured: common/memory.py, which Preflight reckons with, chooses it."""

from __future__ import annotations

import dataclasses
from typing import Any

import psutil
import torch

from arguments import Arguments
from common import memory
from common.memory import MOST_SEQUENCES_PER_STEP, Sizes
from failure import TrainingFailure


class Plan(memory.Plan):
    """How the model is to be held, with torch's own name of its number format."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights that are not quantised, and of the multiplications."""
        found: torch.dtype = getattr(torch, self.dtype_name)
        return found


def sizes_of(causal: Any, adapted_layers: list[str], rank: int) -> Sizes:
    """Measures a model, which may be one without data (on torch's meta device)."""
    linear = [
        layer
        for name, layer in causal.named_modules()
        if isinstance(layer, torch.nn.Linear) and name.rpartition(".")[2] in adapted_layers
    ]
    configuration = causal.config
    hidden = configuration.hidden_size
    return Sizes(
        parameters=sum(value.numel() for value in causal.parameters()),
        linear_parameters=sum(layer.weight.numel() for layer in linear),
        adapter_parameters=sum(rank * (layer.in_features + layer.out_features) for layer in linear),
        layers=configuration.num_hidden_layers,
        hidden=hidden,
        intermediate=getattr(configuration, "intermediate_size", 4 * hidden),
        vocabulary=configuration.vocab_size,
    )


def free_bytes(device: torch.device) -> int:
    """What the card, or the machine without one, has free now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def plan(sizes: Sizes, arguments: Arguments, device_type: str, free: int, *, fast_bfloat16: bool = True) -> Plan:
    """The most precise way that fits `free` bytes. A CPU without fast bfloat16 computes in float32 where that fits comfortably.

    Raises TrainingFailure for a GPU that is too small even for 4 bits; a CPU's machine may have memory to swap to, and is let try.
    """
    sequences = arguments.sequences_per_step or MOST_SEQUENCES_PER_STEP
    length, in_float32 = arguments.sequence_length, not fast_bfloat16
    found = memory.most_precise(sizes, free, device_type, length=length, sequences=sequences, in_float32=in_float32)
    if device_type == "cuda" and not found.fits:
        raise TrainingFailure(
            f"The model does not fit one GPU: even 4-bit weights need about {found.needed_bytes / 1e9:.1f} GB, and the GPU has {free / 1e9:.1f} GB free. "
            "More GPUs do not help, because training copies the model to each.",
            "Choose a training instance whose GPU has more memory, or lower sequence_length or lora_rank.",
        )
    return Plan(**dataclasses.asdict(found))
