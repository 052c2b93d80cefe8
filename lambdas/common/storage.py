"""Small texts and JSON in the project's bucket."""

from __future__ import annotations

import io
import json
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from common.aws import error_code, is_missing
from common.text.utf8 import encoded

# A piece takes a tenth of a second from S3. No more than so many of a large object are held.
PIECE_BYTES, PIECES_AHEAD = 8 * 2**20, 2
# Of a request whose condition does not hold (any longer), and of one for a part that an object does not have.
_CHANGED = {"PreconditionFailed", "412", "InvalidRange", "416"}


class ObjectChanged(Exception):
    """An object was replaced or removed while it was read."""


@dataclass(frozen=True)
class Head:
    """What is known of an object without reading it: its size in bytes, and what tells one content of it from another (S3's ETag)."""

    size: int
    version: str


class Storage:
    """The project's bucket, as far as the Lambdas use it."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self.bucket = bucket

    def uri(self, key: str) -> str:
        """The s3:// address of a key."""
        return f"s3://{self.bucket}/{key}"

    def key_of(self, uri: str) -> str:
        """The key behind an s3:// address of this bucket. Raises ValueError for another bucket."""
        prefix = f"s3://{self.bucket}/"
        if not uri.startswith(prefix):
            raise ValueError(f"{uri} is not in the bucket {self.bucket}")
        return uri[len(prefix) :]

    def head(self, key: str) -> Head | None:
        """Size and version of an object, or None when there is no such object."""
        try:
            answer = self._s3.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if is_missing(error):
                return None
            raise
        return Head(int(answer["ContentLength"]), str(answer["ETag"]))

    def pieces(self, key: str, version: str, size: int) -> Generator[bytes, None, None]:
        """One content of an object, piece by piece; the next ones come while one is worked on. Raises ObjectChanged where there is another by now.

        Whoever does not read to the end has to close it.
        """
        places = deque(range(0, size, PIECE_BYTES))
        with ThreadPoolExecutor(PIECES_AHEAD) as pool:
            coming: deque[Future[bytes]] = deque()
            while places or coming:
                while places and len(coming) < PIECES_AHEAD:
                    start = places.popleft()
                    coming.append(pool.submit(self._piece, key, version, start, min(start + PIECE_BYTES, size) - 1))
                yield coming.popleft().result()

    def _piece(self, key: str, version: str, first: int, last: int) -> bytes:
        try:
            answer = self._s3.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={first}-{last}", IfMatch=version)
            content: bytes = answer["Body"].read()
        except ClientError as error:
            if is_missing(error) or error_code(error) in _CHANGED:
                raise ObjectChanged(self.uri(key)) from error
            raise
        return content

    def read(self, key: str) -> bytes | None:
        """The object's bytes, or None when there is no such object."""
        try:
            content: bytes = self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
            return content
        except ClientError as error:
            if is_missing(error):
                return None
            raise

    def write(self, key: str, content: str | bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        """Writes an object, replacing what was there."""
        body = encoded(content) if isinstance(content, str) else content
        self._s3.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)

    def read_json(self, key: str) -> Any | None:
        """The object parsed as JSON, or None when there is no such object."""
        content = self.read(key)
        return None if content is None else json.loads(content)

    def write_json(self, key: str, value: Any) -> None:
        """Writes a value as JSON that a person can read."""
        self.write(key, json.dumps(value, indent=2, ensure_ascii=False), "application/json")

    def read_lines(self, key: str) -> list[dict[str, Any]]:
        """The objects of a JSON Lines file; empty when there is no such object."""
        # By bytes, which end a line at its feed only, and one line at a time: str.splitlines() also cuts at characters that stand
        # unescaped in JSON strings, such as U+2028, and ten thousand prompts' answers as one text would take up to four times their size.
        return [json.loads(line) for line in io.BytesIO(self.read(key) or b"") if line.strip()]

    def write_lines(self, key: str, values: Iterable[dict[str, Any]]) -> None:
        """Writes a JSON Lines file."""
        lines = io.BytesIO()
        for value in values:
            lines.write(encoded(json.dumps(value, ensure_ascii=False) + "\n"))
        self.write(key, lines.getvalue(), "application/x-ndjson")
