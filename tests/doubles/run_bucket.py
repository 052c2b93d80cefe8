"""The project's bucket with the files of a run, as `captune fetch` meets it: checksums, ranges, and connections that break."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from botocore.response import StreamingBody

from tests.doubles.lambda_fakes import NOW, Service, refusal

BUCKET, RUN, PART_BYTES = "bucket", "captune-one", 6_000
PLAN = {
    "runName": RUN, "domain": "medical", "bucket": BUCKET, "adapterUri": "", "region": "us-east-1",
    "executionArn": "arn:aws:states:us-east-1:999999999999:execution:captune-fine-tuning:one",
    "hosting": {"maxModelTokens": 256}, "budget": {"hostingHourlyUsd": "1.515"},
}  # fmt: skip
ADAPTER = {
    "adapter_config.json": b'{"r": 4}',
    "adapter_model.safetensors": bytes(range(256)) * 40,
    "README.md": b"# LoRA adapter",
    "metrics.json": b"{}",
}


def files_of_run(run: str = RUN, **plan: Any) -> dict[str, bytes]:
    """What a finished run has left in its folder, by path; `plan` replaces members of its plan."""
    of_adapter = {f"training/{run}/output/model/{name}": content for name, content in ADAPTER.items()}
    return of_adapter | {
        "plan.json": json.dumps({**PLAN, "runName": run, **plan}).encode(),
        "report/report.html": b"<html></html>",
        "report/summary.json": b"{}",
        "answers/pre-trained.jsonl": b"{}\n",
        "input/prompts.jsonl": b'{"id": "p1", "prompt": "A gene", "facts": []}\n',
        "input/evaluation/heldout.jsonl": b"{}\n",
        "input/corpus/corpus.txt": b"not kept",
        "training/trial/output/model/metrics.json": b"of a trial",
    }


class RunBucket(Service):
    """Runs by name, each with its files by path.

    Attributes:
        breaks: by the end of a key, the bytes after which each of the next connections for it ends.
        checksums: whether S3 keeps a CRC32 of an object.
        by_parts: these keys were uploaded in two parts, so that S3 keeps a checksum of checksums.
        own_key: these keys are encrypted with a key of KMS, so that their ETag says nothing.
        damaged: of these keys other bytes arrive than are kept.
    """

    name = "s3"

    def __init__(self, runs: Mapping[str, Mapping[str, bytes]]) -> None:
        super().__init__()
        self.objects = {
            (BUCKET, f"runs/{run}/{path}"): content for run, kept in runs.items() for path, content in kept.items()
        }
        self.breaks: dict[str, list[int]] = {}
        self.checksums, self.by_parts, self.own_key, self.damaged = True, "nothing", "nothing", "nothing"

    def _etag(self, key: str) -> str:
        content = self.objects[BUCKET, key]
        if self.by_parts not in key:
            return f'"{hashlib.md5(content).hexdigest()}"'
        digests = (hashlib.md5(part).digest() for part in (content[:PART_BYTES], content[PART_BYTES:]))
        return f'"{hashlib.md5(b"".join(digests)).hexdigest()}-2"'

    def on_head_object(
        self, Bucket: str, Key: str, ChecksumMode: str = "", PartNumber: int | None = None
    ) -> dict[str, Any]:
        content = self.objects[Bucket, Key]
        parts = {None: content, 1: content[:PART_BYTES], 2: content[PART_BYTES:]}
        found: dict[str, Any] = {"ContentLength": len(parts[PartNumber]), "ETag": self._etag(Key)}
        if self.checksums and ChecksumMode == "ENABLED":
            kind = "COMPOSITE" if self.by_parts in Key else "FULL_OBJECT"
            value = base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
            found |= {"ChecksumType": kind, "ChecksumCRC32": "AAAAAA==-2" if kind == "COMPOSITE" else value}
        return found | ({"ServerSideEncryption": "aws:kms"} if self.own_key in Key else {})

    def on_get_object(
        self, Bucket: str, Key: str, Range: str = "bytes=0-", IfMatch: str = "", **_: Any
    ) -> dict[str, Any]:
        if (Bucket, Key) not in self.objects:
            raise refusal("NoSuchKey")
        if IfMatch not in ("", self._etag(Key)):
            raise refusal("PreconditionFailed")
        content = self.objects[Bucket, Key][int(Range.removeprefix("bytes=").removesuffix("-")) :]
        breaks = next((left for end, left in self.breaks.items() if Key.endswith(end)), [])
        sent = content[: breaks.pop(0)] if breaks else content
        sent = b"?" * len(sent) if self.damaged in Key else sent
        return {"Body": StreamingBody(io.BytesIO(sent), len(content)), "ContentLength": len(content)}

    def on_list_objects_v2(self, Bucket: str, Prefix: str, Delimiter: str = "", **_: Any) -> dict[str, Any]:
        written = {key: NOW + timedelta(seconds=place) for place, (_, key) in enumerate(self.objects)}
        keys = sorted(key for key in written if key.startswith(Prefix))
        if Delimiter:
            return {
                "CommonPrefixes": [{"Prefix": one} for one in sorted({f"runs/{key.split('/')[1]}/" for key in keys})]
            }
        return {
            "Contents": [
                {
                    "Key": key,
                    "Size": len(self.objects[BUCKET, key]),
                    "ETag": self._etag(key),
                    "LastModified": written[key],
                }
                for key in keys
            ]
        }
