"""The two programs that can play an endpoint's container: the rehearsal's own model server, and the real vLLM."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rehearsal.sagemaker.vllm import routing

from .container import free_port

_PROJECT = Path(__file__).resolve().parents[3]
_PREFIX = "SM_VLLM_"
# vLLM's own variables that this machine needs and a container of AWS does not. The first is in GiB: room for the keys and values
# of the longest context and of many short answers. Without it the CPU build takes half of the memory.
ON_THIS_MACHINE = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True)
class Start:
    """How a program is started: its command, its additions to the container's environment, and the file with its port."""

    command: list[str]
    environment: dict[str, str]
    port_file: Path


class Program(Protocol):
    """A model server with the container's contract."""

    def start(self, root: Path, environment: Mapping[str, str]) -> Start:
        """Return how it starts in the folder that plays /opt/ml, with the container's environment rewritten to it."""


class OwnServer:
    """transformers and PEFT behind the contract of vLLM: `model_server`, or the module that is named in its place."""

    def __init__(self, module: str = "rehearsal.sagemaker.real.server.model_server") -> None:
        self._module = module

    def start(self, root: Path, environment: Mapping[str, str]) -> Start:
        """See `Program`."""
        port_file = root / "port"
        # Two cores are shared with the rest of the rehearsal: threads that wait must sleep and not spin.
        own = {"PYTHONPATH": str(_PROJECT), "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "20000"}
        return Start([sys.executable, "-m", self._module, str(root / "model"), str(port_file)], own, port_file)


class Vllm:
    """The real vLLM, started as AWS's images start it.

    Args:
        python: the interpreter of an environment that holds it (see `vllm.environment`).
        additions: further variables of vLLM's own.
        dtype: the number format to compute in, whatever the container's environment says; None follows the environment.
    """

    def __init__(self, python: Path, additions: Mapping[str, str] | None = None, dtype: str | None = None) -> None:
        self._python, self._additions, self.dtype = python, additions or {}, dtype

    @classmethod
    def on_this_machine(cls, python: Path) -> Vllm:
        """Return the server with the number format in which this processor can answer within SageMaker's 60 seconds.

        Where bfloat16 has no instructions of its own, 40 answers of 64 tokens at once took 76 s in it and 14 s in float32.
        """
        from .server.generation import bfloat16_is_faster  # torch and all

        return cls(python, dtype=None if bfloat16_is_faster() else "float32")

    def start(self, root: Path, environment: Mapping[str, str]) -> Start:
        """See `Program`. The port is one that is free now: vLLM cannot report which one it took."""
        package = root / "server" / "captune_route"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        shutil.copy(str(routing.__file__), package)
        port_file = root / "port"
        port = str(free_port())
        port_file.write_text(port)
        wanted = environment if self.dtype is None else {**environment, f"{_PREFIX}DTYPE": self.dtype}
        words = ["-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", port]
        words += [*arguments_of(wanted), "--middleware", "captune_route.routing.RouteMiddleware"]
        # Its sockets lie outside the container's folder: their names may have 107 characters in all.
        own = {"PYTHONPATH": str(package.parent), "VLLM_RPC_BASE_PATH": tempfile.gettempdir()}
        return Start([str(self._python), *words], ON_THIS_MACHINE | own | dict(self._additions), port_file)


def arguments_of(environment: Mapping[str, str]) -> list[str]:
    """Return the command line that AWS's images make of a container's environment: SM_VLLM_MAX_MODEL_LEN=8 is --max-model-len 8.

    "true" is the flag alone and "false" no flag; anything else is one word. Read in scripts/docker/vllm/sagemaker_args.py
    (aws/deep-learning-containers, e0ecede), whose rules for arrays, for several objects in a row and for a model that no
    variable names are left out here, as the project uses none of them.
    """
    words: list[str] = []
    for name, value in sorted(environment.items()):
        meaning = value.strip().lower()
        if name.startswith(_PREFIX) and meaning != "false":
            words.append("--" + name.removeprefix(_PREFIX).lower().replace("_", "-"))
            if meaning and meaning != "true":
                words.append(value)
    return words
