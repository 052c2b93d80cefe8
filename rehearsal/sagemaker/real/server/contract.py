"""What vLLM takes from its container's environment and from a request, and the errors that it gives.

Seen in vLLM 0.32.0, and held against a running one by verification/conformance/serving.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    rank = json.loads((folder / "adapter_config.json").read_text())["r"]
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


@dataclass(frozen=True)
class Asked:
    """One completion request. A `model` of None means the base model. A conversation has messages in place of a prompt."""

    model: str | None
    prompt: str
    max_tokens: int
    sampling: Sampling
    messages: tuple[Mapping[str, str], ...] = ()


class _Malformed(Exception):
    """A member has another type than it should."""


def read(path: str, body: bytes) -> Asked:
    """Read the body of a request that came to /invocations, /v1/completions or /v1/chat/completions.

    Raises:
        Refused: with status 400 where it is malformed, beyond its limits, or asks for what is not played here. /invocations
            tries one kind of request after the other, so that its error for a malformed one names no member.
    """
    try:
        asked = json.loads(body)
    except ValueError as error:
        place = None if path == INVOCATIONS else "body.0"
        raise Refused(400, "Bad Request", f"JSON decode error: {error}", place) from None
    if path == INVOCATIONS and isinstance(asked, dict):
        asked = {**asked, "model": None}  # overwritten there before anybody looks at it, whatever it was
    try:
        return _read(asked, talks=path == CHAT_COMPLETIONS)
    except _Malformed as error:
        if path == INVOCATIONS:
            message = "Cannot find suitable handler for request: it is not a completion request."
            raise Refused(400, "BadRequestError", message) from None
        place = f"body.{error}" if str(error) else "body"
        raise Refused(400, "Bad Request", f"1 validation error: {place} has the wrong type.", place) from None


def _read(asked: Any, *, talks: bool) -> Asked:
    if not isinstance(asked, dict):
        raise _Malformed
    model = _member(asked, "model", _text, None)
    messages = _messages(asked) if talks else ()
    prompt: Any = "" if talks else asked.get("prompt")
    if not talks and prompt in (None, ""):
        raise Refused(400, "BadRequestError", "prompt must be provided and non-empty.", "prompt")
    if isinstance(prompt, list):
        raise Refused(400, "BadRequestError", "The rehearsal serves one prompt of text at a time.", "prompt")
    longest = _member(asked, "max_tokens", _whole, 16)
    temperature, top_p = _member(asked, "temperature", _real, 1.0), _member(asked, "top_p", _real, 1.0)
    sampling = Sampling(temperature, top_p, _member(asked, "seed", _whole, None))
    prompt = prompt if talks else _member(asked, "prompt", _text, None)
    for name, only in (("n", 1), ("stream", False), ("echo", False), *((name, None) for name in _NOT_PLAYED)):
        if asked.get(name, only) not in (only, None):
            raise Refused(400, "BadRequestError", f"The rehearsal serves {name}={only} only.", name)
    for name, value, holds, limits in (
        ("max_tokens", longest, longest >= 1, "at least 1"),
        ("temperature", temperature, 0 <= temperature <= HOTTEST, f"in [0, {HOTTEST:.0f}]"),
        ("top_p", top_p, 0 < top_p <= 1, "in (0, 1]"),
    ):
        if not holds:
            raise Refused(400, "BadRequestError", f"{name} must be {limits}, got {value}.", name)
    return Asked(model, prompt, longest, sampling, messages)


def _messages(asked: Mapping[str, Any]) -> tuple[Mapping[str, str], ...]:
    """The messages of a conversation, each with its role and text."""
    messages = asked.get("messages")
    if not isinstance(messages, list):
        raise _Malformed("messages")
    for message in messages:
        if not isinstance(message, dict) or not all(isinstance(message.get(key), str) for key in ("role", "content")):
            raise _Malformed("messages")
    return tuple({"role": message["role"], "content": message["content"]} for message in messages)


def _member(asked: Mapping[str, Any], name: str, converted: Callable[[Any], Any], usual: Any) -> Any:
    value = asked.get(name)
    if value is None:
        return usual
    try:
        return converted(value)
    except (ValueError, TypeError):
        raise _Malformed(name) from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: Any) -> int:
    """A whole number, or what the server takes for one: "4", 4.0 and True."""
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    return int(value)


def _real(value: Any) -> float:
    return float(value)
