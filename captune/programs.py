"""Third-party programs: each is installed once into its own folder under .rehearsal/, from a list with hashes, and run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
FOREIGN = PROJECT / ".rehearsal"
PATIENCE_SECONDS = 1800  # PyTorch's libraries for graphics cards are 3 GB


class CannotRun(RuntimeError):
    """A part of the conformance checks cannot run on this machine; the message says why and what would help."""


class StepFailed(RuntimeError):
    """A program ended with an error or something did not happen in its time; the message says what, and names the log."""


def beside_python(program: str) -> Path:
    """Return a program of the environment that this process runs in, for example node. Raises CannotRun where it is not there."""
    path = Path(sys.executable).parent / program
    if not path.exists():
        raise CannotRun(f"{program} is not installed beside {sys.executable}: run make setup")
    return path


def python_packages(requirements: Path, name: str, *, with_hashes: bool = True) -> Path:
    """Return the Python of a virtual environment .rehearsal/NAME with the packages of a requirements file.

    A file with hashes names every package; of one without them, pip adds what they need.

    Raises:
        CannotRun: they cannot be installed, with pip's last words.
    """
    python = FOREIGN / name / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)]
    pip += ["--no-deps", "--require-hashes"] if with_hashes else []
    _install(FOREIGN / name, requirements, [[sys.executable, "-m", "venv", "."], pip])
    return python


def node_packages(source: Path, name: str) -> Path:
    """Return a folder .rehearsal/NAME with the node_modules of the package-lock.json in `source`.

    Raises:
        CannotRun: they cannot be installed, with npm's last words.
    """
    lock = source / "package-lock.json"
    npm = [str(beside_python("npm")), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    _install(FOREIGN / name, lock, [npm], copied=(source / "package.json", lock))
    return FOREIGN / name


def locked_version(source: Path, package: str) -> str:
    """Return the version of a package that the package-lock.json in `source` pins."""
    lock = json.loads((source / "package-lock.json").read_text(encoding="utf-8"))
    return str(lock["packages"][f"node_modules/{package}"]["version"])


def _install(folder: Path, pinned: Path, commands: Sequence[Sequence[str]], copied: Sequence[Path] = ()) -> None:
    """Runs the commands in the emptied folder, unless it was installed from the same list before."""
    digest, stamp = hashlib.sha256(pinned.read_bytes()).hexdigest(), folder / "installed-from"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in copied:
        shutil.copy(file, folder)
    try:
        for command in commands:
            run(command, {}, folder / "install.log", folder)
    except StepFailed as error:
        raise CannotRun(f"{pinned.name} could not be installed, which needs a network once: {error}") from None
    stamp.write_text(digest, encoding="utf-8")


def run(command: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path = PROJECT) -> str:
    """Run a program in a folder, its output in a log file, and return what it printed.

    Raises:
        StepFailed: it ended with an error, or not in time.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=PATIENCE_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise StepFailed(f"{log.stem} did not end within {PATIENCE_SECONDS} s; see {log}") from None
    printed = log.read_text(encoding="utf-8", errors="replace")
    if done.returncode:
        last = " | ".join(line for line in printed.strip().splitlines()[-8:] if line.strip())
        raise StepFailed(f"{log.stem} ended with code {done.returncode}: {last} (all of it: {log})")
    return printed
