"""The trainer's checkpoints, made safe: one that is not whole, or of another run, is never used."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from progress import say

KEPT = 2  # the newest may turn out damaged, so the one before it stays
MANIFEST = "manifest.json"


def fingerprint(*parts: object) -> str:
    """A short hash of everything that must be the same for a checkpoint to be of use."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def seal(place: Path, state: dict[str, Any], identity: str) -> None:
    """Adds the manifest without which a checkpoint counts as half written: whose it is, its files' hashes, and `state`.

    Raises OSError for a full disk.
    """
    (place / MANIFEST).unlink(missing_ok=True)  # of an earlier run that got as far
    files = sorted(path for path in place.iterdir() if path.is_file())
    for path in files:
        _flush(path)
    manifest = {"identity": identity, "files": {path.name: _hash(path) for path in files}, "state": state}
    partial = place / f".{MANIFEST}"
    partial.write_text(json.dumps(manifest), encoding="utf-8")
    _flush(partial)
    os.replace(partial, place / MANIFEST)


def newest(folder: Path, identity: str) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that is whole and of this run's settings, corpus and model, with its state; None where there is none.

    A half-written one is removed; a damaged one (a download that was cut off, a disk that was full) is passed over with a note.
    """
    for place in sorted(folder.glob("checkpoint-*"), key=_step, reverse=True):
        if not (place / MANIFEST).is_file():
            shutil.rmtree(place, ignore_errors=True)
            continue
        try:
            manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
            if manifest["identity"] != identity:
                say("note", text=f"{place.name} belongs to other settings, corpus or model and is not used")
                continue
            if any(_hash(place / name) != expected for name, expected in manifest["files"].items()):
                raise ValueError("a file has changed")
            return place, dict(manifest["state"])
        except Exception as error:  # whatever is wrong with it, the one before it may be whole
            say("note", text=f"{place.name} is damaged ({type(error).__name__}: {error}) and is not used")
    return None


def _step(place: Path) -> int:
    number = place.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Onto the disk before the rename: otherwise a power cut could leave the name without the content."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
