"""SageMaker's agent, which keeps the checkpoint folder of every host and one folder in S3 alike.

While it copies a file it puts an empty `NAME.sagemaker-uploading` beside it, and `NAME.sagemaker-uploaded` when that is done:
training that lists its folder finds these, and finds them removed. What training deletes is deleted in S3. Here the marks come
all the time, the copies when the instance goes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rehearsal.sagemaker import s3_folders

_UPLOADING, _UPLOADED, _LEFT_ALONE = ".sagemaker-uploading", ".sagemaker-uploaded", ".sagemaker-ignore"
_PAUSE_SECONDS = 0.05  # between two looks


class CheckpointAgent:
    """Makes and removes the marks while it is used in a with-statement."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._seen: dict[Path, tuple[int, int]] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True, name="checkpoint agent")

    def __enter__(self) -> CheckpointAgent:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _play(self) -> None:
        while not self._end.wait(_PAUSE_SECONDS):
            self.look()

    def look(self) -> None:
        """Do one step with each file that is new or has changed: make the first mark, or replace it by the second."""
        for path in (path for folder in self._folders for path in files(folder)):
            with contextlib.suppress(OSError):  # training has deleted the file or its folder
                stamp = (path.stat().st_mtime_ns, path.stat().st_size)
                uploading, uploaded = Path(f"{path}{_UPLOADING}"), Path(f"{path}{_UPLOADED}")
                if self._seen.get(path) == stamp:
                    continue
                if uploading.exists():
                    uploading.unlink()
                    uploaded.touch()
                    self._seen[path] = stamp
                else:
                    uploaded.unlink(missing_ok=True)
                    uploading.touch()  # it stands until the next look


def files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that SageMaker copies."""
    with contextlib.suppress(OSError):
        for path in sorted(folder.rglob("*")):
            if not path.name.endswith((_UPLOADING, _UPLOADED, _LEFT_ALONE)) and path.is_file():
                yield path


def keep(s3: Any, folders: Sequence[Path], uri: str) -> None:
    """Make an S3 folder hold what the hosts' folders do, the first host's file where several have one name, and nothing else."""
    bucket, prefix = s3_folders.split(f"{uri.rstrip('/')}/")
    kept: set[str] = set()
    for folder in reversed(folders):
        for path in files(folder):
            key = f"{prefix}{path.relative_to(folder).as_posix()}"
            s3.upload_file(str(path), bucket, key)
            kept.add(key)
    for key in set(s3_folders.keys(s3, bucket, prefix)) - kept:
        s3.delete_object(Bucket=bucket, Key=key)
