"""`captune fetch RUN`: report, answers and adapter of a run in your account, into results/RUN/.

Each file is checked by the checksum that S3 keeps of it. A file that is being fetched has another name until it is whole and checked, so
that a second call goes on where the first was stopped.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import zlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Annotated, Any

import typer
from awscrt import checksums
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from captune import account
from captune.account import Refused, Region, output
from captune.kept_run import ADAPTER, NoAdapter, OtherRun, kept, local_path, name_of, not_found
from common.aws import error_code
from common.contracts import run_folder
from common.storage import Storage

_CHUNK_BYTES, SPARE_BYTES = 1 << 20, 1 << 26
_TRIES = 5  # for one file, where the connection breaks
# S3 keeps the first of every new object, whoever wrote it; older ones and copies may have another.
_CHECKSUMS = (("CRC64NVME", checksums.crc64nvme, 8), ("CRC32C", checksums.crc32c, 4), ("CRC32", zlib.crc32, 4))
Advance = Callable[[int], object]


class DiskFull(Refused):
    """What is to be fetched does not fit the disk."""


class DamagedCopy(Refused):
    """A fetched file is not what S3 says it is."""


def command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's name, as `captune ledger` shows it.")],
    results: Annotated[Path, typer.Option(metavar="FOLDER", help="Where runs are kept here.")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    region: Region = None,
) -> None:
    """Fetches a run of your account; a rehearsed run is in results/ already."""
    here = kept(run, results, whole_name=True)
    if here is not None and here.rehearsed:
        raise OtherRun(f"{here.folder} is a rehearsed run: all of it is there already, the adapter in {ADAPTER}/.")
    session = account.session(region)
    name = name_of(run)
    files, by_size = fetch(session.client("s3"), output(session, "BucketName"), name, results)
    if as_json:
        print(json.dumps({"run": name, "folder": str(results / name), "files": files, "by_size": by_size}))
        return
    print(f"{len(files)} files of {name} are in {results / name}, the adapter in {results / name / ADAPTER}.")
    if by_size:
        print(f"S3 keeps no checksum of these, so only their size was checked: {', '.join(by_size)}")


@dataclass(frozen=True)
class _Object:
    key: str
    etag: str
    size: int
    path: str  # in results/RUN/


def fetch(s3: Any, bucket: str, run: str, results: Path) -> tuple[list[str], list[str]]:
    """Fetches a run into a folder of its name; answers its files, and those of which S3 keeps no checksum.

    Raises RunNotFound, OtherRun, DiskFull, DamagedCopy, and NoAdapter once all else is there.
    """
    target, objects = results / run, wanted(s3, bucket, run)
    if not objects:
        raise not_found(run, runs_in(s3, bucket), f"in the bucket {bucket}")
    here = kept(str(target), results, whole_name=True)
    if here is not None and (here.name != run or here.plan.get("bucket") != bucket):
        raise OtherRun(f"{target} holds another run, {here.name}. Move it away, or name another folder with --results.")
    columns = (TextColumn("Fetching {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(run, total=sum(one.size for one in objects))
        by_size = copy(s3, bucket, objects, target, lambda size: progress.advance(task, size))
    if not any(one.path == f"{ADAPTER}/{run_folder.ADAPTER_CONFIGURATION}" for one in objects):
        raise NoAdapter(
            f"What there is of {run} is in {target}, but it has left no adapter: it was stopped or failed before training had saved one. Start it "
            "again, and fetch the new run."
        )
    return [one.path for one in objects], by_size


def runs_in(s3: Any, bucket: str) -> list[str]:
    """The names of the runs that have a folder in a bucket."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=run_folder.RUNS, Delimiter="/")
    return [one["Prefix"].split("/")[1] for page in pages for one in page.get("CommonPrefixes", [])]


def wanted(s3: Any, bucket: str, run: str) -> list[_Object]:
    """The objects of a run that are kept, those of the adapter last."""
    found = _listed(s3, bucket, run_folder.prefix(run))
    paths = [(entry, local_path(str(entry["Key"]).removeprefix(run_folder.prefix(run)))) for entry in found]
    source = _adapter_prefix(s3, bucket, run, found)
    adapter = [
        _object(entry, f"{ADAPTER}/{entry['Key'].removeprefix(source)}")
        for entry in (_listed(s3, bucket, source) if source else [])
    ]
    # The configuration is what makes a folder an adapter: it comes when everything else is there.
    adapter.sort(key=lambda one: one.path.endswith(run_folder.ADAPTER_CONFIGURATION))
    return [_object(entry, path) for entry, path in paths if path] + adapter


def copy(s3: Any, bucket: str, objects: list[_Object], target: Path, advance: Advance = lambda size: None) -> list[str]:
    """Copies objects into a folder, and answers which were checked by their size alone. Raises DiskFull and DamagedCopy."""
    needed = sum(one.size for one in objects) + SPARE_BYTES
    try:
        target.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(target).free) < needed:
            raise OSError(errno.ENOSPC, f"{needed:,} bytes are needed and {free:,} are free")
        return [one.path for one in objects if not _copy_one(s3, bucket, one, target / one.path, advance)]
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(
            f"The disk with {target} is full ({error}). Make room, or name another --results folder."
        ) from error


