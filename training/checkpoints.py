"""Checkpoints that are either whole or ignored: written aside, renamed into place, checked before use."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialize

from progress import say

KEPT = 2  # the newest may turn out damaged, so the one before it stays
PARTIAL = ".partial-"


@dataclasses.dataclass
class Checkpoint:
    """What is needed to go on as if nothing had happened."""

    adapter: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    random_states: dict[str, torch.Tensor]
    state: dict[str, Any]  # plain JSON: step, loss curve, tokens seen, base evaluation


def fingerprint(*parts: object) -> str:
    """A short hash of everything that must be the same for a checkpoint to be of use."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def save(folder: Path, checkpoint: Checkpoint, identity: str) -> Path:
    """Writes step-NNNNNN below `folder` and removes all but the newest two.

    The files go into a folder whose name marks it as partial; the rename makes it a checkpoint. Raises OSError for a full
    disk, after removing what was written.
    """
    name = f"step-{checkpoint.state['step']:06d}"
    partial, final = folder / f"{PARTIAL}{name}", folder / name
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        # By way of memory: written straight to a full disk, torch reports an obscure RuntimeError instead of the reason.
        memory = io.BytesIO()
        torch.save({"optimizer": checkpoint.optimizer, "random": checkpoint.random_states}, memory)
        (partial / "optimizer.pt").write_bytes(memory.getbuffer())
        (partial / "adapter.safetensors").write_bytes(serialize(checkpoint.adapter))
        hashes = {path.name: _hash(path) for path in sorted(partial.iterdir())}
        manifest = {"identity": identity, "files": hashes, "state": checkpoint.state}
        (partial / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        for path in partial.iterdir():
            _flush(path)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    for old in _steps(folder)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def newest(folder: Path, identity: str) -> Checkpoint | None:
    """The newest checkpoint that is whole and of this run's settings, corpus and model; None where there is none.

    A damaged one (a download that was cut off, a disk that was full) is passed over with a note.
    """
    for leftover in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for place in _steps(folder):
        try:
            manifest = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
            if manifest["identity"] != identity:
                say("note", text=f"{place.name} belongs to other settings, corpus or model and is not used")
                continue
            if any(_hash(place / name) != expected for name, expected in manifest["files"].items()):
                raise ValueError("a file has changed")
            rest = torch.load(place / "optimizer.pt", map_location="cpu", weights_only=True)
            adapter = load_file(place / "adapter.safetensors")
            return Checkpoint(adapter, rest["optimizer"], rest["random"], manifest["state"])
        except Exception as error:  # whatever is wrong with it, the one before it may be whole
            say("note", text=f"{place.name} is damaged ({type(error).__name__}: {error}) and is not used")
    return None


def _steps(folder: Path) -> list[Path]:
    """The checkpoints' folders, newest first."""
    return sorted((path for path in folder.glob("step-*") if path.is_dir()), reverse=True)


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Onto the disk before the rename: otherwise a power cut could leave the name without the content."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
