"""SageMaker's agent, which keeps the checkpoint folder of every host and one folder in S3 alike.

While it copies a file it puts an empty `NAME.sagemaker-uploading` beside it, and `NAME.sagemaker-uploaded` when that is done; training that
lists its folder finds these, and finds them gone. What training deletes is deleted in S3. The marks come all the time here, the copies when
the instance goes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rehearsal.sagemaker import s3_folders

UPLOADING, UPLOADED, LEFT_ALONE = ".sagemaker-uploading", ".sagemaker-uploaded", ".sagemaker-ignore"
PAUSE_SECONDS = 0.05  # between two looks


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
        while not self._end.wait(PAUSE_SECONDS):
            self.look()

    def look(self) -> None:
        """One step with each file that is new or has changed: the first mark, or the second in its place."""
        for folder in self._folders:
            for path in files(folder):
                with contextlib.suppress(OSError):  # training has taken the file or its folder away
                    self._mark(path)

    def _mark(self, path: Path) -> None:
        stamp = (path.stat().st_mtime_ns, path.stat().st_size)
        if self._seen.get(path) == stamp:
            return
        uploading = Path(f"{path}{UPLOADING}")
        if not uploading.exists():
            Path(f"{path}{UPLOADED}").unlink(missing_ok=True)
            uploading.touch()  # it stands until the next look
            return
        uploading.unlink()
        Path(f"{path}{UPLOADED}").touch()
        self._seen[path] = stamp


def files(folder: Path) -> Iterator[Path]:
    """The files of a folder that SageMaker copies."""
    with contextlib.suppress(OSError):
        for path in sorted(folder.rglob("*")):
            if not path.name.endswith((UPLOADING, UPLOADED, LEFT_ALONE)) and path.is_file():
                yield path


def keep(s3: Any, folders: Sequence[Path], uri: str) -> None:
    """Make an S3 folder hold what the hosts' folders do, the first host's where several have one name, and nothing else."""
    bucket, prefix = s3_folders.split(f"{uri.rstrip('/')}/")
    kept: set[str] = set()
    for folder in reversed(folders):
        for path in files(folder):
            key = f"{prefix}{path.relative_to(folder).as_posix()}"
            s3.upload_file(str(path), bucket, key)
            kept.add(key)
    for key in list(s3_folders.keys(s3, bucket, prefix)):
        if key not in kept:
            s3.delete_object(Bucket=bucket, Key=key)
