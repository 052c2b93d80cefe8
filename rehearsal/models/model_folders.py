"""Folders of models: each is made once, by one process at a time, and is there whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path


def partial_of(cache: Path, name: str) -> Path:
    """The hidden folder in which a model is made."""
    return cache / f".{name}.partial"


def make_once(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The folder of a model below `cache`; if it is not there, `make` fills a hidden one, which is then moved there.

    What a killed process has left half made is removed first.
    """
    final, partial = cache / name, partial_of(cache, name)
    if final.is_dir():
        return final
    cache.mkdir(parents=True, exist_ok=True)
    lock = os.open(cache, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed, by a killed process too
        if not final.is_dir():  # another process may have made it meanwhile
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(lock)
    return final


def set_name(folder: Path, name: str) -> None:
    """Write into config.json the name that a report gives the model; the converter's own label goes."""
    path = folder / "config.json"
    configuration = json.loads(path.read_text(encoding="utf-8"))
    configuration.pop("_model_name_or_path", None)
    path.write_text(json.dumps({"_name_or_path": name, **configuration}, indent=2) + "\n", encoding="utf-8")
