"""Opens the files that you name on the command line. A path that is no readable file of a fair size is rejected before anything is read."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import DatasetRejected
from preflight.texts import forms, text_file

_OTHER_KINDS = (
    (stat.S_ISFIFO, "a pipe", "Write its content to a file first: cat PIPE > mine.txt"),
    (stat.S_ISCHR, "a device", "Name a file."),
    (stat.S_ISBLK, "a device", "Name a file."),
    (stat.S_ISSOCK, "a socket", "Name a file."),
)


def checked_size(path: Path) -> int:
    """The size of a regular file that you may read. Raises DatasetRejected, without opening anything else."""
    try:
        found = path.stat()
    except OSError as error:
        raise DatasetRejected(_why(path, error)) from None
    if stat.S_ISDIR(found.st_mode):
        raise DatasetRejected(
            f"{path} is a folder. Name a file in it, or join its texts first: cat {path}/*.txt > mine.txt"
        )
    for is_kind, kind, fix in _OTHER_KINDS:
        if is_kind(found.st_mode):
            raise DatasetRejected(f"{path} is {kind}, not a file. {fix}")
    if not os.access(path, os.R_OK):
        raise DatasetRejected(_why(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES))))
    return found.st_size


def read(path: Path, most_bytes: int) -> bytes:
    """The content of a file, of Parquet as JSON Lines. Raises DatasetRejected, also for one of more than `most_bytes`."""
    text_file.refuse_too_large(str(path), checked_size(path), most_bytes)
    if is_parquet(path):
        content = bytearray()
        for line in parquet_lines(path):
            content += line
            text_file.refuse_too_large(f"{path}, written as JSON Lines,", len(content), most_bytes)
        return bytes(content)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetRejected(_why(path, error)) from None


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, by its name."""
    return path.suffix.lower() == forms.PARQUET


def parquet_lines(path: Path) -> Iterator[bytes]:
    """The rows of a Parquet file as JSON Lines. Raises DatasetRejected."""
    try:
        from pyarrow import ArrowException, parquet
    except ModuleNotFoundError:
        raise DatasetRejected(f"{path} is Parquet, and pyarrow is not installed. Run make setup.") from None
    try:
        for batch in parquet.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                yield json.dumps(row, ensure_ascii=False, default=_shown).encode() + b"\n"
    except (ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DatasetRejected(
            f"{path} is not valid Parquet ({reason}). Copy or download it again, or convert its rows to .jsonl."
        ) from None


def _shown(value: Any) -> str | None:
    """What JSON has no form for: dates as text, and nothing of pictures or sounds."""
    return None if isinstance(value, bytes) else str(value)


def _why(path: Path, error: OSError) -> str:
    """Why a file cannot be opened, and what to do."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"There is no file {path}. Correct its path: ls {path.parent}"
    if error.errno == errno.ELOOP:
        return f"{path} is a symbolic link to itself. Name the file instead: ls -l {path}"
    if error.errno == errno.EACCES:
        return f"You have no permission to read {path}. Add it: chmod u+r {path}"
    return f"{path} cannot be read ({error.strerror}). Name another file: ls {path.parent}"
