"""Endpoints that answer at once and follow a plan: for tests of the workflow, not of the answers."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from rehearsal.sagemaker.api.market import CAPACITY_HOSTING
from rehearsal.sagemaker.engines import PING, START_LIMIT, Answer, HostingEngine
from rehearsal.sagemaker.records import Endpoint
from rehearsal.sagemaker.vllm.routing import CHAT_COMPLETIONS, COMPLETIONS, INVOCATIONS, model_asked, path_of

from .training import Progress

_GENERAL = "the people of a small town said that it was good to see old friends"
_SPECIAL = "gene variant allele sequencing leukaemia mutation genotype therapy risk clone"


@dataclass(frozen=True)
class HostingPlan:
    """How one fake endpoint goes.

    Attributes:
        outcome: "in service", "failed" (no ping), "capacity", or "hangs" (Creating until the start-up
            timeouts of the request have passed by the clock, then failed).
        looks: how many looks (describe, list, refused delete) see Creating.
        deleting_looks: how many looks see Deleting; 0 lets it vanish in DeleteEndpoint.
        reason: FailureReason, where not the usual one.
    """

    outcome: Literal["in service", "failed", "capacity", "hangs"] = "in service"
    looks: int = 1
    deleting_looks: int = 1
    reason: str | None = None


class FakeHosting(HostingEngine):
    """Follows one `HostingPlan` an endpoint, in the order of the endpoints; the last one serves the rest."""

    def __init__(self, *plans: HostingPlan) -> None:
        self.plans = list(plans) or [HostingPlan()]
        self._progress: dict[Endpoint, Progress] = {}

    def start(self, endpoint: Endpoint) -> None:
        """Begin; with looks 0 it is in service, or failed, at once."""
        plan = self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]
        self._progress[endpoint] = Progress(plan)
        if plan.looks == 0:
            self._end(endpoint, plan)

    def observed(self, endpoint: Endpoint) -> None:
        """Go on by one look."""
        progress = self._progress[endpoint]
        with progress.lock:
            if endpoint.status == "Deleting":
                if progress.stop_looks >= progress.plan.deleting_looks:
                    endpoint.vanish()
                progress.stop_looks += 1
            elif endpoint.status == "Creating":
                if progress.looks >= progress.plan.looks:
                    self._end(endpoint, progress.plan)
                progress.looks += 1

    def _end(self, endpoint: Endpoint, plan: HostingPlan) -> None:
        if plan.outcome == "in service":
            endpoint.become("InService")
            return
        if plan.outcome == "hangs":
            names = ("ModelDataDownloadTimeoutInSeconds", "ContainerStartupHealthCheckTimeoutInSeconds")
            limit = timedelta(seconds=sum(int(endpoint.variant.get(name, START_LIMIT)) for name in names))
            if endpoint.clock() - endpoint.created < limit:
                return
        ping = PING.format(variant=endpoint.variant["VariantName"])
        endpoint.become("Failed", plan.reason or (CAPACITY_HOSTING if plan.outcome == "capacity" else ping))

    def stop(self, endpoint: Endpoint) -> None:
        """Vanish at once if the plan says so, else with the looks that follow."""
        if self._progress[endpoint].plan.deleting_looks == 0:
            endpoint.vanish()

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
