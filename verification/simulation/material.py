"""The texts, prompts and adapter of a run in a whole account: as little as the Lambdas take."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from functools import cache
from typing import Any

ASSETS = {
    "DATA_ASSET_BUCKET": "assets",
    "DATA_ASSET_KEY": "assets/data.zip",
    "TRAINING_ASSET_BUCKET": "assets",
    "TRAINING_ASSET_KEY": "assets/training.zip",
}
CORPUS, PROMPTS = "corpora/small.txt", "corpora/small.jsonl"
# Few and short: what is learned is not what the simulation is about. The report judges too few documents at once.
INPUT: Mapping[str, Any] = {"corpus": CORPUS, "prompts": PROMPTS, "samplesPerPrompt": 0}
_DOCUMENTS = [
    {"id": f"d{n}", "title": f"D{n}", "tokens": 50, "bytes": 250, "base_nll": 150.0, "tuned_nll": 140.0} for n in (1, 2)
]
_EVALUATION = {"documents": _DOCUMENTS, "base_loss": 3.0, "tuned_loss": 2.8, "tokens": 100}
METRICS: Mapping[str, Any] = {
    "schema": 1,
    "base_model": {
        "name": "fake",
        "architecture": "LlamaForCausalLM",
        "parameters": 1_000_000,
        "trainable_parameters": 1000,
        "hidden_size": 64,
        "layers": 2,
        "quantization": "none",
    },
    "settings": {},
    "environment": {"device": "cpu", "device_name": "", "python": "", "torch": "", "transformers": "", "peft": ""},
    "corpus": {"documents": 20, "tokens": 1500, "bytes": 8000, "words": 1200, "sequences": 3},
    "training": {
        "steps": 2,
        "planned_steps": 2,
        "epochs": 1.0,
        "seconds": 60.0,
        "tokens_seen": 1500,
        "tokens_per_second": 25.0,
        "peak_memory_bytes": 1,
        "stopped_early": None,
        "loss_curve": [{"step": step, "loss": 3.0 - step / 10, "learning_rate": 1e-4} for step in (1, 2)],
    },
    "evaluation": {"heldout": _EVALUATION, "training_text": _EVALUATION},
}


def corpus() -> str:
    """Twenty documents of words that occur once each: nothing in it repeats or leaks."""
    return "".join(f"# Title {n}\n\n" + " ".join(f"w{n}x{m}" for m in range(60)) + "\n\n" for n in range(20))


def prompts() -> str:
    """Two prompts without facts."""
    rows = [{"id": f"p{n}", "kind": "starter", "prompt": f"Question {n}", "facts": []} for n in (1, 2)]
    return "".join(json.dumps(row) + "\n" for row in rows)


@cache
def objects() -> Mapping[str, bytes]:
    """What lies in S3 before a run: its texts, and the two deployed assets."""
    control = "".join(f"# Control {n}\n\n" + " ".join(f"c{n}x{m}" for m in range(60)) + "\n\n" for n in range(2))
    return {
        CORPUS: corpus().encode(),
        PROMPTS: prompts().encode(),
        ASSETS["DATA_ASSET_KEY"]: zipped({"control.txt": control}),
        ASSETS["TRAINING_ASSET_KEY"]: zipped({"train.py": "print('not run')\n"}),
    }


def adapter(folder: str) -> dict[str, bytes]:
    """The files of an adapter that a training job has left, by key."""
    return {
        f"{folder}adapter_config.json": b"{}",
        f"{folder}adapter_model.safetensors": b"weights",
        f"{folder}metrics.json": json.dumps(METRICS).encode(),
    }


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    """Files in a zip archive, as an asset is deployed."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return memory.getvalue()
