"""`captune copy-weights`: the base model's files, from JumpStart's hub into the project's bucket, if SageMaker rejects the gated ones.

The hub gives an address for each file that is valid for 15 minutes. The bytes pass through this machine's memory, a few parts at a time,
and never its disk. A second call copies only what is missing or has another size.
"""

import io
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import typer
from botocore.exceptions import ClientError

from captune import account
from captune.account import Refused, output
from captune.fetch import listed, transfer
from captune.flags import Region, Yes
from common.aws import error_code, error_message
from common.pricing.costs import S3_GB_MONTH
from preflight.account.weights import hub_content, hub_files, model_folder
from stacks.configuration import catalog, cdk_json
from stacks.configuration.settings import Settings

# What training and the endpoint read, and the licence. The same weights in another form would be downloaded in paid time.
_SUFFIXES = (".safetensors", ".json", ".model", ".jinja", ".txt", ".md", "")
_DENIED = ("AccessDenied", "AccessDeniedException", "403")
_AGAIN = "Then run captune copy-weights again: it continues with the files that are not copied yet."
_SECONDS = 60  # for an address to answer
_WAITS = (1.0, 5.0, 20.0, 60.0)  # seconds after each broken connection in a row


def command(yes: Yes = False, region: Region = None) -> None:
    """Names the price, asks, copies the model and sets weights_uri."""
    session, settings = account.session(region), account.settings(account.given_settings(None, region))
    hub, bucket, s3 = Hub(session.client("sagemaker"), settings), output(session, "BucketName"), session.client("s3")
    prefix = f"weights/{settings.model.id}/"
    uri = f"s3://{bucket}/{prefix}"
    if settings.weights_uri not in ("", uri):
        raise Refused(
            f'weights_uri names {settings.weights_uri}. To copy JumpStart\'s weights, set it to "" in cdk.json.'
        )
    sizes = hub.sizes()
    missing, total = _missing(s3, bucket, prefix, sizes), sum(sizes.values())
    print(
        f"{settings.model.name}: {len(sizes)} files, {total / 1e9:.1f} GB. At {uri} they cost about ${S3_GB_MONTH * total / 10**9:.2f} a month "
        f"(${S3_GB_MONTH} a GB in us-east-1), until you delete them."
    )
    if missing:
        amount = sum(missing.values())
        question = f"{amount / 1e9:.1f} GB pass through this machine; AWS CloudShell is fastest. Copy them?"
        if not yes and not typer.confirm(question):
            raise Refused("Nothing was copied.")
        with transfer(f"Copying {settings.model.name}", amount) as advance:
            for name in sorted(missing, key=lambda name: missing[name]):  # a missing permission shows with the smallest
                with _allowed("s3:PutObject", f"{uri}{name}"):
                    stream = io.BufferedReader(Download(hub, name, sizes[name]))
                    s3.upload_fileobj(stream, bucket, prefix + name, Callback=advance)
        if left := _missing(s3, bucket, prefix, sizes):
            raise Refused(f"{', '.join(left)} did not arrive whole at {uri}. {_AGAIN}")
    if region is None and set_weights_uri(account.PROJECT / cdk_json.FILE, uri):
        print("weights_uri in cdk.json now names the copy. Use it: make deploy")
    else:
        print(
            f'The copy is complete. Use it: make deploy ARGS="-c weights_uri={uri}", with the other settings as before'
        )


def _missing(s3: Any, bucket: str, prefix: str, sizes: Mapping[str, int]) -> dict[str, int]:
    """The files that a folder of the bucket lacks or has in another size."""
    with _allowed("s3:ListBucket", bucket):
        there = {entry["Key"].removeprefix(prefix): int(entry["Size"]) for entry in listed(s3, bucket, prefix)}
    return {name: size for name, size in sizes.items() if there.get(name) != size}


def set_weights_uri(file: Path, uri: str) -> bool:
    """Changes the setting in cdk.json and nothing else there; whether it could."""
    text, count = re.subn(r'("weights_uri"\s*:\s*)"[^"]*"', rf'\g<1>"{uri}"', file.read_text("utf-8"))
    if count != 1 or json.loads(text)["context"].get("weights_uri") != uri:
        return False
    file.write_text(text, "utf-8")
    return True


