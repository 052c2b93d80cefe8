"""llama.cpp's own converters to GGUF, from the source package of llama-cpp-python: fetched by hash when they are first needed."""

import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from captune.account import PROJECT, Refused
from rehearsal.models.weights import make_once

CACHE = PROJECT / ".rehearsal"
TOOLS, SOURCE = (PROJECT / "requirements" / name for name in ("converters.txt", "converters-source.txt"))
ADAPTER, MODEL = "convert_lora_to_gguf.py", "convert_hf_to_gguf.py"
_INSIDE = "vendor/llama.cpp/"  # of the package
_NEEDED = (ADAPTER, MODEL, "conversion/", "gguf-py/gguf/", "LICENSE")
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def ensure_converters(cache: Path = CACHE) -> Path:
    """The folder with the converters; made if it is not there. Raises Refused."""
    pinned = hashlib.sha256(TOOLS.read_bytes() + SOURCE.read_bytes()).hexdigest()
    return make_once(cache, f"converters-{pinned[:12]}", _make)


def convert(script: str, source: Path, target: Path, *options: str) -> None:
    """Writes the GGUF file of an adapter or a model. Raises Refused."""
    folder = ensure_converters()
    command = [sys.executable, str(folder / script), str(source), "--outfile", str(target), *options]
    last = _run(command, folder / "tools", f"llama.cpp's {script} could not convert {source}")
    if not target.is_file():
        raise Refused(f"llama.cpp's {script} wrote nothing: {last}")


def _make(folder: Path) -> None:
    print("Fetching llama.cpp's converters: 77 MB and their tools, once.", file=sys.stderr, flush=True)
    what, tools = "llama.cpp's converters could not be fetched, which needs a network once", folder / "tools"
    strict = ["--no-deps", "--require-hashes"]
    _run([*_PIP, "install", *strict, "--only-binary", ":all:", "--target", str(tools), "-r", str(TOOLS)], tools, what)
    download = [*_PIP, "download", *strict, "--no-binary", ":all:", "--no-build-isolation", "--dest", str(folder)]
    _run([*download, "-r", str(SOURCE)], tools, what)
    package = next(folder.glob("*.tar.gz"))
    with tarfile.open(package) as source:
        for member in source.getmembers():
            member.name = member.name.partition("/")[2].removeprefix(_INSIDE)
            if member.name.startswith(_NEEDED):
                source.extract(member, folder, filter="data")
    package.unlink()


def _run(command: list[str], tools: Path, what: str) -> str:
    """The last line that a program prints. Raises Refused with it."""
    # What a converter would look up on the Hub is in its folder, or is not needed.
    environment = {**os.environ, "PYTHONPATH": str(tools), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()] or ["it said nothing"]
    if done.returncode:
        raise Refused(f"{what}: {said[-1]}")
    return said[-1]
