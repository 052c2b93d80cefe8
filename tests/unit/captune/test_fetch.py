"""`captune fetch`: what of a run arrives, that it is checked, and what a repeated call fetches."""

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.s3.models import s3_backends

from captune import fetch as fetching
from captune.account import Refused
from captune.fetch import DiskFull, fetch
from captune.kept_run import kept
from common.names import REHEARSED_ACCOUNT
from tests.doubles.aws_account import deployed, said
from tests.doubles.run_bucket import ADAPTER, BUCKET, RUN, RunBucket, files_of_run

KEPT = {"plan.json", "report.html", "summary.json", "pre-trained.jsonl", "prompts.jsonl", "heldout.jsonl"}
NAME = "adapter/adapter_model.safetensors"
WEIGHTS = f"runs/{RUN}/training/{RUN}/output/model/adapter_model.safetensors"


@pytest.fixture
def s3() -> Iterator[Any]:
    """A bucket of moto with one finished run, read by S3's real client."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        for path, content in files_of_run().items():
            client.put_object(Bucket=BUCKET, Key=f"runs/{RUN}/{path}", Body=content)
        yield client


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_report_answers_curves_and_adapter_arrive_and_nothing_else(s3: Any, tmp_path: Path) -> None:
    event_file = f"runs/{RUN}/training/{RUN}/output/data/tensorboard/events.out.tfevents.1.host.2.0"
    s3.put_object(Bucket=BUCKET, Key=event_file, Body=b"curves")
    copied = fetch(s3, BUCKET, RUN, tmp_path)
    curves = {"tensorboard/events.out.tfevents.1.host.2.0"}
    assert files(tmp_path / RUN) == KEPT | curves | {f"adapter/{name}" for name in ADAPTER}
    assert {name: (tmp_path / RUN / "adapter" / name).read_bytes() for name in ADAPTER} == ADAPTER
    # Until its configuration is there, nobody takes the folder for an adapter.
    assert copied[-1] == "adapter/adapter_config.json"
    run = kept(RUN, tmp_path)
    assert run is not None and run.adapter() == tmp_path / RUN / "adapter" and not run.rehearsed


def test_a_second_call_fetches_what_has_changed(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(s3, BUCKET, RUN, tmp_path)
    (tmp_path / RUN / NAME).unlink()
    (tmp_path / RUN / "report.html").write_bytes(b"<html></HTML>")
    fetched: list[str] = []
    download = s3.download_file

    def noting(bucket: str, key: str, *more: Any, **options: Any) -> None:
        fetched.append(key)
        download(bucket, key, *more, **options)

    monkeypatch.setattr(s3, "download_file", noting)
    fetch(s3, BUCKET, RUN, tmp_path)
    assert fetched == [f"runs/{RUN}/report/report.html", WEIGHTS]
    assert (tmp_path / RUN / NAME).read_bytes() == ADAPTER["adapter_model.safetensors"]


def test_what_arrives_damaged_does_not_get_its_name(s3: Any, tmp_path: Path) -> None:
    kept = s3_backends["123456789012"]["aws"].buckets[BUCKET].keys[WEIGHTS]
    whole, kept.value = kept.value, b"?" * len(kept.value)  # S3's checksum stays
    with pytest.raises(Refused, match="Fetch again"):
        fetch(s3, BUCKET, RUN, tmp_path)
    assert not [name for name in files(tmp_path / RUN) if name.startswith((NAME, "adapter/adapter_config.json"))]
    kept.value = whole
    assert NAME in fetch(s3, BUCKET, RUN, tmp_path)


def test_a_run_that_served_an_earlier_adapter_is_fetched_with_that_one(tmp_path: Path) -> None:
    uri = f"s3://{BUCKET}/runs/captune-two/training/captune-two/output/model/"
    served = {"plan.json": files_of_run(adapterUri=uri)["plan.json"]}
    fetch(RunBucket({RUN: served, "captune-two": files_of_run("captune-two")}), BUCKET, RUN, tmp_path)
    assert (tmp_path / RUN / "adapter" / "README.md").read_bytes() == ADAPTER["README.md"]


def test_a_run_that_was_cut_is_fetched_without_an_adapter_and_says_so(tmp_path: Path) -> None:
    cut = {path: content for path, content in files_of_run().items() if "/output/model/metrics.json" not in path}
    with pytest.raises(Refused, match="Start it again"):
        fetch(RunBucket({RUN: cut}), BUCKET, RUN, tmp_path)
    assert files(tmp_path / RUN) == KEPT


def test_a_wrong_name_and_a_folder_of_another_run_are_told(s3: Any, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=f"There are: {RUN}"):
        fetch(s3, BUCKET, "captune-onee", tmp_path)
    (tmp_path / RUN).mkdir()
    for other in (files_of_run(bucket="another"), files_of_run("captune-two")):
        (tmp_path / RUN / "plan.json").write_bytes(other["plan.json"])
        with pytest.raises(Refused, match="Move it away"):
            fetch(s3, BUCKET, RUN, tmp_path)
    assert files(tmp_path) == {f"{RUN}/plan.json"}


def test_a_full_disk_is_told_before_and_while_it_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    s3 = RunBucket({RUN: files_of_run()})
    monkeypatch.setattr(s3, "download_file", full)
    with pytest.raises(DiskFull, match="--results"):
        fetch(s3, BUCKET, RUN, tmp_path)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_000))
    with pytest.raises(DiskFull, match="are free"):
        fetch(s3, BUCKET, RUN, tmp_path)


def test_the_command_finds_the_bucket_and_prints_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = deployed()
    account.services["s3"] = RunBucket({RUN: files_of_run()})
    monkeypatch.setattr(boto3, "Session", lambda region_name: account)
    code, text = said("fetch", "one", "--results", tmp_path, "--json")
    told = json.loads(text[text.index("{") :])
    assert (code, told["run"], len(told["files"])) == (0, RUN, len(KEPT) + len(ADAPTER))
    rehearsed = files_of_run(executionArn=f"arn:aws:states:x:{REHEARSED_ACCOUNT}:e:f:one")
    (tmp_path / RUN / "plan.json").write_bytes(rehearsed["plan.json"])
    code, text = said("fetch", "one", "--results", tmp_path)
    assert code == 1 and "rehearsed" in text
