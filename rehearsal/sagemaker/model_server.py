"""A model server with the contract of SageMaker's vLLM container, for a plain Llama and one LoRA adapter.

    python -m rehearsal.sagemaker.model_server <model folder> <file for the port>

Reads SM_VLLM_SERVED_MODEL_NAME, SM_VLLM_ENABLE_LORA, SM_VLLM_LORA_MODULES, SM_VLLM_MAX_LORA_RANK and
SM_VLLM_MAX_MODEL_LEN. Answers GET /ping, and OpenAI completions on POST /invocations, which follows a `route=` in the custom attributes (see `routing`).
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from .batching import Batcher, Request
from .llama import Llama
from .routing import COMPLETIONS, CUSTOM_ATTRIBUTES, INVOCATIONS, model_asked, path_of


class Refused(Exception):
    """A request that gets an error answer."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


def adapter_of(environment: Mapping[str, str]) -> tuple[str, Path] | None:
    """Return (name, folder) of the adapter that the environment names.

    Raises:
        ValueError: the environment contradicts itself.
    """
    modules = environment.get("SM_VLLM_LORA_MODULES")
    if not modules:
        return None
    if environment.get("SM_VLLM_ENABLE_LORA") != "true":
        raise ValueError("SM_VLLM_LORA_MODULES needs SM_VLLM_ENABLE_LORA=true")
    if modules.startswith("{"):
        module = json.loads(modules)
        name, folder = module["name"], Path(module["path"])
    else:
        name, _, place = modules.partition("=")
        folder = Path(place)
    rank = json.loads((folder / "adapter_config.json").read_text())["r"]
    most = int(environment.get("SM_VLLM_MAX_LORA_RANK", "16"))
    if rank > most:
        raise ValueError(f"LoRA rank {rank} is greater than max_lora_rank {most}")
    return name, folder


class Service:
    """The models and how a completion is made."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        adapter = adapter_of(environment)
        self.base = environment.get("SM_VLLM_SERVED_MODEL_NAME", str(folder))
        self.adapter = adapter[0] if adapter else None
        model = Llama(folder, adapter[1] if adapter else None)
        self.longest = int(environment.get("SM_VLLM_MAX_MODEL_LEN", model.shape.longest))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.batcher = Batcher(model, _ends(folder))

    def complete(self, path: str, body: bytes) -> dict[str, Any]:
        """Answer one completion request that came to /invocations or was routed to /v1/completions.

        Raises:
            Refused: the request is not one, or names a model that is not served.
        """
        asked = _read(body)
        asked["model"] = model_asked(path, asked, self.base)
        if asked["model"] not in (self.base, self.adapter):
            raise Refused(404, "NotFoundError", f"The model `{asked['model']}` does not exist.")
        tokens = self.tokenizer.encode(asked["prompt"]).ids
        if not tokens:
            raise Refused(400, "BadRequestError", "The prompt is empty.")
        if len(tokens) + asked["max_tokens"] > self.longest:
            raise Refused(
                400,
                "BadRequestError",
                f"This model's maximum context length is {self.longest} tokens. However, you requested "
                f"{asked['max_tokens']} output tokens and your prompt contains {len(tokens)} input tokens.",
            )
        adapted = asked["model"] == self.adapter
        request = Request(tokens, adapted, asked["max_tokens"], asked["temperature"], asked["top_p"], asked["seed"])
        self.batcher.submit(request)
        request.done.wait()
        if request.error:
            raise Refused(500, "InternalServerError", request.error)
        # Decoded together, as some tokenizers drop the space before a text's first word.
        before = self.tokenizer.decode(tokens)
        text = self.tokenizer.decode(tokens + request.tokens)[len(before) :]
        used = (len(tokens), len(request.tokens))
        return {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "model": asked["model"],
            "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": request.finish_reason}],
            "usage": {"prompt_tokens": used[0], "completion_tokens": used[1], "total_tokens": sum(used)},
        }


def _ends(folder: Path) -> set[int]:
    for name in ("generation_config.json", "config.json"):
        file = folder / name
        ends = json.loads(file.read_text()).get("eos_token_id") if file.exists() else None
        if ends is not None:
            return set(ends) if isinstance(ends, list) else {ends}
    return set()


def _number(asked: Mapping[str, Any], name: str, usual: float, low: float, high: float) -> float:
    value = asked.get(name)
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise Refused(400, "BadRequestError", f"{name} must be a number from {low} to {high}, got {value!r}.")
    return value


def _read(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except ValueError:
        raise Refused(400, "BadRequestError", "The body is not JSON.") from None
    if not isinstance(asked, dict):
        raise Refused(400, "BadRequestError", "The body is not a JSON object.")
    if not isinstance(asked.get("prompt"), str):
        raise Refused(400, "BadRequestError", "prompt must be a string.")
    if not isinstance(asked.get("model"), str | None):
        raise Refused(400, "BadRequestError", "model must be a string.")
    for name, only in (("n", 1), ("stream", False), ("echo", False)):
        if asked.get(name, only) not in (only, None):
            raise Refused(400, "BadRequestError", f"The rehearsal serves {name}={only} only.")
    seed = asked.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise Refused(400, "BadRequestError", f"seed must be an integer, got {seed!r}.")
    longest = _number(asked, "max_tokens", 16, 1, 1 << 20)
    if not isinstance(longest, int):
        raise Refused(400, "BadRequestError", f"max_tokens must be an integer, got {longest!r}.")
    return {
        "model": asked.get("model"),
        "prompt": asked["prompt"],
        "seed": seed,
        "max_tokens": longest,
        "temperature": _number(asked, "temperature", 1.0, 0.0, 100.0),
        "top_p": _number(asked, "top_p", 1.0, 1e-9, 1.0),
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    service: Service

    def log_message(self, format: str, *args: Any) -> None:
        """Write no line for each request."""

    def _send(self, status: int, content: Mapping[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Answer the health check."""
        self._send(200 if self.path == "/ping" else 404, {})

    def do_POST(self) -> None:
        """Answer a completion."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            path = path_of(self.path, self.headers.get(CUSTOM_ATTRIBUTES) or "")
            if path not in (INVOCATIONS, COMPLETIONS):
                raise Refused(404, "NotFoundError", f"There is no {path}.")
            answer = self.service.complete(path, body)
        except Refused as error:
            details = {"message": str(error), "type": error.kind, "param": None, "code": error.status}
            self._send(error.status, {"error": details})
        else:
            self._send(200, answer)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def main() -> None:
    """Load the model, then listen; see the module."""
    folder, port_file = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(os.cpu_count() or 1)
    _Handler.service = Service(folder, os.environ)
    server = _HttpServer(("127.0.0.1", 0), _Handler)
    scratch = port_file.with_suffix(".new")
    scratch.write_text(str(server.server_address[1]))
    scratch.replace(port_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
