"""The project's bucket with the files of a run, as commands meet it."""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.doubles.lambda_fakes import NOW, S3

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


def kept_here(results: Path, base: dict[str, Any], adapter: Path | None = None, **plan: Any) -> Path:
    """The folder of the run as it is kept in `results`, with an adapter (of other weights where one is given) that was trained on this base model."""
    folder = results / RUN / "adapter"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in ADAPTER.items():
        given = adapter / name if adapter else None
        (folder / name).write_bytes(given.read_bytes() if given and given.is_file() else content)
    (folder / "metrics.json").write_text(json.dumps({"base_model": base}))
    (results / RUN / "plan.json").write_bytes(files_of_run(**plan)["plan.json"])
    return results / RUN


class RunBucket(S3):
    """Runs by name, each with its files by path, which were written a second apart."""

    def __init__(self, runs: Mapping[str, Mapping[str, bytes]]) -> None:
        files = {f"runs/{run}/{path}": content for run, kept in runs.items() for path, content in kept.items()}
        super().__init__({(BUCKET, key): content for key, content in files.items()})

    def download_file(self, bucket: str, key: str, file: str, **_: Any) -> None:
        """boto3's, which is no operation of S3."""
        Path(file).write_bytes(self.objects[bucket, key])

    def on_list_objects_v2(
        self, Bucket: str, Prefix: str, MaxKeys: int = 1000, Delimiter: str = "", **_: Any
    ) -> dict[str, Any]:
        if Delimiter:
            runs = sorted({f"runs/{key.split('/')[1]}/" for _, key in self.objects})
            return {"CommonPrefixes": [{"Prefix": one} for one in runs if one.startswith(Prefix)]}
        found = super().on_list_objects_v2(Bucket, Prefix, MaxKeys)
        places = {key: place for place, (_, key) in enumerate(self.objects)}
        for one in found["Contents"]:
            one["LastModified"] = NOW + timedelta(seconds=places[one["Key"]])
        return found
