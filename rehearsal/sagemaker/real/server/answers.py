"""A request's answers as they come, and how OpenAI's API writes them: whole, or in the events of a stream."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import accumulate
from typing import Any

from .batching import Ended, Row, Token
from .completion_request import CompletionRequest
from .contract import Refused

_UNFINISHED = "\ufffd"  # how a tokenizer writes the first bytes of a letter whose last ones are still to come
_BEFORE = (
    8  # tokens of the prompt that are decoded with an answer: some tokenizers drop the space before a text's first word
)


class Text:
    """What an answer says, up to the first of its stop texts.

    `safe` is how much of it can be shown: no half letter, and nothing that a stop text may begin with.
    """

    def __init__(self, tokenizer: Any, prompt: list[int], stops: Sequence[str]) -> None:
        self._tokenizer, self._stops = tokenizer, stops
        self._known = prompt[-_BEFORE:]
        self._start = len(self._decoded())
        self.said, self.safe, self.stopped = "", 0, False

    def _decoded(self) -> str:
        return str(self._tokenizer.decode(self._known, skip_special_tokens=True))

    def add(self, token: int) -> None:
        """One token more."""
        self._known.append(token)
        self.said = self._decoded()[self._start :]
        ends = [place for stop in self._stops if (place := self.said.find(stop)) >= 0]
        if ends:
            self.said, self.stopped = self.said[: min(ends)], True
        half = 0 if self.stopped else max((self._begun(stop) for stop in self._stops), default=0)
        if not self.said.endswith(_UNFINISHED):
            self.safe = max(self.safe, len(self.said) - half)

    def _begun(self, stop: str) -> int:
        """How many letters at the end may be the beginning of a stop text."""
        return next((size for size in range(len(stop) - 1, 0, -1) if self.said.endswith(stop[:size])), 0)


class Choice:
    """One answer of a request, and why it ended; None before.

    `shown` letters were sent, and the log-probabilities of `listed` tokens.
    """

    def __init__(self, index: int, row: Row, text: Text, prompt: str) -> None:
        self.index, self.row, self.text, self.prompt = index, row, text, prompt
        self.tokens: list[Token] = []
        self.reason: str | None = None
        self.shown, self.listed = 0, 0

    def take(self, news: Token | Ended) -> None:
        """Take a token or the end from the engine. Raises Refused for an answer that failed."""
        if isinstance(news, Ended):
            if news.error:
                raise Refused(500, "InternalServerError", news.error)
            self.reason = news.reason
        else:
            self.tokens.append(news)
            self.text.add(news.id)
            if self.text.stopped:
                self.reason, self.row.left = "stop", True

    def piece(self) -> str:
        """What can be shown and was not."""
        end = self.text.safe if self.reason is None else len(self.text.said)
        begin, self.shown = self.shown, max(end, self.shown)
        return self.text.said[begin:end]


class Answers:
    """The answers of one request, in the order of its prompts."""

    def __init__(
        self, request: CompletionRequest, model: str, tokenizer: Any, news: asyncio.Queue[tuple[int, Token | Ended]]
    ) -> None:
        self._request, self._tokenizer, self._news = request, tokenizer, news
        self.choices: list[Choice] = []
        kind = "chat.completion" if request.talks else "text_completion"
        self._kind, self._frame = kind, {"created": int(time.time()), "model": model}
        self._frame["id"] = f"{'chatcmpl' if request.talks else 'cmpl'}-{uuid.uuid4().hex}"

    def submit(self, rows: list[Row], prompts: list[str], submit: Callable[[Row], None]) -> None:
        """Begin: each row is an answer, to the prompt beside it."""
        pairs = zip(rows, prompts, strict=True)
        self.choices = [
            Choice(index, row, Text(self._tokenizer, row.prompt, self._request.stops), prompt)
            for index, (row, prompt) in enumerate(pairs)
        ]
        for row in rows:
            submit(row)

    def leave(self) -> None:
        """End all answers: the client has left."""
        for choice in self.choices:
            choice.row.left = True

    async def _changes(self) -> AsyncIterator[Choice]:
        """A choice whenever it has news, until all have ended. Raises Refused."""
        while any(choice.reason is None for choice in self.choices):
            index, news = await self._news.get()
            choice = self.choices[index]
            if choice.reason is None:
                choice.take(news)
                yield choice

    async def whole(self) -> dict[str, Any]:
        """The answer as one object. Raises Refused."""
        async for _ in self._changes():
            pass
        choices = []
        for one in self.choices:
            text = one.piece()
            said: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
            if not self._request.talks:
                said = {"text": one.prompt + text if self._request.echo else text}
            choices.append({"index": one.index, **said, "logprobs": self._logprobs(one), "finish_reason": one.reason})
        return {**self._frame, "object": self._kind, "choices": choices, "usage": self._usage()}

    async def events(self) -> AsyncIterator[str]:
        """The events of a stream. What fails after the first one becomes an event."""
        object_ = "chat.completion.chunk" if self._request.talks else "text_completion"
        frame, begun = {**self._frame, "object": object_}, set[int]()
        try:
            async for one in self._changes():
                first, text = one.index not in begun, one.piece()
                if not (text or first or one.reason):
                    continue
                begun.add(one.index)
                said: dict[str, Any] = {"delta": {**({"role": "assistant"} if first else {}), "content": text}}
                if not self._request.talks:
                    said = {"text": one.prompt + text if self._request.echo and first else text}
                choice = {"index": one.index, **said, "logprobs": self._logprobs(one), "finish_reason": one.reason}
                yield _event({**frame, "choices": [choice]})
            if self._request.stream_options.include_usage:
                yield _event({**frame, "choices": [], "usage": self._usage()})
        except Refused as error:
            yield _event(error.content)
        yield "data: [DONE]\n\n"

    def _usage(self) -> dict[str, int]:
        """Each prompt counts once, however many answers it gets; the token that ended a text counts too."""
        prompt = sum(len(one.row.prompt) for one in self.choices[:: self._request.n])
        answers = sum(len(one.tokens) for one in self.choices)
        return {"prompt_tokens": prompt, "completion_tokens": answers, "total_tokens": prompt + answers}

    def _logprobs(self, one: Choice) -> dict[str, Any] | None:
        """Those of the tokens that were not sent before."""
        if self._request.top is None:
            return None
        echoed = one.row.scores if self._request.echo else []
        tokens, before = [*echoed, *one.tokens], one.listed
        one.listed = len(tokens)
        if self._request.talks:
            return {
                "content": [
                    {**self._named(token.id, token.logprob), "top_logprobs": [self._named(*one) for one in token.top]}
                    for token in tokens[before:]
                ]
            }
        words = [self._word(token.id) for token in tokens]
        places = list(accumulate(map(len, words), initial=0))[:-1]
        # The chosen token is among the likeliest, however unlikely it is: so vLLM has it, and lm-eval counts on it.
        top = [
            None if one.logprob is None else {self._word(one.id): one.logprob, **{self._word(id_): value for id_, value in one.top}}
            for one in tokens[before:]
        ]  # fmt: skip
        return {
            "tokens": words[before:], "token_logprobs": [token.logprob for token in tokens[before:]],
            "top_logprobs": top, "text_offset": places[before:],
        }  # fmt: skip

    def _named(self, token: int, logprob: float | None) -> dict[str, Any]:
        word = self._word(token)
        return {"token": word, "logprob": logprob, "bytes": list(word.encode())}

    def _word(self, token: int) -> str:
        return str(self._tokenizer.decode([token]))


def _event(content: Any) -> str:
    return f"data: {json.dumps(content)}\n\n"
