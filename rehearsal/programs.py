"""Third-party programs: each is installed once into its own folder under .rehearsal/, from a list with hashes, and run."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
FOREIGN = PROJECT / ".rehearsal"
PATIENCE_SECONDS = 1800  # PyTorch's libraries for graphics cards are 3 GB


_COMMAND = re.compile(r"(?<![\w./-])captune(?= (--help|[a-z][a-z-]+|COMMAND)\b)")


def as_typed(text: str) -> str:
    """A message in which each `captune COMMAND` is written as you can type it here: seldom is `captune` on the PATH."""
    return _COMMAND.sub(lambda _: _captune(), text)


@cache
def _captune() -> str:
    own = Path(sys.executable).with_name("captune")
    # make puts the environment on the PATH of its commands, and your shell does not have it there.
    on_path = "MAKELEVEL" not in os.environ and shutil.which("captune")
    if not own.is_file() or (on_path and os.path.samefile(on_path, own)):
        return "captune"
    return os.path.relpath(own) if own.is_relative_to(Path.cwd()) else str(own)


class CannotRun(RuntimeError):
    """A program needs something that this machine lacks; the message names it and the fix."""


class StepFailed(RuntimeError):
    """A program ended with an error or something did not happen in its time; the message says what, and names the log."""


def beside_python(program: str) -> Path:
    """A program of the environment that this process runs in, for example node. Raises CannotRun where it is not there."""
    path = Path(sys.executable).parent / program
    if not path.exists():
        raise CannotRun(f"{program} is not installed next to {sys.executable}. Run make setup.")
    return path


def python_packages(name: str | Path, *lists: Path, first: str = "", with_hashes: bool = True) -> Path:
    """The Python of a virtual environment .rehearsal/NAME with the packages of requirements files, after one that is not in them.

    Files with hashes name every package; of those without them, pip adds what they need. Raises CannotRun with pip's last words.
    """
    python = FOREIGN / name / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    listed = [word for file in lists for word in ("-r", str(file))]
    commands = [[sys.executable, "-m", "venv", "."], *([[*pip, first]] if first else [])]
    commands += [[*pip, *(["--no-deps", "--require-hashes"] if with_hashes else []), *listed]]
    _install(FOREIGN / name, lists, commands)
    return python


def node_packages(source: Path, name: str) -> Path:
    """A folder .rehearsal/NAME with the node_modules of the package-lock.json in `source`. Raises CannotRun with npm's last words."""
    lock = source / "package-lock.json"
    npm = [str(beside_python("npm")), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    _install(FOREIGN / name, (lock,), [npm], copied=(source / "package.json", lock))
    return FOREIGN / name


def is_installed(folder: Path, pinned: Sequence[Path]) -> bool:
    """Whether a folder holds the packages of these lists."""
    stamp = folder / "installed-from"
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _digest(pinned)


def locked_version(source: Path, package: str) -> str:
    """Return the version of a package that the package-lock.json in `source` pins."""
    lock = json.loads((source / "package-lock.json").read_text(encoding="utf-8"))
    return str(lock["packages"][f"node_modules/{package}"]["version"])


def _digest(pinned: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in pinned)).hexdigest()


def _install(
    folder: Path, pinned: Sequence[Path], commands: Sequence[Sequence[str]], copied: Sequence[Path] = ()
) -> None:
    """Runs the commands in the emptied folder, unless it was installed from the same lists before."""
    if is_installed(folder, pinned):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in copied:
        shutil.copy(file, folder)
    try:
        for command in commands:
            run(command, {}, folder / "install.log", folder)
    except StepFailed as error:
        raise CannotRun(f"{pinned[-1].name} could not be installed: {error}. Check the network, try again.") from None
    (folder / "installed-from").write_text(_digest(pinned), encoding="utf-8")


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    folder: Path = PROJECT,
    accepted: Collection[int] = (0,),
) -> str:
    """What a program printed that ran in a folder, its output in a log file.

    Raises StepFailed if its exit code is not accepted, or if it did not end in time.
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
            raise StepFailed(f"{log.stem} did not end within {PATIENCE_SECONDS} s. Read its log: {log}") from None
    printed = log.read_text(encoding="utf-8", errors="replace")
    if done.returncode not in accepted:
        last = " | ".join(line for line in printed.strip().splitlines()[-8:] if line.strip())
        raise StepFailed(f"{log.stem} ended with code {done.returncode}: {last} (full log: {log})")
    return printed
