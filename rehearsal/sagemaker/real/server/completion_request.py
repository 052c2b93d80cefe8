"""A completion request in OpenAI's form: read as vLLM reads it; what is not served here is refused by its name.

vLLM ignores names that it does not know. Here such a name is refused, because the sender expects an effect.
"""

import json
from typing import Any

from pydantic import BaseModel, ValidationError

from rehearsal.sagemaker.vllm.routing import CHAT_COMPLETIONS, INVOCATIONS

from .contract import HOTTEST, Refused, Sampling

# Served only with the value that changes nothing.
WITHOUT_EFFECT: dict[str, Any] = {
    "frequency_penalty": 0, "presence_penalty": 0, "repetition_penalty": 1, "min_p": 0, "top_k": -1, "min_tokens": 0, "logit_bias": {},
    "suffix": "", "tools": [], "tool_choice": "none", "functions": [], "response_format": {"type": "text"},
}  # fmt: skip
# What no answer depends on, here or at OpenAI.
NO_MATTER = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls",
)  # fmt: skip
MOST_LOGPROBS, MOST_CHOICES, MOST_STOPS = 20, 128, 16
COMPLETION_TOKENS = 16  # of a completion that names none; a conversation's answer may have what the context holds


class _Part(BaseModel, extra="forbid"):
    type: str
    text: str


class _Message(BaseModel):
    role: str
    content: str | list[_Part] | None = None


class _StreamOptions(BaseModel, extra="forbid"):
    include_usage: bool = False


class CompletionRequest(BaseModel, extra="allow"):
    """One request for completions. A `model` of None means the base model; a conversation has messages in place of a prompt."""

    model: str | None = None
    prompt: str | list[int] | list[str] | list[list[int]] = ""
    messages: list[_Message] = []
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    n: int = 1
    best_of: int | None = None
    stop: str | list[str] = []
    logprobs: bool | int | None = None
    top_logprobs: int = 0
    echo: bool = False
    stream: bool = False
    stream_options: _StreamOptions = _StreamOptions()

    @property
    def talks(self) -> bool:
        """Whether it is a conversation."""
        return bool(self.messages)

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts, as text or as tokens."""
        several = isinstance(self.prompt, list) and not (self.prompt and isinstance(self.prompt[0], int))
        return list(self.prompt) if several else [self.prompt]  # type: ignore[list-item,arg-type]

    @property
    def turns(self) -> list[dict[str, str]]:
        """The conversation as a chat template takes it."""
        parts = [(one.role, one.content or "") for one in self.messages]
        return [
            {"role": role, "content": said if isinstance(said, str) else "".join(part.text for part in said)}
            for role, said in parts
        ]

    @property
    def most_tokens(self) -> int | None:
        """How many tokens an answer may have; None for what the context holds."""
        given = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        return given if given is not None or self.talks else COMPLETION_TOKENS

    @property
    def stops(self) -> list[str]:
        """The texts that end an answer."""
        return [self.stop] if isinstance(self.stop, str) else self.stop

    @property
    def top(self) -> int | None:
        """How many log-probabilities are wanted beside each token's own; None for none at all."""
        if self.talks:
            return self.top_logprobs if self.logprobs else None
        return None if self.logprobs is None or self.logprobs is False else int(self.logprobs)

    def sampling(self, place: int) -> Sampling:
        """How the tokens of the answer in this place of `n` are chosen: each has a different seed."""
        return Sampling(self.temperature, self.top_p, None if self.seed is None else self.seed + place)


class _Conversation(CompletionRequest):
    messages: list[_Message]


SERVED = tuple(CompletionRequest.model_fields)


def read(path: str, body: bytes) -> CompletionRequest:
    """Read the body of a request that came to /invocations, /v1/completions or /v1/chat/completions.

    Raises Refused where it is malformed, beyond its limits, or needs what is not served here. /invocations tries one kind of request
    after the other, so its error for a malformed one names no member.
    """
    unrouted, talks = path == INVOCATIONS, path == CHAT_COMPLETIONS
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        place = None if unrouted else "body.0"
        raise Refused(400, "Bad Request", f"JSON decode error: {error}", place) from None
    if isinstance(content, dict):
        # /invocations overwrites the model before anybody looks at it, whatever it was.
        left_out = {"model"} if unrouted else set()
        content = {name: value for name, value in content.items() if value is not None and name not in left_out}
    try:
        request = (_Conversation if talks else CompletionRequest).model_validate(content)
    except ValidationError as error:
        if unrouted:
            message = "Cannot find suitable handler for request: it is not a completion request."
            raise Refused(400, "BadRequestError", message) from None
        first = error.errors()[0]
        place = ".".join(("body", *map(str, first["loc"][:1])))
        raise Refused(400, "Bad Request", f"1 validation error: {place}: {first['msg']}", place) from None
    _refuse_what_is_not_served(request)
    _check_limits(request, talks)
    return request


def _refuse_what_is_not_served(request: CompletionRequest) -> None:
    for name, value in (request.model_extra or {}).items():
        if name in NO_MATTER or (name in WITHOUT_EFFECT and value == WITHOUT_EFFECT[name]):
            continue
        only = f" but {json.dumps(WITHOUT_EFFECT[name])}" if name in WITHOUT_EFFECT else ""
        message = f"The server on this machine serves no `{name}`{only}. It serves: {', '.join(SERVED)}. The real vLLM serves more: --server vllm"
        raise Refused(400, "BadRequestError", message, name)
    if request.best_of not in (None, request.n):
        raise Refused(
            400, "BadRequestError", f"The server on this machine serves best_of={request.n} (`n`) only.", "best_of"
        )


def _check_limits(request: CompletionRequest, talks: bool) -> None:
    most, top = request.most_tokens, request.top or 0
    for name, holds, message in (
        ("messages", request.talks or not talks, "messages must be provided and non-empty."),
        ("messages", talks or not request.talks, "messages belong to /v1/chat/completions."),
        ("messages", all(part.type == "text" for one in request.messages if isinstance(one.content, list) for part in one.content), "Only parts of type text are served."),
        ("prompt", talks or all(request.prompts) and request.prompts != [], "prompt must be provided and non-empty."),
        ("echo", not (talks and request.echo), "echo belongs to /v1/completions."),
        ("n", 1 <= request.n <= MOST_CHOICES // max(1, len(request.prompts)), f"A request may have {MOST_CHOICES} answers: n for each prompt."),
        ("stop", all(request.stops) and len(request.stops) <= MOST_STOPS, f"stop must be up to {MOST_STOPS} non-empty texts."),
        ("logprobs", 0 <= top <= MOST_LOGPROBS, f"At most {MOST_LOGPROBS} log-probabilities of a token are given, got {top}."),
        ("max_tokens", most is None or most >= 1, f"max_tokens must be at least 1, got {most}."),
        ("temperature", 0 <= request.temperature <= HOTTEST, f"temperature must be in [0, {HOTTEST:.0f}], got {request.temperature}."),
        ("top_p", 0 < request.top_p <= 1, f"top_p must be in (0, 1], got {request.top_p}."),
    ):  # fmt: skip
        if not holds:
            raise Refused(400, "BadRequestError", message, name)