def keep(s3: Any, bucket: str, run: str, target: Path) -> None:
    """Copies what is kept of a run to a folder. Raises OSError where that cannot take it."""
    try:
        copy(s3, bucket, wanted(s3, bucket, run), target)
    except DiskFull as error:
        raise OSError(errno.ENOSPC, str(error)) from error


def _copy_one(s3: Any, bucket: str, one: _Object, final: Path, advance: Advance) -> bool:
    """Brings one object to its place; answers whether it was compared by more than its size."""
    if final.is_file() and _same(s3, bucket, one, final):
        advance(one.size)
        return True
    final.parent.mkdir(parents=True, exist_ok=True)
    part = final.with_name(f".{final.name}.{one.etag[:12]}.part")  # of this version of the object
    for left in reversed(range(_TRIES)):
        try:
            _append(s3, bucket, one, part, advance)
            break
        except (HTTPClientError, IncompleteReadError, ConnectionError):
            if not left:
                raise
    if (same := _same(s3, bucket, one, part)) is False:
        part.unlink()
        raise DamagedCopy(f"s3://{bucket}/{one.key} arrived damaged, and nothing was kept of it. Fetch again.")
    os.replace(part, final)
    return same is True


def _append(s3: Any, bucket: str, one: _Object, part: Path, advance: Advance) -> None:
    have = part.stat().st_size if part.is_file() else 0
    if 0 < have == one.size:
        return
    # A range cannot be asked of an empty object.
    rest = {"Range": f"bytes={have}-", "IfMatch": f'"{one.etag}"'} if one.size else {}
    try:
        body = s3.get_object(Bucket=bucket, Key=one.key, **rest)["Body"]
    except ClientError as error:
        if error_code(error) in ("PreconditionFailed", "412", "NoSuchKey"):
            raise DamagedCopy(f"s3://{bucket}/{one.key} was replaced or deleted meanwhile. Fetch again.") from error
        raise
    with open(part, "ab") as file:
        for chunk in body.iter_chunks(_CHUNK_BYTES):
            file.write(chunk)
            advance(len(chunk))
        file.flush()
        os.fsync(file.fileno())


def _same(s3: Any, bucket: str, one: _Object, file: Path) -> bool | None:
    """Whether a file is what S3's checksum or ETag says of the whole object; None where it keeps neither in a form that can be compared."""
    if file.stat().st_size != one.size:
        return False
    content = file.read_bytes()
    head = s3.head_object(Bucket=bucket, Key=one.key, ChecksumMode="ENABLED")
    count = int(one.etag.partition("-")[2] or 1)  # of the parts in which it was uploaded
    # Of an object in parts there may be a checksum of the parts' checksums, which says nothing of the whole.
    if count == 1 or head.get("ChecksumType") == "FULL_OBJECT":
        for name, sum_of, size in _CHECKSUMS:
            if told := head.get(f"Checksum{name}"):
                return b64encode(sum_of(content).to_bytes(size, "big")).decode() == str(told)
    if str(head.get("ServerSideEncryption", "")).startswith("aws:kms"):
        return None
    if count == 1:
        return md5(content, usedforsecurity=False).hexdigest() == one.etag
    digests, start = b"", 0
    for number in range(1, count + 1):
        end = start + int(s3.head_object(Bucket=bucket, Key=one.key, PartNumber=number)["ContentLength"])
        digests += md5(content[start:end], usedforsecurity=False).digest()
        start = end
    return f"{md5(digests, usedforsecurity=False).hexdigest()}-{count}" == one.etag


def _listed(s3: Any, bucket: str, prefix: str) -> list[dict[str, Any]]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry for page in pages for entry in page.get("Contents", []) if not entry["Key"].endswith("/")]


def _object(entry: dict[str, Any], path: str) -> _Object:
    if ".." in Path(path).parts:
        raise DamagedCopy(
            f"The key {entry['Key']} leaves its folder, so nothing was fetched. Delete it from the bucket."
        )
    return _Object(entry["Key"], str(entry["ETag"]).strip('"'), int(entry["Size"]), path)


def _adapter_prefix(s3: Any, bucket: str, run: str, found: list[dict[str, Any]]) -> str:
    """Where the run's adapter lies: what its last training job has saved whole, or the earlier run's that it served."""
    trial = run_folder.key(run, run_folder.TRIAL)
    saved = [
        (entry["LastModified"], str(entry["Key"])) for entry in found if entry["Key"].endswith(f"/{run_folder.METRICS}")
    ]
    whole = [
        (when, key.removesuffix(run_folder.METRICS))
        for when, key in saved
        if run_folder.ADAPTER_URI.match(f"s3://{bucket}/{key}") and not key.startswith(trial)
    ]
    if whole:
        return max(whole)[1]
    plan = Storage(s3, bucket).read_json(run_folder.key(run, run_folder.PLAN)) or {}
    served = str(plan.get("adapterUri") or "")
    earlier = run_folder.ADAPTER_URI.fullmatch(served)
    return f"{served.removeprefix(f's3://{bucket}/').rstrip('/')}/" if earlier and earlier[1] == bucket else ""
