"""An endpoint that repeats each request, and the shelf that keeps its answers."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from typing import Any

from ask.questions import Settings, ask_all
from tests.doubles.lambda_fakes import Service

SETTINGS = Settings(endpoint="captune-abc", model="medical", samples=2, seed=7, concurrency=32)


def prompts(count: int) -> list[dict[str, Any]]:
    return [{"id": f"p{n}", "kind": "question", "prompt": f"Prompt {n}", "facts": []} for n in range(count)]


class Runtime(Service):
    """An endpoint that repeats prompt, temperature and seed. `troubled` may raise or replace an answer."""

    name = "sagemaker-runtime"

    def __init__(self, troubled: Callable[[dict[str, Any]], Any] = lambda body: None) -> None:
        super().__init__()
        self.troubled = troubled
        self.bodies: list[dict[str, Any]] = []
        self.busy = self.busiest = 0
        self._lock = threading.Lock()

    def on_invoke_endpoint(
        self, EndpointName: str, ContentType: str, CustomAttributes: str, Body: str
    ) -> dict[str, Any]:
        body = json.loads(Body)
        with self._lock:
            self.bodies.append(body)
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        try:
            answer = self.troubled(body)
        finally:
            with self._lock:
                self.busy -= 1
        talks = CustomAttributes == "route=/v1/chat/completions"
        requested = "+".join(one["role"] for one in body["messages"]) if talks else body["prompt"]
        text = f"{requested}|{body['temperature']}|{body['seed']}"
        # As vLLM's own route for SageMaker: without the attribute the body's model counts for nothing.
        model = body["model"] if talks or CustomAttributes == "route=/v1/completions" else "base"
        content = answer if answer is not None else (spoken if talks else completion)(text, model)
        return {"Body": io.BytesIO(content)}


def completion(text: object, model: object) -> bytes:
    """What the server sends for one answer."""
    return json.dumps({"model": model, "choices": [{"index": 0, "text": text}]}).encode()


def spoken(text: object, model: object) -> bytes:
    """What the server sends for one answer in a conversation."""
    return json.dumps({"model": model, "choices": [{"index": 0, "message": {"content": text}}]}).encode()


class Shelf(list[list[dict[str, Any]]]):
    """Every version of the answers that was saved."""

    @property
    def ids(self) -> list[str]:
        return [answer["id"] for answer in self[-1]]


def ask(runtime: Runtime, count: int, shelf: Shelf, done: list[dict[str, Any]] | None = None, **more: Any) -> list[str]:
    settings = more.pop("settings", SETTINGS)
    answers = ask_all(runtime, prompts(count), done or [], settings, more.pop("seconds", 60.0), shelf.append, **more)
    return [answer["id"] for answer in answers]
