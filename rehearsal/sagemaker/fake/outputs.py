"""What a fake training job writes to S3: an adapter and metrics in the training script's own form."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping
from typing import Any

from rehearsal.sagemaker.records import TrainingJob
from rehearsal.sagemaker.s3_folders import split

_STEPS = 60
_INVENTED = [{"id": f"doc-{number}", "title": f"Document {number}", "text": "word " * 300} for number in range(12)]


def _documents(s3: Any, job: TrainingJob, name: str) -> list[dict[str, Any]] | None:
    """The documents of a file in the job's `evaluation` channel; of records, one for each of their groups."""
    for channel in job.request.get("InputDataConfig") or []:
        if channel["ChannelName"] == "evaluation":
            bucket, prefix = split(channel["DataSource"]["S3DataSource"]["S3Uri"])
            try:
                body: bytes = s3.get_object(Bucket=bucket, Key=f"{prefix.rstrip('/')}/{name}.jsonl")["Body"].read()
            except (s3.exceptions.NoSuchKey, s3.exceptions.NoSuchBucket):
                return None
            lines = [json.loads(line) for line in body.decode().split("\n") if line.strip()]
            groups: dict[str, list[str]] = {}
            for line in (line for line in lines if "group" in line):
                answer = line.get("completion") or line["messages"][-1]["content"]
                groups.setdefault(line["group"], []).append(str(answer))
            return [{"id": name, "text": "\n".join(answers)} for name, answers in groups.items()] or lines
    return None


def _evaluation(documents: list[dict[str, Any]], loss: float, gain: float, source: random.Random) -> dict[str, Any]:
    rows = []
    for document in documents:
        text = str(document.get("text", ""))
        tokens = max(40, len(text.split()) * 4 // 3)
        base = tokens * (loss + source.gauss(0, 0.1))
        tuned = base - tokens * (gain + source.gauss(0, 0.02))
        sizes = {"tokens": tokens, "bytes": len(text.encode()) or tokens * 5}
        named = {"id": document["id"], "title": document.get("title", document["id"])}
        rows.append({**named, **sizes, "base_nll": base, "tuned_nll": tuned})
    whole = sum(row["tokens"] for row in rows)
    losses = {f"{kind}_loss": sum(row[f"{kind}_nll"] for row in rows) / whole for kind in ("base", "tuned")}
    return {"documents": rows, **losses, "tokens": whole}


def metrics_of(s3: Any, job: TrainingJob) -> dict[str, Any]:
    """Return plausible metrics of a run that helped, for the documents in the job's `evaluation` channel."""
    # Not by the job's name: six documents drawn anew have once in two hundred times an interval that reaches over zero.
    source = random.Random(0)
    evaluation = {
        "heldout": _evaluation(_documents(s3, job, "heldout") or _INVENTED, 2.9, 0.2, source),
        "training_text": _evaluation(_INVENTED, 2.8, 0.5, source),
    }
    for name, loss, gain in (("outside", 2.8, 0.1), ("control", 3.0, -0.01)):
        documents = _documents(s3, job, name)
        if documents:
            evaluation[name] = _evaluation(documents, loss, gain, source)
    curve = [
        {"step": step, "loss": 2.0 + 0.9 * 0.95**step, "learning_rate": 3e-4 * step / _STEPS}
        for step in range(1, _STEPS + 1)
    ]
    return {
        "schema": 1,
        "base_model": {
            "name": "fake-135m", "architecture": "LlamaForCausalLM", "parameters": 134_515_008,
            "trainable_parameters": 4_884_480, "hidden_size": 576, "layers": 30, "quantization": "none",
        },
        "settings": dict(job.request.get("HyperParameters") or {}),
        "environment": {
            "device": "cpu", "device_name": "fake", "python": "3.12", "torch": "2.9", "transformers": "5.3.0",
            "peft": "0.18.1",
        },
        "corpus": {"documents": 12, "tokens": 12_000, "bytes": 60_000, "words": 9_000, "sequences": 24},
        "training": {
            "steps": _STEPS, "planned_steps": _STEPS, "epochs": 3.0, "seconds": 300.0, "tokens_seen": 36_000,
            "tokens_per_second": 120.0, "peak_memory_bytes": 2_000_000_000, "stopped_early": None, "loss_curve": curve,
        },
        "evaluation": evaluation,
    }  # fmt: skip


def _adapter_weights() -> bytes:
    """Return a safetensors file with one small tensor, written by hand as it needs no library."""
    header = json.dumps({"base_model.model.fake.lora_A.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})
    return struct.pack("<Q", len(header)) + header.encode() + struct.pack("<2f", 0.0, 0.0)


def write_outputs(s3: Any, job: TrainingJob, metrics: Mapping[str, Any] | bytes, leave_out: tuple[str, ...]) -> None:
    """Write the files of a finished job under its output prefix, except those named in `leave_out`."""
    config = {"peft_type": "LORA", "r": 16, "base_model_name_or_path": "/opt/ml/input/data/model"}
    body = metrics if isinstance(metrics, bytes) else json.dumps(metrics).encode()
    files = {
        "model/adapter_config.json": json.dumps(config).encode(),
        "model/adapter_model.safetensors": _adapter_weights(),
        "model/metrics.json": body,
        "data/metrics.json": body,
    }
    bucket, prefix = split(job.output_prefix)
    for name, content in files.items():
        if name.partition("/")[2] not in leave_out:
            s3.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=content)
