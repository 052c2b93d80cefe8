"""The loopback server of `captune use`: OpenAI's API and a page, in front of an engine whose every answer is checked for its model."""

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from captune.engines import BASE, BROKEN, CHAT_PATH, AnswerFailed, Engine, Pieces
from common.errors import AdapterNotServed
from report.findings.recall import counted_facts, mark_facts

PAGE = Path(__file__).parent / "page"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
}  # fmt: skip
T = TypeVar("T")
_ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}")


def refused(error: AnswerFailed) -> JSONResponse:
    """An error as OpenAI's clients read it. They would send the same request again, which cannot help."""
    return JSONResponse(_content(error), error.status, {"x-should-retry": "false"})


def _content(error: AnswerFailed) -> dict[str, Any]:
    # Some of AWS's errors repeat the request's signature.
    message = _ACCESS_KEY.sub("(access key)", str(error))
    return {"error": {"message": message, "type": error.kind, "param": error.parameter, "code": error.kind}}


async def _explained(request: Request, error: Exception) -> Response:
    if isinstance(error, AnswerFailed):
        return refused(error)
    if isinstance(error, HTTPException):
        message = f"{request.method} {request.url.path} is not answered here: {error.detail}."
        return refused(AnswerFailed(error.status_code, "UnknownPath", message))
    if isinstance(error, RecursionError):
        return refused(AnswerFailed(400, "BadRequest", "The request is nested too deeply."))
    return refused(AnswerFailed(503, type(error).__name__, f"{error} Check that your AWS credentials still hold."))


