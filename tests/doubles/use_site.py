"""The server of `captune use` on a port of this machine, with an engine that answers what a test says."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from captune.engines import CHAT_PATH, AnswerFailed, Pieces
from captune.proxy import Proxy

DOMAIN = "medical"
PROMPTS = [{"id": "p1", "prompt": "A gene is", "facts": [{"name": "coding", "pattern": r"\bcodes\b"}]}]
TEXTS = {"base": " a part of a cell.", DOMAIN: " a stretch of DNA that codes for a product."}


class FakeEngine:
    """Answers a model's text, word by word where it is streamed.

    Attributes:
        asked: the requests, as they came.
        answers_as: by the model that is asked, the one that answers.
        swaps_at: the event of a stream from which on another model answers.
        breaks_at: the event of a stream at which the connection breaks.
        whole: what is answered in place of an answer.
        refusal: what is raised instead of answering.
        ended: whether it was ended.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers_as: dict[str, str] = {}
        self.swaps_at = self.breaks_at = -1
        self.whole: bytes | None = None
        self.refusal: Exception | None = None
        self.ended = False
        self.closed = threading.Event()

    def ask(self, path: str, body: bytes, stream: bool) -> Pieces:
        """See `captune.engines.Engine`."""
        asked = json.loads(body)
        self.asked.append((path, asked))
        if self.refusal:
            raise self.refusal
        if self.ended:
            raise AnswerFailed(410, "NoEndpoint", "It was ended.")
        return self._pieces(path, asked, stream)

    def _pieces(self, path: str, asked: dict[str, Any], stream: bool) -> Pieces:
        model, text = self.answers_as.get(asked["model"], asked["model"]), TEXTS[asked["model"]]
        if self.whole is not None or not stream:
            said = {"message": {"content": text}} if path == CHAT_PATH else {"text": text}
            yield self.whole or json.dumps({"model": model, "choices": [{"index": 0, **said}]}).encode()
            return
        try:
            for place, word in enumerate(text.split(" ")[1:]):
                if place == self.breaks_at:
                    raise ConnectionResetError("gone")
                by = "another" if 0 <= self.swaps_at <= place else model
                event = f"data: {json.dumps({'model': by, 'choices': [{'index': 0, 'text': ' ' + word}]})}\n\n".encode()
                yield event[:7]  # pieces end anywhere
                yield event[7:]
            yield b"data: [DONE]\n\n"
        finally:
            self.closed.set()

    def state(self) -> dict[str, Any]:
        """See `captune.engines.Engine`."""
        return {"where": "a fake", "running": not self.ended, "cost": "$0.12 so far", "minutes_left": 7}

    def end(self) -> str:
        """See `captune.engines.Engine`."""
        self.ended = True
        return "The engine has ended."


class Site:
    """A running server."""

    def __init__(self, engine: Any, port: int) -> None:
        self.engine, self.port, self.url = engine, port, f"http://127.0.0.1:{port}"

    def call(self, path: str, body: Any = None, **headers: str) -> tuple[int, str, dict[str, str]]:
        """(status, text, headers) of one request; a POST where there is a body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request("GET" if body is None else "POST", path, content, headers)
        answer = connection.getresponse()
        found = answer.status, answer.read().decode(), {name.lower(): value for name, value in answer.getheaders()}
        connection.close()
        return found

    def error(self, path: str, body: Any = None, **headers: str) -> tuple[int, str, str]:
        """(status, name, message) of the error that a request gets."""
        status, text, _ = self.call(path, body, **headers)
        error = json.loads(text)["error"]
        return status, error["type"], error["message"]

    def events(self, **body: Any) -> list[dict[str, Any]]:
        """The events of a streamed completion, without the last one."""
        _, text, _ = self.call("/v1/completions", {"prompt": "A gene is", "stream": True, **body})
        return [json.loads(one.removeprefix("data: ")) for one in text.split("\n\n") if one and "[DONE]" not in one]


@contextmanager
def serving(engine: Any, domain: str = DOMAIN, prompts: list[dict[str, Any]] = PROMPTS) -> Iterator[Site]:
    """A server with this engine, until the block ends."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
        app = Proxy(engine, domain, {"run": "captune-one", "seed": 42}, prompts).application(port)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.01)
        try:
            yield Site(engine, port)
        finally:
            server.should_exit = True
            thread.join()
