"""The server of `captune use` on a port of this machine, with an engine that answers what a test says."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from captune.engines import CHAT_PATH, Pieces
from captune.proxy import Proxy
from captune.use import answering
from tests.doubles import PATIENCE_SECONDS

DOMAIN = "medical"
PROMPTS = [{"id": "p1", "prompt": "A gene is", "facts": [{"name": "coding", "pattern": r"\bcodes\b"}]}]
TEXTS = {"base": " a part of a cell.", DOMAIN: " a stretch of DNA that codes for a product."}


@dataclass
class FakeEngine:
    """Answers a model's text, word by word where it is streamed; see `captune.engines.Engine`.

    `answers_as` names, by the model that is asked, the one that answers; `whole` is answered in place of an answer, `refusal` is raised,
    and `waits` is waited for before the first word. From the event `trouble_at` of a stream the model `trouble` answers; an exception
    is raised there, and None ends the stream.
    """

    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers_as: dict[str, str] = field(default_factory=dict)
    trouble_at: int = 1_000_000
    trouble: Exception | str | None = None
    whole: bytes = b""
    refusal: Exception | None = None
    waits: threading.Event | None = None
    ended: bool = False
    closed: threading.Event = field(default_factory=threading.Event)

    def ask(self, path: str, body: bytes, stream: bool, left: threading.Event) -> Pieces:
        asked = json.loads(body)
        self.asked.append((path, asked))
        if self.refusal:
            raise self.refusal
        return self._pieces(path, asked, stream)

    def _pieces(self, path: str, asked: dict[str, Any], stream: bool) -> Pieces:
        model, text = self.answers_as.get(asked["model"], asked["model"]), TEXTS[asked["model"]]
        if self.whole or not stream:
            said = {"message": {"content": text}} if path == CHAT_PATH else {"text": text}
            yield self.whole or json.dumps({"model": model, "choices": [{"index": 0, **said}]}).encode()
            return
        try:
            if self.waits:
                self.waits.wait(60)
            for place, word in enumerate(text.split(" ")[1:]):
                if place == self.trouble_at and isinstance(self.trouble, Exception):
                    raise self.trouble
                if place == self.trouble_at and not self.trouble:
                    return
                answers = self.trouble if place >= self.trouble_at else model
                event = {"model": answers, "choices": [{"text": f" {word}"}]}
                yield f"data: {json.dumps(event)}\n\n".encode()[:7]  # pieces end anywhere
                yield f"data: {json.dumps(event)}\n\n".encode()[7:]
            yield b"data: [DONE]\n\n"
        finally:
            self.closed.set()

    def state(self) -> dict[str, Any]:
        return {"where": "a fake", "running": not self.ended, "cost": "$0.12 so far", "minutes_left": 7}

    def end(self) -> str:
        self.ended = True
        return "The engine has ended."


@dataclass(frozen=True)
class RunningServer:
    engine: Any
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """(status, text) of one request; a POST where there is a body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request("GET" if body is None else "POST", path, content, headers)
        answer = connection.getresponse()
        found = answer.status, answer.read().decode()
        connection.close()
        return found

    def error(self, path: str, body: Any = None, **headers: str) -> tuple[int, str, str]:
        """(status, name, message) of the error that a request gets."""
        status, text = self.call(path, body, **headers)
        error = json.loads(text)["error"]
        return status, error["type"], error["message"]

    def events(self, model: str) -> list[dict[str, Any]]:
        """The events of a streamed completion, without the last one."""
        _, text = self.call("/v1/completions", {"prompt": "A gene is", "stream": True, "model": model})
        return [json.loads(one.removeprefix("data: ")) for one in text.split("\n\n") if one and "[DONE]" not in one]


@contextmanager
def serving(engine: Any) -> Iterator[RunningServer]:
    """A server with this engine, until the block ends."""
    with answering(Proxy(engine, DOMAIN, {"run": "captune-one", "seed": 42}, PROMPTS)) as port:
        yield RunningServer(engine, port)
