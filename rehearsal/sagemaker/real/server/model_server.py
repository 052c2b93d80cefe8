"""A model server with the contract of SageMaker's vLLM container, for one model and one LoRA adapter.

    python -m rehearsal.sagemaker.real.server.model_server <model folder> <file for the port>

Reads the SM_VLLM_ variables that `Settings` names. Answers GET /ping, and OpenAI completions, of prompts and of
conversations, on POST /invocations, which follows a `route=` in the custom attributes (see `routing`).
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

from transformers.utils import logging

from rehearsal.sagemaker.vllm.routing import (
    CHAT_COMPLETIONS,
    COMPLETIONS,
    CUSTOM_ATTRIBUTES,
    INVOCATIONS,
    model_asked,
    path_of,
)

from .contract import Asked, Refused, Settings, read
from .generation import Generator
from .queueing import Batcher, Request


class Service:
    """The models and how a completion is made."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._settings = settings
        self._generator = Generator(folder, settings.adapter_folder, settings.dtype)
        self._longest = settings.longest or self._generator.longest
        self._batcher = Batcher(self._generator.answer, most=settings.most_at_once, room=self._generator.room)
        print(f"serving {', '.join(settings.served)} from {self._generator.description}", flush=True)

    def complete(self, path: str, body: bytes) -> dict[str, Any]:
        """Answer one completion request that came to /invocations or was routed to one of the paths of completions.

        Raises:
            Refused: the request is not one, or names a model that is not served.
        """
        asked = read(path, body)
        model = model_asked(path, {"model": asked.model}, self._settings.base)
        if model not in self._settings.served:
            raise Refused(404, "NotFoundError", f"The model `{model}` does not exist.", "model")
        tokens, most = self._measured(asked)
        request = Request(tokens, model != self._settings.base, most, asked.sampling)
        self._batcher.submit(request)
        request.done.wait()
        if request.error:
            raise Refused(500, "InternalServerError", request.error)
        # Decoded together, as some tokenizers drop the space before a text's first word.
        tokenizer = self._generator.tokenizer
        before = tokenizer.decode(tokens, skip_special_tokens=True)
        text = tokenizer.decode(tokens + request.tokens, skip_special_tokens=True)[len(before) :]
        # The token that ended the text is counted too.
        used = (len(tokens), len(request.tokens) + request.ended)
        reason = "stop" if request.ended else "length"
        said = {"message": {"role": "assistant", "content": text}} if path == CHAT_COMPLETIONS else {"text": text}
        return {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "chat.completion" if path == CHAT_COMPLETIONS else "text_completion",
            "model": model,
            "choices": [{"index": 0, **said, "logprobs": None, "finish_reason": reason}],
            "usage": {"prompt_tokens": used[0], "completion_tokens": used[1], "total_tokens": sum(used)},
        }

    def _measured(self, asked: Asked) -> tuple[list[int], int]:
        """The prompt's tokens, and how many tokens its answer may have: no more than the context still holds."""
        tokens = self._tokens(asked)
        context = f"This model's maximum context length is {self._longest} tokens. However, "
        if asked.max_tokens > self._longest:
            message = f"{context}max_tokens={asked.max_tokens} was asked for."
            raise Refused(400, "BadRequestError", message, "max_tokens")
        if len(tokens) >= self._longest:
            message = f"{context}your prompt contains {len(tokens)} input tokens."
            raise Refused(400, "BadRequestError", message, "input_tokens")
        return tokens, min(asked.max_tokens, self._longest - len(tokens))

    def _tokens(self, asked: Asked) -> list[int]:
        tokenizer = self._generator.tokenizer
        if not asked.messages:
            return list(tokenizer(asked.prompt)["input_ids"])
        if not tokenizer.chat_template:
            message = "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template."
            raise Refused(400, "BadRequestError", message)
        text = tokenizer.apply_chat_template(
            [one.model_dump() for one in asked.messages], tokenize=False, add_generation_prompt=True
        )
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])  # the template writes its own


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
        path = path_of(self.path, self.headers.get(CUSTOM_ATTRIBUTES) or "")
        if path not in (INVOCATIONS, COMPLETIONS, CHAT_COMPLETIONS):
            self._send(404, {"detail": "Not Found"})
            return
        try:
            answer = self.service.complete(path, body)
        except Refused as error:
            self._send(error.status, error.content)
        else:
            self._send(200, answer)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet when a client has given up."""


def main() -> None:
    """Load the model, then listen; see the module."""
    folder, port_file = Path(sys.argv[1]), Path(sys.argv[2])
    logging.disable_progress_bar()
    _Handler.service = Service(folder, Settings.of(os.environ, folder))
    server = _HttpServer(("127.0.0.1", 0), _Handler)
    scratch = port_file.with_suffix(".new")
    scratch.write_text(str(server.server_address[1]))
    scratch.replace(port_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
