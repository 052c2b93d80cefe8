"""A folder in place of S3, so that what is read and written stays in no process's memory."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


class Folder:
    """What `Storage` calls of S3, over files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        """An object's size and version."""
        return {"ContentLength": (self._folder / Key).stat().st_size, "ETag": "one"}

    def get_object(self, *, Bucket: str, Key: str, Range: str = "", IfMatch: str = "") -> dict[str, Any]:
        """An object, or a part of one."""
        with (self._folder / Key).open("rb") as file:
            if not Range:
                return {"Body": io.BytesIO(file.read())}
            first, last = map(int, Range.removeprefix("bytes=").split("-"))
            file.seek(first)
            return {"Body": io.BytesIO(file.read(last + 1 - first))}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> None:
        """Writes an object."""
        path = self._folder / Key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Body)
