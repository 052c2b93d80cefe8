"""The project's bucket with the files of a run, as commands meet it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from botocore.response import StreamingBody

from tests.doubles.lambda_fakes import NOW, Service, refusal

BUCKET, RUN = "bucket", "captune-one"
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
    """Runs by name, each with its files by path."""

    name = "s3"

    def __init__(self, runs: Mapping[str, Mapping[str, bytes]]) -> None:
        super().__init__()
        self.objects = {
            (BUCKET, f"runs/{run}/{path}"): content for run, kept in runs.items() for path, content in kept.items()
        }

    def on_head_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        if (Bucket, Key) not in self.objects:
            raise refusal("404")
        return {"ContentLength": len(self.objects[Bucket, Key])}

    def on_get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        if (Bucket, Key) not in self.objects:
            raise refusal("NoSuchKey")
        content = self.objects[Bucket, Key]
        return {"Body": StreamingBody(io.BytesIO(content), len(content)), "ContentLength": len(content)}

    def download_file(self, bucket: str, key: str, file: str, **_: Any) -> None:
        """boto3's, which is no operation of S3."""
        Path(file).write_bytes(self.objects[bucket, key])

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
                    "LastModified": written[key],
                }
                for key in keys
            ]
        }
