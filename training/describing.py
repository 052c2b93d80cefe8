"""What metrics.json says of a training beside its losses: how it went, the model, and the memory that was planned for it."""

from __future__ import annotations

import resource
import sys

import torch
from transformers import TrainerState

from model.network import Network
from watch import Watch

CURVE_POINTS = 500  # at most so many in metrics.json


def training_of(
    state: TrainerState, watch: Watch, steps: int, network: Network, unmeasured: str | None
) -> dict[str, object]:
    """How the training went: of `steps` that were planned, with its curve in nats a token, seconds and bytes.

    `unmeasured` is why losses of the tuned model lack, where some do.
    """
    curve = [entry for entry in state.log_history if "loss" in entry]
    stride = -(-len(curve) // CURVE_POINTS) or 1
    tokens, seconds = watch.tokens(state.global_step), watch.progress.seconds
    return {
        "steps": state.global_step,
        "planned_steps": steps,
        "epochs": round(watch.epochs(state.global_step), 4),
        "seconds": round(seconds, 3),
        "tokens_seen": tokens,
        "tokens_per_second": round(tokens / max(seconds, 1e-9), 2),
        "peak_memory_bytes": _peak_memory(network),
        "stopped_early": watch.stopped_early,
        "unmeasured": unmeasured,
        "starts": watch.starts.count,
        "steps_again": watch.starts.steps_again,
        "loss_curve": [
            {"step": entry["step"], "loss": round(entry["loss"], 5), "learning_rate": entry["learning_rate"]}
            for entry in curve[::stride]
        ],
    }


def _peak_memory(network: Network) -> int:
    if network.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(network.device))
    return peak_resident_bytes()


def peak_resident_bytes() -> int:
    """The most memory that this process has had until now."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # Linux counts in KiB, macOS in bytes


def model_of(network: Network) -> dict[str, object]:
    """The base model as it was loaded, and how much of it the adapter adds."""
    configuration = network.causal.config
    return {
        "name": network.name,
        "architecture": type(network.causal).__name__,
        "parameters": network.parameters,
        "trainable_parameters": sum(value.numel() for value in network.trainable.values()),
        "hidden_size": configuration.hidden_size,
        "layers": configuration.num_hidden_layers,
        "quantization": network.plan.quantization,
        "dtype": network.plan.dtype_name,
    }


def memory_of(network: Network) -> dict[str, object]:
    """The plan, to be held against `peak_memory_bytes`."""
    plan = network.plan
    return {
        "planned_bytes": plan.needed_bytes,
        "free_bytes": plan.free_bytes,
        "micro_batch": plan.micro_batch,
        "activation_checkpointing": plan.checkpointing,
    }