class Guard:
    """Lets in requests of this machine's own pages and programs only.

    A page of another site may be made to send requests to 127.0.0.1, by its own script or under a name of its own: the browser
    then says so in Origin, and in Host.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if headers.get("host") not in self._hosts or (origin and origin.removeprefix("http://") not in self._hosts):
            problem = AnswerFailed(403, "OtherOrigin", "Only programs and pages of this machine are answered here.")
            return await refused(problem)(scope, receive, send)
        await self._app(scope, receive, send)


def checked(content: bytes, model: str) -> bytes:
    """A whole answer, as it came. Raises AnswerFailed where another model gave it, or where it is none."""
    try:
        found = json.loads(content)["model"]
    except (ValueError, KeyError, TypeError):
        message = f"The engine did not answer as an OpenAI server: {content[:200]!r}"
        raise AnswerFailed(502, "EndpointAnsweredBadly", message) from None
    if found != model:
        raise AnswerFailed(
            502, AdapterNotServed.__name__,
            f"The model {model!r} was asked and {found!r} answered, so nothing of the answer is shown. The server behind this one does not go by the "
            "route in CustomAttributes: leave hosting_image in cdk.json empty and deploy again.",
        )  # fmt: skip
    return content


def events_of(pieces: Pieces, model: str) -> Pieces:
    """The events of a streamed answer, each checked before it is handed on. Raises AnswerFailed; a stream without its end is cut off."""
    rest = b""
    try:
        with closing(pieces):
            for piece in pieces:
                *events, rest = (rest + piece).replace(b"\r\n", b"\n").split(b"\n\n")
                for event in filter(None, events):
                    data = event.removeprefix(b"data:").strip()
                    if data != b"[DONE]":
                        checked(data, model)
                    yield event + b"\n\n"
                    if data == b"[DONE]":
                        return
    except BROKEN as error:
        raise _cut_off(f" ({type(error).__name__})") from error
    if rest.strip():  # an answer instead of a stream
        checked(rest, model)
    raise _cut_off()


def _cut_off(how: str = "") -> AnswerFailed:
    return AnswerFailed(502, "AnswerCutOff", f"The answer broke off{how}: its endpoint or engine was ended. Ask again.")


class Proxy:
    """The routes of one run's server: `domain` is the name of the fine-tuned model, `about` what the page shows of the run, `prompts` are the run's."""

    def __init__(self, engine: Engine, domain: str, about: Mapping[str, Any], prompts: list[dict[str, Any]]) -> None:
        self._engine, self._models, self._about = engine, (BASE, domain), about
        self._prompts = {str(one.get("prompt")): one for one in prompts if one.get("prompt")}

    def application(self, port: int) -> Starlette:
        """The server, to listen on a port of 127.0.0.1."""
        routes = [
            Route("/v1/models", self._list),
            Route("/v1/models/{name:path}", self._one),
            *(Route(path, self._complete, methods=["POST"]) for path in ("/v1/completions", CHAT_PATH)),
            Route("/captune/state", self._state),
            Route("/captune/marks", self._marks, methods=["POST"]),
            Route("/captune/end", self._end, methods=["POST"]),
            *(Route(path, self._file) for path in ("/", "/use.js", "/use.css")),
        ]
        explained = (AnswerFailed, ClientError, BotoCoreError, HTTPException, RecursionError)
        handlers: Any = dict.fromkeys(explained, _explained)
        return Starlette(routes=routes, middleware=[Middleware(Guard, port=port)], exception_handlers=handlers)

    async def _list(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_model(name) for name in self._models]})

    async def _one(self, request: Request) -> Response:
        return JSONResponse(_model(self._named(request.path_params["name"])))

    def _named(self, model: Any) -> str:
        if model not in self._models:
            known = " and ".join(self._models)
            raise AnswerFailed(404, "UnknownModel", f"There is no model {model!r}, but {known}.", "model")
        return str(model)

    async def _complete(self, request: Request) -> Response:
        asked = await _object(request)
        model, stream, left = self._named(asked.get("model")), asked.get("stream") is True, threading.Event()
        asking = run_in_threadpool(self._engine.ask, request.url.path, json.dumps(asked).encode(), stream, left)
        pieces = await _unless_left(request, asking, left)
        if not stream:
            content = await _unless_left(request, run_in_threadpool(_whole, pieces, model), left)
            return Response(content, media_type="application/json")
        events = events_of(pieces, model)
        first = await run_in_threadpool(next, events, b"")  # an error is still one with its own status
        return _Streamed(_stream(first, events), media_type="text/event-stream", headers=_HEADERS)

    async def _state(self, request: Request) -> Response:
        state = await run_in_threadpool(self._engine.state)
        return JSONResponse({**self._about, **state, "models": self._models, "prompts": list(self._prompts)})

    async def _marks(self, request: Request) -> Response:
        """Where an answer states the key facts of one of the run's prompts; nothing for a prompt of one's own."""
        asked = await _object(request)
        facts = counted_facts(self._prompts.get(str(asked.get("prompt")), {}))
        spans, found, missing = mark_facts(str(asked.get("text", "")), facts)
        return JSONResponse({"spans": spans, "found": found, "missing": missing})

    async def _end(self, request: Request) -> Response:
        said = await run_in_threadpool(self._engine.end)
        print(f"Ended on the page. {said} Ctrl-C ends this command.", flush=True)
        return JSONResponse({"said": said})

    async def _file(self, request: Request) -> Response:
        return FileResponse(PAGE / (request.url.path.removeprefix("/") or "index.html"), headers=_HEADERS)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "captune"}


async def _unless_left(request: Request, work: Awaitable[T], left: threading.Event) -> T:
    """What the work gives; `left` is set as soon as the client leaves."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left.set()

    watching = asyncio.ensure_future(watch())
    try:
        return await work
    finally:
        watching.cancel()


async def _object(request: Request) -> dict[str, Any]:
    try:
        asked = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise AnswerFailed(400, "BadRequest", f"The request is not JSON: {error}") from None
    if not isinstance(asked, dict):
        raise AnswerFailed(400, "BadRequest", "The request is not a JSON object.")
    return asked


def _whole(pieces: Pieces, model: str) -> bytes:
    try:
        return checked(b"".join(pieces), model)
    except BROKEN as error:
        raise _cut_off(f" ({type(error).__name__})") from error


class _Streamed(StreamingResponse):
    """Ends the answer with the response, however that ends: a client that leaves keeps no model busy."""

    body_iterator: Any

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.body_iterator.aclose()


async def _stream(first: bytes, events: Pieces) -> AsyncIterator[bytes]:
    """The events of an answer; one that breaks off or changes its model ends with an error, which clients raise."""
    try:
        yield first
        while event := await run_in_threadpool(next, events, b""):
            yield event
    except AnswerFailed as error:
        yield f"data: {json.dumps(_content(error))}\n\n".encode()
    finally:
        events.close()
