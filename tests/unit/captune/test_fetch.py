"""`captune fetch`: what of a run arrives, that it is checked, and that a broken or repeated call goes on where it was."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
from botocore.exceptions import IncompleteReadError
from typer.testing import CliRunner

from captune import fetch as fetching
from captune.__main__ import app
from captune.fetch import DamagedCopy, DiskFull, fetch
from captune.kept_run import REHEARSED_ACCOUNT, NoAdapter, OtherRun, RunNotFound, kept
from tests.doubles.aws_account import deployed
from tests.doubles.lambda_fakes import refusal
from tests.doubles.run_bucket import ADAPTER, BUCKET, RUN, RunBucket, files_of_run

KEPT = {"plan.json", "report.html", "summary.json", "pre-trained.jsonl", "prompts.jsonl", "heldout.jsonl"}
NAME = "adapter/adapter_model.safetensors"
WEIGHTS = f"runs/{RUN}/training/{RUN}/output/model/adapter_model.safetensors"


@pytest.fixture
def bucket() -> RunBucket:
    """A bucket with one finished run."""
    return RunBucket({RUN: files_of_run()})


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def bytes_read(bucket: RunBucket) -> list[str]:
    """The ranges of the weights that were asked for."""
    return [request["Range"] for name, request in bucket.calls if name == "get_object" and request["Key"] == WEIGHTS]


def test_report_answers_and_adapter_arrive_and_nothing_else(bucket: RunBucket, tmp_path: Path) -> None:
    copied, by_size = fetch(bucket, BUCKET, RUN, tmp_path)
    assert files(tmp_path / RUN) == KEPT | {f"adapter/{name}" for name in ADAPTER}
    assert {name: (tmp_path / RUN / "adapter" / name).read_bytes() for name in ADAPTER} == ADAPTER
    # Until its configuration is there, nobody takes the folder for an adapter.
    assert (copied[-1], by_size) == ("adapter/adapter_config.json", [])
    run = kept(RUN, tmp_path)
    assert run is not None and run.adapter() == tmp_path / RUN / "adapter" and not run.rehearsed


def test_a_broken_connection_goes_on_where_it_was(bucket: RunBucket, tmp_path: Path) -> None:
    bucket.breaks = {WEIGHTS: [6_000, 14]}
    fetch(bucket, BUCKET, RUN, tmp_path)
    assert bytes_read(bucket) == ["bytes=0-", "bytes=6000-", "bytes=6014-"]
    assert (tmp_path / RUN / NAME).read_bytes() == ADAPTER["adapter_model.safetensors"]


def test_a_second_call_goes_on_and_reads_nothing_that_is_whole(bucket: RunBucket, tmp_path: Path) -> None:
    bucket.breaks = {WEIGHTS: [6_000, 0, 0, 0, 0]}
    with pytest.raises(IncompleteReadError):
        fetch(bucket, BUCKET, RUN, tmp_path)
    assert not files(tmp_path / RUN) & {NAME, "adapter/adapter_config.json"}
    fetch(bucket, BUCKET, RUN, tmp_path)
    assert bytes_read(bucket)[-1] == "bytes=6000-" and files(tmp_path / RUN / "adapter") == set(ADAPTER)
    asked = len(bucket.called("get_object"))
    (tmp_path / RUN / "report.html").write_bytes(b"<html></HTML>")
    fetch(bucket, BUCKET, RUN, tmp_path)
    assert [request["Key"] for request in bucket.called("get_object")[asked:]] == [f"runs/{RUN}/report/report.html"]


@pytest.mark.parametrize(
    ("checksums", "by_parts"),
    [(True, "nothing"), (False, "nothing"), (True, WEIGHTS)],
    ids=["by its checksum", "by its ETag", "by the ETag of its parts"],
)
def test_what_arrives_damaged_does_not_get_its_name(
    bucket: RunBucket, tmp_path: Path, checksums: bool, by_parts: str
) -> None:
    bucket.damaged, bucket.checksums, bucket.by_parts = WEIGHTS, checksums, by_parts
    with pytest.raises(DamagedCopy, match="Fetch again"):
        fetch(bucket, BUCKET, RUN, tmp_path)
    assert not files(tmp_path / RUN) & {NAME, "adapter/adapter_config.json"}
    bucket.damaged = "nothing"
    assert fetch(bucket, BUCKET, RUN, tmp_path)[1] == []


def test_files_that_are_replaced_meanwhile_or_have_no_checksum_are_told(bucket: RunBucket, tmp_path: Path) -> None:
    bucket.troubles["get_object"] = [refusal("PreconditionFailed")]
    with pytest.raises(DamagedCopy, match="replaced"):
        fetch(bucket, BUCKET, RUN, tmp_path)
    bucket.by_parts = bucket.own_key = WEIGHTS
    assert fetch(bucket, BUCKET, RUN, tmp_path)[1] == [NAME]


def test_the_last_whole_adapter_counts_and_an_earlier_runs_where_it_was_served(tmp_path: Path) -> None:
    again = {f"training/{RUN}-try2/output/model/{name}": content for name, content in ADAPTER.items()}
    cut = {f"training/{RUN}-try3/output/model/README.md": b"not whole"}
    retried = {**files_of_run(), **again, **cut, f"training/{RUN}-try2/output/model/README.md": b"second"}
    uri = f"s3://{BUCKET}/runs/captune-two/training/captune-two/output/model/"
    served = {"plan.json": files_of_run(adapterUri=uri)["plan.json"]}
    for run, kept_files, readme in (("a", retried, b"second"), ("b", served, ADAPTER["README.md"])):
        bucket = RunBucket({RUN: kept_files, "captune-two": files_of_run("captune-two")})
        fetch(bucket, BUCKET, RUN, tmp_path / run)
        assert (tmp_path / run / RUN / "adapter" / "README.md").read_bytes() == readme


def test_a_run_that_was_cut_is_fetched_without_an_adapter_and_says_so(tmp_path: Path) -> None:
    cut = {path: content for path, content in files_of_run().items() if "/output/model/metrics.json" not in path}
    with pytest.raises(NoAdapter, match="Start it again"):
        fetch(RunBucket({RUN: cut}), BUCKET, RUN, tmp_path)
    assert files(tmp_path / RUN) == KEPT


def test_a_wrong_name_and_a_folder_of_another_run_are_told(bucket: RunBucket, tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match=f"There are: {RUN}"):
        fetch(bucket, BUCKET, "captune-onee", tmp_path)
    (tmp_path / RUN).mkdir()
    for other in (files_of_run(bucket="another"), files_of_run("captune-two")):
        (tmp_path / RUN / "plan.json").write_bytes(other["plan.json"])
        with pytest.raises(OtherRun, match="Move it away"):
            fetch(bucket, BUCKET, RUN, tmp_path)
    assert files(tmp_path) == {f"{RUN}/plan.json"}


def test_a_full_disk_is_told_before_and_while_it_fills(
    bucket: RunBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(fetching.os, "fsync", full)
        with pytest.raises(DiskFull, match="--results"):
            fetch(bucket, BUCKET, RUN, tmp_path)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_000))
    with pytest.raises(DiskFull, match="are free"):
        fetch(bucket, BUCKET, RUN, tmp_path)


def test_the_command_finds_the_bucket_and_prints_json(
    bucket: RunBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = deployed()
    account.services["cloudformation"].outputs["Captune-Storage"] = {"BucketName": BUCKET}
    account.services["s3"] = bucket
    monkeypatch.setattr(boto3, "Session", lambda region_name: account)
    done = CliRunner().invoke(app, ["fetch", "one", "--results", str(tmp_path), "--json"])
    told = json.loads(done.stdout)
    assert (done.exit_code, told["run"], len(told["files"])) == (0, RUN, len(KEPT) + len(ADAPTER))
    rehearsed = files_of_run(executionArn=f"arn:aws:states:x:{REHEARSED_ACCOUNT}:e:f:one")
    (tmp_path / RUN / "plan.json").write_bytes(rehearsed["plan.json"])
    done = CliRunner().invoke(app, ["fetch", "one", "--results", str(tmp_path)])
    assert done.exit_code == 1 and "rehearsed" in done.output
