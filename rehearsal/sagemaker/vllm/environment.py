"""The virtual environment of the real model server, vLLM built for a CPU: about 2.3 GB, a few minutes, once (`captune vllm`).

It needs a separate environment because it needs another version of transformers than training.
"""

import platform
import sys
from pathlib import Path
from typing import Annotated

import typer

from rehearsal import programs
from rehearsal.programs import CannotRun

FOLDER = programs.FOREIGN / "vllm"
REQUIREMENTS = programs.PROJECT / "requirements/vllm.txt"  # what all versions need; vllm-VERSION.txt adds vLLM itself
TORCH = "torch>=2.13,<2.14"  # what vLLM is compiled against; a range, so that a machine's CPU build is taken
DEPLOYED, NEWEST = "deployed", "newest"  # the version of the deployed image, and the newest one
_MACHINES = ("x86_64", "aarch64")


def _lists(version: str) -> tuple[Path, Path]:
    """The requirements of a version. Raises CannotRun where this machine cannot have it."""
    system, machine = platform.system(), platform.machine()
    if system != "Linux" or machine not in _MACHINES:
        raise CannotRun(
            f"The real vLLM runs on Linux on {' or '.join(_MACHINES)} here, and this is {system} on {machine}. Rehearse without SERVER=vllm."
        )
    return REQUIREMENTS, REQUIREMENTS.with_name(f"vllm-{version}.txt")


def interpreter(folder: Path = FOLDER, version: str = DEPLOYED) -> Path:
    """The Python of the environment with a version of vLLM. Raises CannotRun where it is not there, or from other requirements."""
    if not programs.is_installed(folder, _lists(version)):
        raise CannotRun(f"The real vLLM is not installed, or from older requirements ({folder}). Run: captune vllm")
    return folder / "bin" / "python"


def make(folder: Path = FOLDER, version: str = DEPLOYED) -> Path:
    """The same, made if it is not there. Raises CannotRun."""
    return programs.python_packages(folder, *_lists(version), first=TORCH)


def command(
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Install it into this folder.")] = FOLDER,
) -> None:
    """Makes the environment and prints its Python.

    It takes 2.3 GB and a few minutes, once. Then `captune rehearse --server vllm` and `captune use RUN --server vllm` can use it.
    """
    print(f"Looking for vLLM in {folder}; the first installation takes a few minutes.", file=sys.stderr, flush=True)
    print(make(folder.absolute()))
