"""Opens the files that you name on the command line. A path that is no readable file of a fair size is rejected before anything is read."""

import errno
import os
import stat
from pathlib import Path

from common.errors import DatasetRejected
from preflight.texts import text_file

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
            raise DatasetRejected(f"{path} is {kind}, and not a file. {fix}")
    if not os.access(path, os.R_OK):
        raise DatasetRejected(_why(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES))))
    return found.st_size


def read(path: Path, most_bytes: int) -> bytes:
    """The content of a file. Raises DatasetRejected, also for one of more than `most_bytes`."""
    text_file.refuse_too_large(str(path), checked_size(path), most_bytes)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetRejected(_why(path, error)) from None


def _why(path: Path, error: OSError) -> str:
    """Why a file cannot be opened, and what to do."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"There is no file {path}. Correct its path: ls {path.parent}"
    if error.errno == errno.ELOOP:
        return f"{path} is a symbolic link that leads back to itself. Name the file itself: ls -l {path}"
    if error.errno == errno.EACCES:
        return f"You have no permission to read {path}. Give it to yourself: chmod u+r {path}"
    return f"{path} cannot be read ({error.strerror}). Name another file: ls {path.parent}"
