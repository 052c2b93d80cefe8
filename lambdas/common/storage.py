"""Small texts and JSON in the project's bucket."""

import io
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from common.aws import or_none
from common.text import encoded


@dataclass(frozen=True)
class Fetched:
    """One version of an object: its size in bytes, S3's id of it, and its content, which is empty where it is larger than was asked for."""

    size: int
    version: str
    content: bytes


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

    def size(self, key: str) -> int | None:
        """The size of an object in bytes, or None when there is no such object."""
        found = or_none(self._s3.head_object, Bucket=self.bucket, Key=key)
        return None if found is None else int(found["ContentLength"])

    def fetch(self, key: str, most_bytes: int, version: str = "") -> Fetched | None:
        """An object, in this version where one is named, or None when there is no such object. More than `most_bytes` is not read."""
        wanted = {"VersionId": version} if version else {}
        answer = or_none(self._s3.get_object, Bucket=self.bucket, Key=key, **wanted)
        if answer is None:
            return None
        size = int(answer["ContentLength"])
        content: bytes = answer["Body"].read() if size <= most_bytes else b""
        return Fetched(size, str(answer.get("VersionId", "")), content)

    def read(self, key: str) -> bytes | None:
        """The object's bytes, or None when there is no such object."""
        found = self.fetch(key, sys.maxsize)
        return found.content if found else None

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
