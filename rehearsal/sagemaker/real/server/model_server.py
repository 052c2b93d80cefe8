"""A model server with the contract of SageMaker's vLLM container, for one model and one LoRA adapter: of a run's endpoint and of `captune use`.

    python -m rehearsal.sagemaker.real.server.model_server <model folder> <file for the port>

Reads the SM_VLLM_ variables that `Settings` names. Answers GET /ping, and OpenAI completions, of prompts and of
conversations, on POST /invocations, which follows a `route=` in the custom attributes (see `routing`).
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from jinja2 import TemplateError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from transformers.utils import logging

from rehearsal.sagemaker.vllm.routing import CHAT_COMPLETIONS, COMPLETIONS, INVOCATIONS, RouteMiddleware, model_asked

from .answers import Answers
from .batching import ContinuousBatch, Ended, Row, Token
from .completion_request import CompletionRequest, read
from .contract import Refused, Settings


class Service:
    """The models, and how a request becomes rows of their batch."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._settings = settings
        self._engine = ContinuousBatch(folder, settings.adapter_folder, settings.dtype, settings.most_at_once)
        self._longest = settings.longest or self._engine.longest
        print(f"serving {', '.join(settings.served)} from {self._engine.description}", flush=True)

    def begin(self, path: str, body: bytes, loop: asyncio.AbstractEventLoop) -> tuple[CompletionRequest, Answers]:
        """Submit what a request asks for. Raises Refused."""
        request = read(path, body)
        model = model_asked(path, {"model": request.model}, self._settings.base)
        if model not in self._settings.served:
            raise Refused(404, "NotFoundError", f"The model `{model}` does not exist.", "model")
        news: asyncio.Queue[tuple[int, Token | Ended]] = asyncio.Queue()
        rows, said = list[Row](), list[str]()
        for tokens, text in self._prompts(request):
            most = self._most(request, tokens)
            for place in range(request.n):

                def on_news(one: Token | Ended, index: int = len(rows)) -> None:
                    with suppress(RuntimeError):  # the server ends
                        loop.call_soon_threadsafe(news.put_nowait, (index, one))

                adapted, scored = model != self._settings.base, request.echo and request.top is not None
                rows.append(Row(tokens, adapted, most, request.sampling(place), on_news, request.top, scored))
                said.append(text)
        answers = Answers(request, str(model), self._engine.tokenizer, news)
        answers.submit(rows, said, self._engine.submit)
        return request, answers

    def _most(self, request: CompletionRequest, tokens: list[int]) -> int:
        """How many tokens an answer may have: no more than the context still holds. Raises Refused."""
        context = f"This model's maximum context length is {self._longest} tokens. However, "
        wanted = self._longest if request.most_tokens is None else request.most_tokens
        if wanted > self._longest:
            raise Refused(400, "BadRequestError", f"{context}max_tokens={wanted} was asked for.", "max_tokens")
        if len(tokens) >= self._longest:
            message = f"{context}your prompt contains {len(tokens)} input tokens."
            raise Refused(400, "BadRequestError", message, "input_tokens")
        return min(wanted, self._longest - len(tokens))

    def _prompts(self, request: CompletionRequest) -> list[tuple[list[int], str]]:
        tokenizer = self._engine.tokenizer
        if request.talks:
            text = self._written(request)
            return [(list(tokenizer(text, add_special_tokens=False)["input_ids"]), text)]  # the template writes its own
        found = []
        for prompt in request.prompts:
            if isinstance(prompt, str):
                found.append((list(tokenizer(prompt)["input_ids"]), prompt))
            elif all(0 <= token < len(tokenizer) for token in prompt):
                found.append((prompt, str(tokenizer.decode(prompt, skip_special_tokens=True))))
            else:
                raise Refused(400, "BadRequestError", "A token of the prompt is none of the model's.", "prompt")
        return found

    def _written(self, request: CompletionRequest) -> str:
        """A conversation by the model's chat template. Raises Refused."""
        tokenizer = self._engine.tokenizer
        if not tokenizer.chat_template:
            message = "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template."
            raise Refused(400, "BadRequestError", message)
        try:
            return str(tokenizer.apply_chat_template(request.turns, tokenize=False, add_generation_prompt=True))
        except TemplateError as error:
            raise Refused(400, "BadRequestError", f"The model's chat template says: {error}", "messages") from None


async def _until_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _whole_or_left(request: Request, answers: Answers) -> Response:
    """The whole answer, unless the client leaves before it is there."""
    answering, leaving = asyncio.ensure_future(answers.whole()), asyncio.ensure_future(_until_left(request))
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        return JSONResponse(answering.result()) if answering.done() else Response(status_code=499)
    finally:
        for task in (answering, leaving):
            task.cancel()
        answers.leave()


async def _streamed(answers: Answers) -> AsyncIterator[str]:
    try:
        async for event in answers.events():
            yield event
    finally:
        answers.leave()


def application(service: Any) -> Starlette:
    """The server's routes."""

    async def complete(request: Request) -> Response:
        body, loop = await request.body(), asyncio.get_running_loop()
        try:
            completion, answers = await run_in_threadpool(service.begin, request.url.path, body, loop)
            if not completion.stream:
                return await _whole_or_left(request, answers)
        except Refused as error:
            return JSONResponse(error.content, error.status)
        return StreamingResponse(_streamed(answers), media_type="text/event-stream")

    routes = [Route(path, complete, methods=["POST"]) for path in (INVOCATIONS, COMPLETIONS, CHAT_COMPLETIONS)]
    routes.append(Route("/ping", lambda request: JSONResponse({})))
    return Starlette(routes=routes, middleware=[Middleware(RouteMiddleware)])


def main() -> None:
    """Load the model, then listen; see the module."""
    folder, port_file = Path(sys.argv[1]), Path(sys.argv[2])
    logging.disable_progress_bar()
    app = application(Service(folder, Settings.from_environment(os.environ, folder)))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # before anybody reads the port
        scratch = port_file.with_suffix(".new")
        scratch.write_text(str(listening.getsockname()[1]))
        scratch.replace(port_file)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)).run(
            sockets=[listening]
        )


if __name__ == "__main__":
    main()
