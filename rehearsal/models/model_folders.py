"""Folders of models, made under a hidden name beside their place and moved there when they are whole."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_DAY = 24 * 60 * 60


@contextmanager
def in_the_making(cache: Path, name: str) -> Iterator[Path]:
    """A hidden folder below `cache` to make a model in, gone at the end. What a killed process leaves, `remove_abandoned` finds."""
    cache.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}-{os.getpid()}-", dir=cache))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(made: Path, final: Path, last: str) -> None:
    """Move a whole folder to its place. Where another process was quicker, its folder stays, for somebody may read it by now.

    Args:
        last: the file that is written last: a folder in that place without it is none.
    """
    try:
        os.rename(made, final)
    except OSError:
        if (final / last).is_file():  # what the other process made is the same
            return
        shutil.rmtree(final, ignore_errors=True)
        os.rename(made, final)


def remove_abandoned(cache: Path, name: str) -> None:
    """Remove what processes that were killed have left half made of a model."""
    for folder in cache.glob(f".{name}-*"):
        if _is_abandoned(folder, folder.name.removeprefix(f".{name}-")):
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path, ending: str) -> bool:
    made_by = re.match(r"(\d+)-", ending)
    if made_by:
        return not psutil.pid_exists(int(made_by[1]))
    try:  # by a version that did not name the process
        return time.time() - folder.stat().st_mtime > _DAY
    except OSError:  # its maker has just moved it away
        return False
