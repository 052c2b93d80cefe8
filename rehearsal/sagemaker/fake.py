"""Engines that follow a plan and do no work: for tests of the workflow, and for failures that no real container has on demand.

A job or endpoint goes on each time that somebody describes, lists, stops or deletes it: a look.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from .engines import Answer, HostingEngine, TrainingEngine
from .market import CAPACITY_HOSTING
from .records import Endpoint, TrainingJob
from .s3_folders import split
from .vllm.routing import CHAT_COMPLETIONS, COMPLETIONS, INVOCATIONS, model_asked, path_of

_STEPS = 60
_INVENTED = [{"id": f"doc-{number}", "title": f"Document {number}", "text": "word " * 300} for number in range(12)]
_GENERAL = "the people of a small town said that it was good to see old friends"
_SPECIAL = "gene variant allele sequencing leukaemia mutation genotype therapy risk clone"


@dataclass(frozen=True)
class TrainingPlan:
    """How one fake training job goes. The second look sees its end.

    Attributes:
        outcome: "completed", "failed" (the script fails), "cut" (stopped when MaxRuntimeInSeconds is over, and writes what it
            has), or "hangs" (runs until MaxRuntimeInSeconds by the clock, or until it is stopped).
        stop_looks: how many looks see it Stopping after StopTrainingJob.
        metrics: metrics.json; plausible ones when None.
        leave_out: files of the output that are not written, for example ("metrics.json",).
    """

    outcome: Literal["completed", "failed", "cut", "hangs"] = "completed"
    stop_looks: int = 1
    metrics: Mapping[str, Any] | None = None
    leave_out: tuple[str, ...] = ()


class FakeTraining(TrainingEngine):
    """Follows one `TrainingPlan` a job, in the order of the jobs; the last plan serves all further jobs."""

    def __init__(self, *plans: TrainingPlan) -> None:
        self.plans = list(plans) or [TrainingPlan()]
        self._plan_of: dict[str, TrainingPlan] = {}
        self._looks: dict[str, int] = {}
        self._lock = threading.RLock()

    def start(self, job: TrainingJob) -> None:
        """Begin: the instance starts at once."""
        self._plan_of[job.name] = self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]
        self._looks[job.name] = 0
        job.enter("Starting", "Starting the training job")
        job.enter("Downloading", "Downloading input data")
        job.enter("Training", "Training image download completed. Training in progress.")

    def observed(self, job: TrainingJob) -> None:
        """Go on by one look."""
        with self._lock:
            plan = self._plan_of.get(job.name)
            if plan is None or job.is_over:  # without one it has never had an instance
                return
            beyond = job.ran_seconds(job.clock()) - job.max_runtime.total_seconds()
            if beyond >= 0:
                job.finish("Stopped", "MaxRuntimeExceeded", at=job.clock() - timedelta(seconds=beyond))
                return
            self._looks[job.name] += 1
            if job.status == "Stopping":
                if self._looks[job.name] > plan.stop_looks:
                    job.finish("Stopped")
            elif self._looks[job.name] > 1 and plan.outcome != "hangs":
                self._end(job, plan)

    def _end(self, job: TrainingJob, plan: TrainingPlan) -> None:
        if plan.outcome == "failed":
            reason = "AlgorithmError: The training script failed. Read the job's log., exit code: 1"
            job.finish("Failed", reason=reason)
            return
        job.enter("Uploading", "Uploading generated training model")
        s3 = self.context.s3_of(job.request["RoleArn"])
        write_outputs(s3, job, plan.metrics or metrics_of(s3, job), plan.leave_out)
        if plan.outcome == "cut":
            job.finish("Stopped", "MaxRuntimeExceeded")
        else:
            job.finish("Completed")

    def stop(self, job: TrainingJob) -> None:
        """Nothing at once; the looks that follow see Stopping, then Stopped."""
        self._looks[job.name] = 0


@dataclass(frozen=True)
class HostingPlan:
    """How one fake endpoint goes: whether it finds an instance, and how many looks see it Creating."""

    outcome: Literal["in service", "capacity"] = "in service"
    looks: int = 1


class FakeHosting(HostingEngine):
    """Follows one `HostingPlan` an endpoint, in the order of the endpoints; the last one serves the rest."""

    def __init__(self, *plans: HostingPlan) -> None:
        self.plans = list(plans) or [HostingPlan()]
        self._plan_of: dict[Endpoint, HostingPlan] = {}
        self._looks: dict[Endpoint, int] = {}
        self._lock = threading.RLock()

    def start(self, endpoint: Endpoint) -> None:
        """Begin; the looks that follow see Creating, then the end of the plan."""
        self._plan_of[endpoint] = self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]
        self._looks[endpoint] = 0

    def observed(self, endpoint: Endpoint) -> None:
        """Go on by one look. One look sees Deleting."""
        with self._lock:
            self._looks[endpoint] += 1
            plan, looks = self._plan_of[endpoint], self._looks[endpoint]
            if endpoint.status == "Deleting" and looks > 1:
                endpoint.vanish()
            elif endpoint.status == "Creating" and looks > plan.looks:
                if plan.outcome == "in service":
                    endpoint.become("InService")
                else:
                    endpoint.become("Failed", CAPACITY_HOSTING)

    def stop(self, endpoint: Endpoint) -> None:
        """Nothing at once; the looks that follow see Deleting, then nothing."""
        self._looks[endpoint] = 0

    def invoke(self, endpoint: Endpoint, body: bytes, content_type: str, custom_attributes: str = "") -> Answer:
        """Answer as the vLLM server does: without a route the base model, 404 for a model that it does not have."""
        path = path_of(INVOCATIONS, custom_attributes)
        if path not in (INVOCATIONS, COMPLETIONS, CHAT_COMPLETIONS):
            return Answer(404, b'{"detail":"Not Found"}')
        environment = endpoint.container.get("Environment") or {}
        base = str(environment.get("SM_VLLM_SERVED_MODEL_NAME", "base"))
        served = {base, json.loads(environment.get("SM_VLLM_LORA_MODULES") or "{}").get("name")}
        request = json.loads(body)
        model, talks = model_asked(path, request, base), path == CHAT_COMPLETIONS
        if model not in served:
            error = {"message": f"The model `{model}` does not exist.", "type": "NotFoundError", "code": 404}
            return Answer(404, json.dumps({"error": error}).encode())
        prompt = "\n".join(one["content"] for one in request["messages"]) if talks else request["prompt"]
        text = fake_text({**request, "model": model, "prompt": prompt})
        words = (len(prompt.split()), len(text.split()))
        said = {"message": {"role": "assistant", "content": text}} if talks else {"text": text}
        whole = {
            "id": f"cmpl-{hashlib.sha256(body).hexdigest()[:24]}",
            "object": "text_completion",
            "model": model,
            "choices": [{"index": 0, **said, "finish_reason": "length"}],
            "usage": {"prompt_tokens": words[0], "completion_tokens": words[1], "total_tokens": sum(words)},
        }
        return Answer(200, json.dumps(whole).encode())


def fake_text(request: Mapping[str, Any]) -> str:
    """Return words that depend on the model, the prompt and the seed, and on nothing else."""
    seed = request.get("seed") if request.get("temperature") else "greedy"
    source = random.Random(f"{request['model']}|{request['prompt']}|{seed}")
    words = f"{_GENERAL} {_SPECIAL if request['model'] != 'base' else ''}".split()
    return " " + " ".join(source.choice(words) for _ in range(min(24, int(request.get("max_tokens") or 16))))


# what a job writes and an endpoint says ------------------------------------------------------------------------------


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


def write_outputs(s3: Any, job: TrainingJob, metrics: Mapping[str, Any], leave_out: tuple[str, ...]) -> None:
    """Write the files of a finished job under its output prefix, except those named in `leave_out`."""
    config = {"peft_type": "LORA", "r": 16, "base_model_name_or_path": "/opt/ml/input/data/model"}
    body = json.dumps(metrics).encode()
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
