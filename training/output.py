"""The files of a finished job, metrics.json last: where it stands, everything beside it is whole."""

import json
import os
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialize
from transformers import TrainerState

from model.network import SERVED, Network
from watch import Watch

CURVE_POINTS = 500  # at most, in metrics.json
PARTIAL = ".partial"  # inside the folder, because SageMaker may mount it: renames must not cross devices
WEIGHTS = "adapter_model.safetensors"
ADAPTER_FILES = (WEIGHTS, "adapter_config.json", "README.md")
README = """# LoRA adapter

`adapter_config.json` and `adapter_model.safetensors` are in PEFT's format; a server loads them beside the base
model{name}. `metrics.json` holds how it was trained and the losses per document before and after.
"""


def publish(root: Path, network: Network, metrics: dict[str, Any]) -> int:
    """Returns the adapter's bytes after writing it, a note and metrics.json into <root>/model, and metrics.json into <root>/output/data.

    All is written aside first, so that a full disk or a kill leaves no file that looks finished. The weights are in the number
    format in which they are served. Raises OSError.
    """

    weights = serialize(network.adapter(SERVED), metadata={"format": "pt"})
    name = metrics["base_model"]["name"]
    final = root / "model"
    partial = final / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        (partial / WEIGHTS).write_bytes(weights)
        network.adapted.peft_config["default"].save_pretrained(partial)
        (partial / "README.md").write_text(README.format(name=f" ({name})" if name else ""), encoding="utf-8")
        for file in ADAPTER_FILES:
            os.replace(partial / file, final / file)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    publish_metrics(root, metrics)
    return len(weights)


def publish_metrics(root: Path, metrics: dict[str, Any]) -> None:
    """Writes metrics.json, or puts a fuller one in its place. Raises OSError; what stood there then still stands."""
    text = json.dumps(metrics, indent=1, allow_nan=False) + "\n"
    for folder in (root / "model", root / "output" / "data"):
        partial = folder / PARTIAL
        try:
            partial.mkdir(parents=True, exist_ok=True)
            (partial / "metrics.json").write_text(text, encoding="utf-8")
            os.replace(partial / "metrics.json", folder / "metrics.json")
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def training_of(
    state: TrainerState, watch: Watch, steps: int, network: Network, unmeasured: str | None
) -> dict[str, object]:
    """How the training went: of `steps` that were planned, with its curve in nats a token, seconds and bytes.

    `unmeasured` is why losses of the tuned model lack, where some do.
    """
    curve = [entry for entry in state.log_history if "loss" in entry]
    points = [entry for entry in state.log_history if "eval_loss" in entry]
    stride = -(-len(curve) // CURVE_POINTS) or 1
    tokens, seconds, on_gpu = watch.tokens(state.global_step), watch.progress.seconds, network.device.type == "cuda"
    return {
        "steps": state.global_step,
        "planned_steps": steps,
        "epochs": round(watch.epochs(state.global_step), 4),
        "seconds": round(seconds, 3),
        "tokens_seen": tokens,
        "tokens_per_second": round(tokens / max(seconds, 1e-9), 2),
        "peak_memory_bytes": int(torch.cuda.max_memory_allocated(network.device)) if on_gpu else peak_resident_bytes(),
        "stopped_early": watch.stopped_early,
        "unmeasured": unmeasured,
        "starts": watch.starts.count,
        "steps_again": watch.starts.steps_again,
        "loss_curve": [
            {"step": entry["step"], "loss": round(entry["loss"], 5), "learning_rate": entry["learning_rate"]}
            for entry in curve[::stride]
        ],
        "heldout_curve": {
            "documents": len(watch.curve.documents),
            "tokens": sum(len(document.tokens) for document in watch.curve.documents),
            "seconds": round(sum(entry["eval_runtime"] for entry in points), 3),
            "points": [{"step": entry["step"], "loss": round(entry["eval_loss"], 5)} for entry in points],
        },
    }


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
        "trainable_parameters": network.trainable_parameters,
        "hidden_size": configuration.hidden_size,
        "layers": configuration.num_hidden_layers,
        "quantization": network.plan.quantization,
        "dtype": network.plan.dtype_name,
    }


def memory_of(network: Network) -> dict[str, object]:
    """The plan, to be compared with `peak_memory_bytes`."""
    plan = network.plan
    return {
        "planned_bytes": plan.needed_bytes,
        "free_bytes": plan.free_bytes,
        "micro_batch": plan.micro_batch,
        "activation_checkpointing": plan.checkpointing,
    }
