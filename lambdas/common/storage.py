"""Small texts and JSON in the project's bucket."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from botocore.exceptions import ClientError

from common.aws import is_missing


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
        """Size in bytes, or None when there is no such object."""
        try:
            return int(self._s3.head_object(Bucket=self.bucket, Key=key)["ContentLength"])
        except ClientError as error:
            if is_missing(error):
                return None
            raise

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
        # A model can answer with half of a surrogate pair, which UTF-8 does not hold: it becomes a question mark.
        body = content.encode("utf-8", "replace") if isinstance(content, str) else content
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
        # Not splitlines(), which also cuts at characters that stand unescaped in JSON strings, such as U+2028.
        lines = (self.read(key) or b"").decode("utf-8").split("\n")
        return [json.loads(line) for line in lines if line.strip()]

    def write_lines(self, key: str, values: Iterable[dict[str, Any]]) -> None:
        """Writes a JSON Lines file."""
        text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
        self.write(key, text, "application/x-ndjson")
