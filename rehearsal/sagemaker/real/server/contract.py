"""What vLLM takes from its container's environment and from a request, and the errors that it gives.

Seen in vLLM 0.27.1 and 0.32.0, and compared with a running one by verification/conformance/serving.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rehearsal.sagemaker.vllm.routing import CHAT_COMPLETIONS, INVOCATIONS

# What vLLM would heed and this server does not play: better refused than passed over.
_NOT_PLAYED = (
    "best_of", "frequency_penalty", "guided_json", "logit_bias", "logprobs", "min_p", "min_tokens", "presence_penalty",
    "prompt_logprobs", "repetition_penalty", "response_format", "stop", "stop_token_ids", "structured_outputs", "suffix", "top_k",
)  # fmt: skip
HOTTEST = 2.0  # the highest temperature that vLLM takes


@dataclass(frozen=True)
class Settings:
    """The SM_VLLM_ variables that the rehearsal's own server plays.

    Attributes:
        base: SM_VLLM_SERVED_MODEL_NAME, or the model's folder.
        adapter, adapter_folder: the one of SM_VLLM_LORA_MODULES.
        longest: SM_VLLM_MAX_MODEL_LEN, prompt and answer together in tokens; None for the model's own.
        most_at_once: SM_VLLM_MAX_NUM_SEQS, rows in a batch.
        dtype: SM_VLLM_DTYPE.
    """

    base: str
    adapter: str | None = None
    adapter_folder: Path | None = None
    longest: int | None = None
    most_at_once: int = 64
    dtype: str = "auto"

    @property
    def served(self) -> tuple[str, ...]:
        """The names that a request may ask for."""
        return (self.base,) if self.adapter is None else (self.base, self.adapter)

    @classmethod
    def of(cls, environment: Mapping[str, str], folder: Path) -> Settings:
        """Read the environment of a container whose model lies in `folder`.

        Raises:
            ValueError: the environment contradicts itself or the adapter.
        """
        adapter = _adapter_of(environment)
        longest = environment.get("SM_VLLM_MAX_MODEL_LEN")
        return cls(
            base=environment.get("SM_VLLM_SERVED_MODEL_NAME", str(folder)),
            adapter=adapter[0] if adapter else None,
            adapter_folder=adapter[1] if adapter else None,
            longest=int(longest) if longest else None,
            most_at_once=int(environment.get("SM_VLLM_MAX_NUM_SEQS", cls.most_at_once)),
            dtype=environment.get("SM_VLLM_DTYPE", cls.dtype),
        )


def _adapter_of(environment: Mapping[str, str]) -> tuple[str, Path] | None:
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
    rank = json.loads((folder / "adapter_config.json").read_text("utf-8"))["r"]
    most = int(environment.get("SM_VLLM_MAX_LORA_RANK", "16"))
    if rank > most:
        raise ValueError(f"LoRA rank {rank} is greater than max_lora_rank {most}")
    return name, folder


@dataclass(frozen=True)
class Sampling:
    """How a completion's tokens are chosen. Temperature 0 takes the most likely token; no seed is a seed at random."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


class Refused(Exception):
    """A request that gets an error answer, in the form that vLLM gives it.

    Args:
        status: of the HTTP answer.
        kind: the error's type: "BadRequestError", "NotFoundError", or "Bad Request" for what fails before it is understood.
        parameter: the member at fault.
    """

    def __init__(self, status: int, kind: str, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.parameter = status, kind, parameter

    @property
    def content(self) -> Mapping[str, Any]:
        """The body of the answer."""
        details = {"message": str(self), "type": self.kind, "param": self.parameter, "code": self.status}
        return {"error": details}


class _Message(BaseModel):
    role: str
    content: str


class Asked(BaseModel, extra="allow"):
    """One completion request, read as leniently as vLLM reads it. A `model` of None means the base model.

    A conversation has messages in place of a prompt.
    """

    model: str | None = None
    prompt: str | list[str] = ""
    messages: list[_Message] = []
    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None

    @property
    def sampling(self) -> Sampling:
        """How its tokens are chosen."""
        return Sampling(self.temperature, self.top_p, self.seed)


class _Conversation(Asked):
    messages: list[_Message]


def read(path: str, body: bytes) -> Asked:
    """Read the body of a request that came to /invocations, /v1/completions or /v1/chat/completions.

    Raises:
        Refused: with status 400 where it is malformed, beyond its limits, or asks for what is not played here. /invocations
            tries one kind of request after the other, so that its error for a malformed one names no member.
    """
    try:
        content = json.loads(body)
    except ValueError as error:
        place = None if path == INVOCATIONS else "body.0"
        raise Refused(400, "Bad Request", f"JSON decode error: {error}", place) from None
    if isinstance(content, dict):
        # /invocations overwrites the model before anybody looks at it, whatever it was.
        left_out = {"model"} if path == INVOCATIONS else set()
        content = {name: value for name, value in content.items() if value is not None and name not in left_out}
    talks = path == CHAT_COMPLETIONS
    try:
        asked = (_Conversation if talks else Asked).model_validate(content)
    except ValidationError as error:
        if path == INVOCATIONS:
            message = "Cannot find suitable handler for request: it is not a completion request."
            raise Refused(400, "BadRequestError", message) from None
        first = error.errors()[0]
        place = ".".join(("body", *map(str, first["loc"][:1])))
        raise Refused(400, "Bad Request", f"1 validation error: {place}: {first['msg']}", place) from None
    _check_limits(asked, talks)
    return asked


def _check_limits(asked: Asked, talks: bool) -> None:
    extra = asked.model_extra or {}
    for name, holds, message in (
        ("prompt", talks or asked.prompt != "", "prompt must be provided and non-empty."),
        ("prompt", isinstance(asked.prompt, str), "The rehearsal serves one prompt of text at a time."),
        *[
            (name, extra.get(name, only) == only, f"The rehearsal serves {name}={only} only.")
            for name, only in {"n": 1, "stream": False, "echo": False, **dict.fromkeys(_NOT_PLAYED)}.items()
        ],
        ("max_tokens", asked.max_tokens >= 1, f"max_tokens must be at least 1, got {asked.max_tokens}."),
        (
            "temperature",
            0 <= asked.temperature <= HOTTEST,
            f"temperature must be in [0, {HOTTEST:.0f}], got {asked.temperature}.",
        ),
        ("top_p", 0 < asked.top_p <= 1, f"top_p must be in (0, 1], got {asked.top_p}."),
    ):
        if not holds:
            raise Refused(400, "BadRequestError", message, name)
