"""`captune fetch RUN`: report, answers and adapter of a run in your account, into results/RUN/.

Each file is compared with the checksum that S3 keeps of it. A second call fetches what the first has not, or what has changed since.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import FlexibleChecksumError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from captune import account
from captune.account import Refused, output
from captune.flags import AsJson, Region, Results, RunName
from captune.kept_run import ADAPTER, kept, local_path, name_in, not_found, only_here
from common.contracts import run_folder
from common.storage import Storage

# In one request: the checksum is of the whole object. boto3 tries again where the connection breaks.
_WHOLE = TransferConfig(multipart_threshold=1 << 40, use_threads=False)
Advance = Callable[[int], object]


class DiskFull(Refused, OSError):
    """The run does not fit on the disk."""


def command(
    run: RunName,
    results: Results = Path("results"),
    as_json: AsJson = False,
    region: Region = None,
) -> None:
    """Fetches a run of your account; a rehearsed run is in results/ already."""
    here = kept(run, results, whole_name=True)
    if here is not None and here.rehearsed:
        raise Refused(f"{here.folder} is a rehearsed run: all of it is there already, the adapter in {ADAPTER}/.")
    with only_here(run, results):
        session = account.session(region)
        name = name_in(session, run)
        s3, bucket = session.client("s3"), output(session, "BucketName")
    files = fetch(s3, bucket, name, results)
    if as_json:
        print(json.dumps({"run": name, "folder": str(results / name), "files": files}))
        return
    print(f"{len(files)} files of {name} are in {results / name}, the adapter in {results / name / ADAPTER}.")


@dataclass(frozen=True)
class _Object:
    key: str
    modified: float
    size: int
    path: str  # in results/RUN/


def fetch(s3: Any, bucket: str, run: str, results: Path) -> list[str]:
    """Fetches a run into a folder of its name; answers its files. Raises Refused, of a run without an adapter once all else is there, and DiskFull."""
    target, objects = results / run, wanted(s3, bucket, run)
    if not objects:
        raise not_found(run, runs_in(s3, bucket), f"in the bucket {bucket}")
    here = kept(str(target), results, whole_name=True)
    if here is not None and (here.name != run or here.plan.get("bucket") != bucket):
        raise Refused(f"{target} holds another run, {here.name}. Move it away, or name another folder with --results.")
    with transfer(f"Fetching {run}", sum(one.size for one in objects)) as advance:
        copy(s3, bucket, objects, target, advance)
    if not any(one.path == f"{ADAPTER}/{run_folder.ADAPTER_CONFIGURATION}" for one in objects):
        raise Refused(
            f"The files of {run} are in {target}, but it has no adapter: it was stopped or failed before training saved one. Start it "
            "again, and fetch the new run."
        )
    return [one.path for one in objects]


@contextmanager
def transfer(text: str, total: int) -> Iterator[Advance]:
    """A progress bar over bytes, with the function that advances it."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(text, total=total)
        yield lambda size: progress.advance(task, size)


def runs_in(s3: Any, bucket: str) -> list[str]:
    """The names of the runs that have a folder in a bucket."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=run_folder.RUNS, Delimiter="/")
    return [one["Prefix"].split("/")[1] for page in pages for one in page.get("CommonPrefixes", [])]


def stored_plan(s3: Any, bucket: str, run: str) -> dict[str, Any]:
    """The plan of a run in the bucket. Raises Refused."""
    plan: dict[str, Any] | None = Storage(s3, bucket).read_json(run_folder.key(run, run_folder.PLAN))
    if plan is None:
        raise not_found(run, runs_in(s3, bucket), f"in the bucket {bucket}")
    return plan


def wanted(s3: Any, bucket: str, run: str) -> list[_Object]:
    """The objects of a run that are kept, those of the adapter last."""
    found = listed(s3, bucket, run_folder.prefix(run))
    paths = [(entry, local_path(str(entry["Key"]).removeprefix(run_folder.prefix(run)))) for entry in found]
    storage = Storage(s3, bucket)
    plan = storage.read_json(run_folder.key(run, run_folder.PLAN)) or {}
    source = storage.key_of(plan.get("adapterUri") or run_folder.adapter_uri(bucket, run, run))
    saved = {str(entry["Key"]).removeprefix(source): entry for entry in listed(s3, bucket, source)}
    whole = saved if run_folder.METRICS in saved else {}  # the last file that training writes
    adapter = [_object(entry, f"{ADAPTER}/{name}") for name, entry in whole.items()]
    curves = f"{source.removesuffix('/').removesuffix('/model')}/data/{run_folder.CURVES}/"
    adapter += [_object(one, f"{run_folder.CURVES}/{Path(one['Key']).name}") for one in listed(s3, bucket, curves)]
    # The configuration is what makes a folder an adapter: it comes when everything else is there.
    adapter.sort(key=lambda one: one.path.endswith(run_folder.ADAPTER_CONFIGURATION))
    return [_object(entry, path) for entry, path in paths if path] + adapter


def copy(s3: Any, bucket: str, objects: list[_Object], target: Path, advance: Advance = lambda size: None) -> None:
    """Copies objects into a folder. Raises DiskFull and Refused."""
    needed = sum(one.size for one in objects) + run_folder.SPARE_BYTES
    try:
        target.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(target).free) < needed:
            raise OSError(errno.ENOSPC, f"{needed:,} bytes are needed and {free:,} are free")
        for one in objects:
            _copy_one(s3, bucket, one, target / one.path, advance)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        full = f"The disk with {target} is full ({error}). Make room, or name another --results folder."
        raise DiskFull(full) from error


def keep(s3: Any, bucket: str, run: str, target: Path) -> None:
    """Copies what is kept of a run to a folder. Raises OSError where that cannot take it."""
    copy(s3, bucket, wanted(s3, bucket, run), target)


def _copy_one(s3: Any, bucket: str, one: _Object, final: Path, advance: Advance) -> None:
    if final.is_file() and (final.stat().st_size, final.stat().st_mtime) == (one.size, one.modified):
        advance(one.size)  # an earlier call fetched it
        return
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        # It gets its name when it is whole, and botocore compares it with the checksum that S3 keeps.
        s3.download_file(bucket, one.key, str(final), Callback=advance, Config=_WHOLE)
    except FlexibleChecksumError as error:
        raise Refused(f"s3://{bucket}/{one.key} arrived damaged ({error}). Fetch again.") from error
    os.utime(final, (one.modified, one.modified))


def listed(s3: Any, bucket: str, prefix: str) -> list[dict[str, Any]]:
    """The objects below a prefix, without those that stand for folders."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry for page in pages for entry in page.get("Contents", []) if not entry["Key"].endswith("/")]


def _object(entry: dict[str, Any], path: str) -> _Object:
    if ".." in Path(path).parts:
        raise Refused(f"The key {entry['Key']} leaves its folder, so nothing was fetched. Delete it from the bucket.")
    return _Object(entry["Key"], entry["LastModified"].timestamp(), int(entry["Size"]), path)
