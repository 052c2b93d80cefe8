"""Folders from S3 and back, and JumpStart's weights, which are linked and never copied."""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

_FAILED = "ClientError: Data download failed:"
_JUMPSTART_BUCKET = re.compile(r"jumpstart-(private-)?cache-prod-[a-z0-9-]+")


class DownloadFailed(Exception):
    """An input cannot be brought to the container; the message is SageMaker's FailureReason."""


def is_jumpstart(uri: str) -> bool:
    """Whether an S3 URI lies in one of JumpStart's buckets, whose weights the rehearsal's own model plays."""
    return _JUMPSTART_BUCKET.fullmatch(urlsplit(uri).netloc) is not None


def split(uri: str) -> tuple[str, str]:
    """Return (bucket, key or prefix) of an s3:// URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def keys(s3: Any, bucket: str, prefix: str) -> Iterator[str]:
    """Yield the keys under a prefix, without those that stand for folders."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            if not item["Key"].endswith("/"):
                yield item["Key"]


def _relative(key: str, prefix: str) -> PurePosixPath:
    under = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    if not key.startswith(under):  # the prefix is an object's whole key, or the first letters of several
        under = prefix[: prefix.rfind("/") + 1]
    path = PurePosixPath(key[len(under) :])
    if path.is_absolute() or ".." in path.parts:
        raise DownloadFailed(f"{_FAILED} the key {key} leaves its folder.")
    return path


def fetch(s3: Any, uri: str, folder: Path, gated_weights: Path | None) -> None:
    """Bring the objects under an S3 URI into a folder. Raises DownloadFailed where there are none, or they cannot be read or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        bucket, prefix = split(uri)
        if is_jumpstart(uri):
            # One of the few names that stand for JumpStart's files is read: a role without the right is refused there too.
            with suppress(s3.exceptions.NoSuchBucket):  # a stand-in by itself, without an account around it
                for key in islice(keys(s3, bucket, prefix), 1):
                    s3.head_object(Bucket=bucket, Key=key)
            _link(gated_weights, folder)
            return
        found = list(keys(s3, bucket, prefix))
        for key in found:
            target = folder / _relative(key, prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(bucket, key, str(target))
    except (OSError, s3.exceptions.ClientError) as error:
        raise DownloadFailed(f"{_FAILED} {error}") from error
    if not found:
        raise DownloadFailed(f'{_FAILED} No S3 objects found under S3 URL "{uri}" given in input data source.')


def _link(weights: Path | None, folder: Path) -> None:
    if weights is None or not weights.is_dir():
        raise DownloadFailed(f"{_FAILED} the rehearsal has no weights folder ({weights}).")
    for file in weights.rglob("*"):
        if file.is_file():
            link = folder / file.relative_to(weights)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())


def store(s3: Any, folder: Path, uri: str) -> int:
    """Upload every file of a folder under an S3 URI and return their number."""
    bucket, prefix = split(uri)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    for file in files:
        s3.upload_file(str(file), bucket, f"{prefix.rstrip('/')}/{file.relative_to(folder).as_posix()}")
    return len(files)
