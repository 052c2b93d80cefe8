"""python -m rehearsal.sagemaker.vllm.environment [--folder FOLDER]

Makes the virtual environment of the real model server, vLLM built for a CPU: about 2.3 GB, a few minutes, once. It needs an
separate environment because it needs another version of transformers than training. Later calls reuse it.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
FOLDER = PROJECT / ".rehearsal" / "vllm"
REQUIREMENTS = PROJECT / "requirements/vllm.txt"  # what all versions need; vllm-VERSION.txt adds vLLM itself
TORCH = "torch>=2.13,<2.14"  # what vLLM is compiled against; a range, so that a machine's CPU build is taken
DEPLOYED, NEWEST = "deployed", "newest"  # the version of the deployed image, and the newest one
MEND = "python -m rehearsal.sagemaker.vllm.environment"
_MACHINES = ("x86_64", "aarch64")


class VllmMissing(Exception):
    """The real vLLM cannot be used; the message says how to mend it."""


def interpreter(folder: Path = FOLDER, version: str = DEPLOYED) -> Path:
    """Return the Python of the environment with a version of vLLM.

    Raises VllmMissing where this machine cannot have one, it is not made yet, or it was made from other requirements.
    """
    _check_platform()
    found = _stamp(folder).read_text() if _stamp(folder).is_file() else None
    if found != _made_from(version):
        what = "not installed" if found is None else "installed from older requirements"
        raise VllmMissing(f"The real vLLM is {what} ({folder}). Run: captune vllm, or {MEND}")
    return _python(folder)


def make(folder: Path = FOLDER, version: str = DEPLOYED) -> Path:
    """Return the Python of the environment with a version of vLLM, made if it is not there.

    Raises VllmMissing where this machine cannot have one, or pip failed; its words are on the terminal.
    """
    try:
        return interpreter(folder, version)
    except VllmMissing:
        _check_platform()
    print(f"Setting up {folder}: a few minutes, once.", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    pip = [str(_python(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    lists = [word for file in _lists(version) for word in ("-r", str(file))]
    for arguments in ([TORCH], ["--no-deps", "--require-hashes", *lists]):
        if subprocess.run([*pip, *arguments], check=False).returncode != 0:
            raise VllmMissing(
                f"pip could not install {arguments[-1]} into {folder}; its reason stands above. Run again: {MEND}"
            )
    _stamp(folder).write_text(_made_from(version))
    return _python(folder)


def _check_platform() -> None:
    system, machine = platform.system(), platform.machine()
    if system != "Linux" or machine not in _MACHINES:
        raise VllmMissing(
            f"The real vLLM runs on Linux on {' or '.join(_MACHINES)} here, and this is {system} on {machine}. Rehearse without SERVER=vllm."
        )


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _stamp(folder: Path) -> Path:
    return folder / "made-from"


def _lists(version: str) -> list[Path]:
    return [REQUIREMENTS, REQUIREMENTS.with_name(f"vllm-{version}.txt")]


def _made_from(version: str) -> str:
    return hashlib.sha256(TORCH.encode() + b"".join(file.read_bytes() for file in _lists(version))).hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Make the environment and print its Python; returns the exit code."""
    parser = argparse.ArgumentParser(description="Make the environment of the real vLLM.")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    try:
        print(make(parser.parse_args(arguments).folder))
    except VllmMissing as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