@contextmanager
def _allowed(action: str, resource: str) -> Iterator[None]:
    """Names the permission that AWS denies. Raises Refused."""
    try:
        yield
    except ClientError as error:
        if error_code(error) not in _DENIED:
            raise
        told = f"AWS does not allow you {action} on {resource} ({error_code(error)}: {error_message(error)})."
        raise Refused(f"{told} Allow it for your user or role. {_AGAIN}") from error


class Hub:
    """The base model's folder in JumpStart's public hub."""

    def __init__(self, sagemaker: Any, settings: Settings) -> None:
        """Raises Refused for a model that the hub does not have and a licence that you have not accepted."""
        model, hosted = settings.model, settings.model.jumpstart
        if hosted is None:
            raise Refused(
                f"JumpStart does not have {model.name}: upload a copy (docs/configure.md#use-weights-of-your-own)."
            )
        if model.licence.must_be_accepted and not settings.accept_eula:
            licence = f"s3://{catalog.public_bucket(settings.region)}/{model.licence.eula_file}"
            raise Refused(f"{model.name} needs a licence: read {licence}, then set accept_eula to true in cdk.json.")
        self._sagemaker, self._id, self._accepts = sagemaker, hosted.id, model.licence.must_be_accepted
        self._content = hub_content(hosted.id, hosted.last_version)
        self._uri = catalog.weights_of(model, settings.region, "").uri

    def addresses(self) -> dict[str, str]:
        """The addresses of the files that a run needs, by name. Raises Refused."""
        with _allowed("sagemaker:CreateHubContentPresignedUrls", self._id):
            found = hub_files(self._sagemaker, self._content, self._uri, self._accepts)
        folder = model_folder(found)
        if folder is None:
            raise Refused(
                f"JumpStart's hub lists no config.json beside *.safetensors for {self._id}, but {', '.join(found) or 'nothing'}. "
                "Upload a copy from elsewhere (docs/configure.md#use-weights-of-your-own)."
            )
        inside = {path.removeprefix(folder): url for path, url in found.items() if path.startswith(folder)}
        return {name: url for name, url in inside.items() if "/" not in name and Path(name).suffix in _SUFFIXES}

    def open(self, name: str, start: int = 0) -> tuple[HTTPResponse, int]:
        """A file from a byte on, and its whole size. Raises OSError, HTTPException and Refused."""
        ranged = {"Range": f"bytes={start}-"} if start else {}
        answer: HTTPResponse = urlopen(Request(self.addresses()[name], headers=ranged), timeout=_SECONDS)
        if answer.length is None:
            raise OSError("the answer does not announce its length")
        return answer, start + answer.length

    def sizes(self) -> dict[str, int]:
        """The bytes of each file. Raises Refused."""
        found = {}
        for name in self.addresses():
            try:
                answer, found[name] = self.open(name)
            except (OSError, HTTPException) as error:
                raise Refused(f"JumpStart's hub does not hand out {name} ({error}). Try again later.") from error
            answer.close()
        return found


class Download(io.RawIOBase):
    """A file of the hub as a stream. A broken connection is opened again at the byte where it broke."""

    def __init__(self, hub: Hub, name: str, size: int) -> None:
        self._hub, self._name, self._size, self._position = hub, name, size, 0
        self._answer: HTTPResponse | None = None

    def readable(self) -> bool:
        """Streams that are read say so."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer with what comes next. Raises Refused if connections keep breaking or the file changed."""
        waits = iter(_WAITS)
        while self._position < self._size:
            try:
                if self._answer is None:
                    self._answer, size = self._hub.open(self._name, self._position)
                    if size != self._size:
                        raise Refused(f"{self._name} changed while it was copied. {_AGAIN}")
                if count := self._answer.readinto(buffer):
                    self._position += count
                    return count
                raise OSError("the connection ended early")
            except (OSError, HTTPException) as error:
                self._answer, wait = None, next(waits, None)
                if wait is None:
                    raise Refused(
                        f"{self._name} stopped at {self._position:,} of {self._size:,} bytes ({error}). {_AGAIN}"
                    ) from error
                time.sleep(wait)
        return 0
