"""What vLLM takes from its container's environment, how it samples, and the errors that it gives.

Seen in vLLM 0.27.1 and 0.32.0, and compared with a running one by verification/conformance/serving.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOTTEST = 2.0  # the highest temperature that vLLM takes


@dataclass(frozen=True)
class Settings:
    """The SM_VLLM_ variables that the rehearsal's own server plays: SERVED_MODEL_NAME (or the model's folder), LORA_MODULES,
    MAX_MODEL_LEN, which is prompt and answer together in tokens (None for the model's own), MAX_NUM_SEQS and DTYPE.
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
    def from_environment(cls, environment: Mapping[str, str], folder: Path) -> Settings:
        """Read the environment of a container whose model lies in `folder`. Raises ValueError where it contradicts itself or the adapter."""
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
    module = json.loads(modules)
    name, folder = module["name"], Path(module["path"])
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
    """A request that gets an error answer, in the form that vLLM gives it; `parameter` is the member at fault.

    Its kind is "BadRequestError", "NotFoundError", or "Bad Request" for what fails before it is understood.
    """

    def __init__(self, status: int, kind: str, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.parameter = status, kind, parameter

    @property
    def content(self) -> Mapping[str, Any]:
        """The body of the answer."""
        details = {"message": str(self), "type": self.kind, "param": self.parameter, "code": self.status}
        return {"error": details}
