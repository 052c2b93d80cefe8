"""Engines of the SageMaker stand-in that follow a plan and do no work: for tests of the workflow, and for failures that no real container has on demand.

A job or endpoint goes on each time that somebody describes, lists, stops or deletes it: a look.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from rehearsal.sagemaker.engines import Answer, HostingEngine, TrainingEngine
from rehearsal.sagemaker.market import CAPACITY_HOSTING
from rehearsal.sagemaker.s3_folders import split
from rehearsal.sagemaker.store import Endpoint, TrainingJob
from rehearsal.sagemaker.vllm.routing import CHAT_COMPLETIONS, INVOCATIONS, model_asked, path_of
from verification.experiments.made_up_runs import metrics


def _metrics() -> Mapping[str, Any]:
    """Those of an improved model. Choices are left out: intervals over them would take most of a run's time."""
    return {name: value for name, value in metrics().items() if name != "choices"}


@dataclass(frozen=True)
class TrainingPlan:
    """How one fake training job goes. The second look sees its end; `stop_looks` looks see it Stopping after StopTrainingJob.

    One that is "cut" is stopped when MaxRuntimeInSeconds is over, and writes what it has; one that "hangs" runs until then by the clock, or until
    it is stopped.
    """

    outcome: Literal["completed", "cut", "hangs"] = "completed"
    stop_looks: int = 1
    metrics: Mapping[str, Any] = field(default_factory=_metrics)


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
        job.enter("Uploading", "Uploading generated training model")
        s3, (bucket, prefix) = self.context.s3_of(job.request["RoleArn"]), split(job.output_prefix)
        metrics = json.dumps(plan.metrics).encode()
        files = {
            "adapter_config.json": b'{"r": 16}',
            "adapter_model.safetensors": b"of no use",
            "metrics.json": metrics,
        }
        for name, content in files.items():
            s3.put_object(Bucket=bucket, Key=f"{prefix}/model/{name}", Body=content)
        if plan.outcome == "cut":
            job.finish("Stopped", "MaxRuntimeExceeded")
        else:
            job.finish("Completed")

    def stop(self, job: TrainingJob) -> None:
        """Nothing at once; the looks that follow see Stopping, then Stopped."""
        self._looks[job.name] = 0


class FakeHosting(HostingEngine):
    """Gives each endpoint in its order one of `outcomes`, "in service" or "capacity" (no instance is free); the last one serves the rest."""

    def __init__(self, *outcomes: str) -> None:
        self.outcomes = list(outcomes) or ["in service"]
        self._outcome_of: dict[Endpoint, str] = {}
        self._looks: dict[Endpoint, int] = {}
        self._lock = threading.RLock()

    def start(self, endpoint: Endpoint) -> None:
        """Begin; one look sees Creating, the next ones its outcome."""
        self._outcome_of[endpoint] = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        self._looks[endpoint] = 0

    def observed(self, endpoint: Endpoint) -> None:
        """Go on by one look. One look sees Deleting."""
        with self._lock:
            self._looks[endpoint] += 1
            if self._looks[endpoint] == 1:
                return
            if endpoint.status == "Deleting":
                endpoint.vanish()
            elif endpoint.status == "Creating" and self._outcome_of[endpoint] == "capacity":
                endpoint.clock.advance(minutes=10)  # it takes its time to fail
                endpoint.become("Failed", CAPACITY_HOSTING)
            elif endpoint.status == "Creating":
                endpoint.become("InService")

    def stop(self, endpoint: Endpoint) -> None:
        """Nothing at once; the looks that follow see Deleting, then nothing."""
        self._looks[endpoint] = 0

    def invoke(self, endpoint: Endpoint, body: bytes, content_type: str, custom_attributes: str = "") -> Answer:
        """Answer as `completion` says."""
        return completion(endpoint, body, custom_attributes)


def completion(endpoint: Endpoint, body: bytes, custom_attributes: str) -> Answer:
    """Answer as the vLLM server does: without a route the base model, whatever the request says."""
    path, request = path_of(INVOCATIONS, custom_attributes), json.loads(body)
    base = str((endpoint.container.get("Environment") or {}).get("SM_VLLM_SERVED_MODEL_NAME", "base"))
    model, talks = model_asked(path, request, base), path == CHAT_COMPLETIONS
    asked = {name: request.get(name) for name in ("prompt", "messages", "temperature", "seed")}
    words = hashlib.sha256(f"{model} {asked}".encode()).hexdigest()
    text = f" {words[:12]} {words[12:24]}"
    said = {"message": {"role": "assistant", "content": text}} if talks else {"text": text}
    whole = {"model": model, "choices": [{"index": 0, **said, "finish_reason": "length"}]}
    return Answer(200, json.dumps(whole).encode())
