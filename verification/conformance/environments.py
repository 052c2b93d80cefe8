"""Foreign software, each part in a folder of its own under .rehearsal/, installed once from a pinned list with hashes."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
FOREIGN = PROJECT / ".rehearsal"
_PATIENCE_SECONDS = 600
_STAMP = "installed-from"  # holds the hash of the list that a folder was made from


class CannotRun(RuntimeError):
    """A part of the conformance checks cannot run on this machine; the message says why and what would help."""


def beside_python(program: str) -> Path:
    """Return a program of the environment that this process runs in, for example node.

    Raises:
        CannotRun: it is not there.
    """
    path = Path(sys.executable).parent / program
    if not path.exists():
        raise CannotRun(f"{program} is not installed beside {sys.executable}: run make setup")
    return path


def python_packages(requirements: Path, name: str) -> Path:
    """Return the Python of a virtual environment .rehearsal/NAME that holds what a requirements file with hashes names.

    Raises:
        CannotRun: it cannot be installed, with pip's last words.
    """
    folder = FOREIGN / name
    python = folder / "bin" / "python"
    if _is_made_from(folder, requirements):
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)], FOREIGN.parent, requirements)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    _run([*install, "--require-hashes", "-r", str(requirements)], FOREIGN.parent, requirements)
    _note(folder, requirements)
    return python


def node_packages(source: Path, name: str) -> Path:
    """Return a folder .rehearsal/NAME with the node_modules of the package-lock.json in `source`.

    Raises:
        CannotRun: it cannot be installed, with npm's last words.
    """
    folder, lock = FOREIGN / name, source / "package-lock.json"
    if _is_made_from(folder, lock):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in (source / "package.json", lock):
        shutil.copy(file, folder)
    _run([str(beside_python("npm")), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, lock)
    _note(folder, lock)
    return folder


def _digest(pinned: Path) -> str:
    return hashlib.sha256(pinned.read_bytes()).hexdigest()


def _is_made_from(folder: Path, pinned: Path) -> bool:
    stamp = folder / _STAMP
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _digest(pinned)


def _note(folder: Path, pinned: Path) -> None:
    (folder / _STAMP).write_text(_digest(pinned), encoding="utf-8")


def _run(command: list[str], folder: Path, pinned: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise CannotRun(f"{pinned.name} was not installed within {_PATIENCE_SECONDS} s. Is there a network?") from None
    if done.returncode:
        last = " ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise CannotRun(f"{pinned.name} could not be installed, which needs a network once: {last}")
