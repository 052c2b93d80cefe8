"""The rehearsal's model server with streamed answers, for `captune use`: each token is sent as soon as it is known.

    python -m rehearsal.sagemaker.real.streaming <model folder> <file for the port>

A run's own endpoint is played by `server.model_server`, on whose code the recorded evidence depends; this one takes its parts from there.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from torch import Tensor

from rehearsal.sagemaker.vllm.routing import CHAT_COMPLETIONS, COMPLETIONS, INVOCATIONS, RouteMiddleware, model_asked

from .server.contract import Refused, Settings, read
from .server.generation import Generator
from .server.model_server import Service
from .server.queueing import Batcher, Request

_UNFINISHED = "\ufffd"  # how a tokenizer writes the first bytes of a letter whose last ones are still to come


@dataclass
class Streamed(Request):
    """A request whose tokens are wanted one by one; None comes when there are no more."""

    news: queue.SimpleQueue[int | None] = field(default_factory=queue.SimpleQueue)


class StreamingGenerator(Generator):
    """Hands on the tokens of streamed requests: what the model reads in a step is what it chose in the step before."""

    def __init__(self, folder: Path, adapter: Path | None, dtype: str) -> None:
        super().__init__(folder, adapter, dtype)
        self._batch: list[Request] = []
        self._steps = 0
        self._model.get_input_embeddings().register_forward_pre_hook(self._read)

    def answer(self, batch: list[Request]) -> None:
        """See `Generator.answer`."""
        self._batch, self._steps = batch, 0
        try:
            super().answer(batch)
        finally:
            for request in batch:
                if isinstance(request, Streamed):
                    request.news.put(None)

    def _read(self, _: Any, inputs: tuple[Tensor]) -> None:
        self._steps += 1
        if self._steps > 1:  # the first step reads the prompts
            for request, token in zip(self._batch, inputs[0][:, -1].tolist(), strict=True):
                if isinstance(request, Streamed):
                    request.news.put(token)


class StreamingService(Service):
    """Answers completions, whole or streamed."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._settings = settings
        self._generator: Any = StreamingGenerator(folder, settings.adapter_folder, settings.dtype)
        self._longest = settings.longest or self._generator.longest
        self._batcher = Batcher(self._generator.answer, most=settings.most_at_once, room=self._generator.room)

    def stream(self, path: str, body: bytes) -> Iterator[bytes]:
        """The events of a streamed answer, in vLLM's form. Raises Refused before the first one."""
        asked = read(path, body)
        model = model_asked(path, {"model": asked.model}, self._settings.base)
        if model not in self._settings.served:
            raise Refused(404, "NotFoundError", f"The model `{model}` does not exist.", "model")
        tokens, most = self._measured(asked)
        request = Streamed(tokens, model != self._settings.base, most, asked.sampling)
        self._batcher.submit(request)
        return (f"data: {event}\n\n".encode() for event in self._events(path == CHAT_COMPLETIONS, str(model), request))

    def _events(self, talks: bool, model: str, request: Streamed) -> Iterator[str]:
        kind = "chat.completion.chunk" if talks else "text_completion"
        frame = {"id": f"cmpl-{id(request):x}", "object": kind, "created": int(time.time()), "model": model}
        before = len(self._text(request.prompt))
        known, sent, last, more = list[int](), "", None, True
        while more:
            token = request.news.get()
            more = token is not None
            if token is not None:
                known.append(token)
            else:
                request.done.wait()
                known, last = request.tokens, "stop" if request.ended else "length"
            text = self._text(request.prompt + known)[before:]
            if not more or (text != sent and not text.endswith(_UNFINISHED)):
                piece, sent = text[len(sent) :], text
                said = {"delta": {"role": "assistant", "content": piece}} if talks else {"text": piece}
                choice = {"index": 0, **said, "logprobs": None, "finish_reason": last}
                error = Refused(500, "InternalServerError", request.error).content if request.error else None
                yield json.dumps(error or {**frame, "choices": [choice]})
        yield "[DONE]"

    def _text(self, tokens: list[int]) -> str:
        return str(self._generator.tokenizer.decode(tokens, skip_special_tokens=True))


def application(service: StreamingService) -> Starlette:
    """The server's routes."""

    async def complete(request: HttpRequest) -> Response:
        body, path = await request.body(), request.url.path
        try:
            content = json.loads(body) if b'"stream"' in body else {}
            if isinstance(content, dict) and content.pop("stream", False) is True:
                events = await run_in_threadpool(service.stream, path, json.dumps(content).encode())
                return StreamingResponse(events, media_type="text/event-stream")
            return JSONResponse(await run_in_threadpool(service.complete, path, body))
        except Refused as error:
            return JSONResponse(error.content, error.status)

    routes = [Route(path, complete, methods=["POST"]) for path in (INVOCATIONS, COMPLETIONS, CHAT_COMPLETIONS)]
    routes.append(Route("/ping", lambda request: JSONResponse({})))
    return Starlette(routes=routes, middleware=[Middleware(RouteMiddleware)])


def main() -> None:
    """Load the model, then listen; see the module."""
    folder, port_file = Path(sys.argv[1]), Path(sys.argv[2])
    app = application(StreamingService(folder, Settings.of(os.environ, folder)))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        scratch = port_file.with_suffix(".new")
        scratch.write_text(str(listening.getsockname()[1]))
        scratch.replace(port_file)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listening])


if __name__ == "__main__":
    main()
