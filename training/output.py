"""The files of a finished job, metrics.json last: where it stands, everything beside it is whole."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save as serialize

from model.network import SERVED, Network

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
