"""Endpoints that answer at once and follow a script: for tests of the workflow, not of the answers."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from rehearsal.sagemaker.api.market import CAPACITY_HOSTING
from rehearsal.sagemaker.engines import PING, START_LIMIT, Answer, Context
from rehearsal.sagemaker.records import Endpoint
from rehearsal.sagemaker.vllm.routing import CHAT_COMPLETIONS, COMPLETIONS, INVOCATIONS, model_asked, path_of

from .training import Progress

_GENERAL = (
    "the",
    "people",
    "of",
    "a",
    "small",
    "town",
    "said",
    "that",
    "it",
    "was",
    "good",
    "to",
    "see",
    "old",
    "friends",
)
_SPECIAL = (
    "gene",
    "variant",
    "allele",
    "sequencing",
    "leukaemia",
    "mutation",
    "genotype",
    "therapy",
    "risk",
    "clone",
)


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


class FakeHosting:
    """Follows one `HostingPlan` an endpoint, in the order of the endpoints; the last one serves the rest.

    Args:
        answer: makes the text of a completion from its request; by default words drawn by its own content.
    """

    def __init__(self, *plans: HostingPlan, answer: Callable[[Mapping[str, Any]], str] | None = None) -> None:
        self.plans = list(plans) or [HostingPlan()]
        self._answer = answer or fake_text
        self._progress: dict[Endpoint, Progress] = {}

    def attach(self, context: Context) -> None:
        """Nothing is needed."""

    def start(self, endpoint: Endpoint) -> None:
        """Begin; with looks 0 it is in service, or failed, at once."""
        plan = self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]
        self._progress[endpoint] = Progress(plan)
        if plan.looks == 0:
            self._end(endpoint, plan)

    def observed(self, endpoint: Endpoint) -> None:
        """Move on by one look."""
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
        ping = PING.format(variant=endpoint.variant["VariantName"])
        if plan.outcome == "in service":
            endpoint.become("InService")
        elif plan.outcome == "capacity":
            endpoint.become("Failed", plan.reason or CAPACITY_HOSTING)
        elif plan.outcome == "failed":
            endpoint.become("Failed", plan.reason or ping)
        else:
            names = ("ModelDataDownloadTimeoutInSeconds", "ContainerStartupHealthCheckTimeoutInSeconds")
            seconds = sum(int(endpoint.variant.get(name, START_LIMIT)) for name in names)
            if endpoint.clock() - endpoint.created >= timedelta(seconds=seconds):
                endpoint.become("Failed", plan.reason or ping)

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
        try:
            request = json.loads(body)
            if path == CHAT_COMPLETIONS:
                request["prompt"] = "\n".join(message["content"] for message in request["messages"])
            model, prompt = model_asked(path, request, base), request["prompt"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return _refusal(400, "BadRequestError", f"The request is not a completion request: {error!r}.")
        served = {base}
        if environment.get("SM_VLLM_LORA_MODULES"):
            served.add(str(json.loads(environment["SM_VLLM_LORA_MODULES"])["name"]))
        if model not in served:
            return _refusal(404, "NotFoundError", f"The model `{model}` does not exist.")
        text = self._answer(request | {"model": model})
        words = (len(prompt.split()), len(text.split()))
        whole = {
            "id": f"cmpl-{hashlib.sha256(body).hexdigest()[:24]}",
            "object": "text_completion",
            "model": model,
            "choices": [{"index": 0, **_said(text, path), "finish_reason": "length"}],
            "usage": {"prompt_tokens": words[0], "completion_tokens": words[1], "total_tokens": sum(words)},
        }
        return Answer(200, json.dumps(whole).encode())

    def close(self) -> None:
        """Nothing runs."""


def _said(text: str, path: str) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text}} if path == CHAT_COMPLETIONS else {"text": text}


def _refusal(status: int, kind: str, message: str) -> Answer:
    return Answer(status, json.dumps({"error": {"message": message, "type": kind, "code": status}}).encode())


def fake_text(request: Mapping[str, Any]) -> str:
    """Return words that depend on the model, the prompt and the seed, and on nothing else."""
    seed = request.get("seed") if request.get("temperature") else "greedy"
    source = random.Random(f"{request['model']}|{request['prompt']}|{seed}")
    words = _GENERAL + (_SPECIAL if request["model"] != "base" else ())
    return " " + " ".join(source.choice(words) for _ in range(min(24, int(request.get("max_tokens") or 16))))
