"""Folders of models, made under a hidden name beside their place and moved there when they are whole."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


@contextmanager
def in_the_making(cache: Path, name: str) -> Iterator[Path]:
    """A hidden folder below `cache` to make a model in, deleted at the end."""
    cache.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}-{os.getpid()}-", dir=cache))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(made: Path, final: Path, last: str) -> None:
    """Move a whole folder to its place. Where another process was quicker, its folder stays: it may be in use by now.

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
        made_by = re.match(r"(\d+)-", folder.name.removeprefix(f".{name}-"))
        if made_by and not psutil.pid_exists(int(made_by[1])):
            shutil.rmtree(folder, ignore_errors=True)
