"""The checkpoint folder as SageMaker's agent treats it: its marks come and go, and the bucket follows what training keeps and deletes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.sagemaker.fake import FakeHosting
from rehearsal.sagemaker.real.checkpoint_agent import CheckpointAgent, files, keep
from rehearsal.sagemaker.real.training import TrainingHost
from tests.doubles.rehearsal.sagemaker_account import BUCKET, Account, account, channel, eventually

URI = f"s3://{BUCKET}/checkpoints/job"


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Account]:
    with account(tmp_path, training=TrainingHost(), hosting=FakeHosting(), time_scale=0.01) as made:
        yield made


def test_a_file_has_the_one_mark_and_then_the_other_until_it_changes(tmp_path: Path) -> None:
    folder, file = tmp_path / "checkpoint-1", tmp_path / "checkpoint-1" / "weights"
    uploading, uploaded = (folder / f"weights.sagemaker-{word}" for word in ("uploading", "uploaded"))
    folder.mkdir()
    agent = CheckpointAgent([tmp_path, tmp_path / "of a host without any"])
    file.write_bytes(b"1")

    agent.look()
    assert (uploading.exists(), uploaded.exists()) == (True, False)
    agent.look()
    assert (uploading.exists(), uploaded.exists()) == (False, True)
    agent.look()
    assert list(files(tmp_path)) == [file]

    file.write_bytes(b"22")
    agent.look()
    assert (uploading.exists(), uploaded.exists()) == (True, False)


def test_a_name_that_asks_for_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "starts.json.sagemaker-ignore").touch()
    CheckpointAgent([tmp_path]).look()
    assert [path.name for path in tmp_path.iterdir()] == ["starts.json.sagemaker-ignore"]


def test_the_bucket_follows_and_the_first_host_counts(aws: Account, tmp_path: Path) -> None:
    first, second = tmp_path / "algo-1", tmp_path / "algo-2"
    for host in (first, second):
        (host / "checkpoint-2").mkdir(parents=True)
        (host / "checkpoint-2" / "weights").write_text(host.name)
        (host / "checkpoint-2" / "weights.sagemaker-uploaded").touch()
    aws.put("checkpoints/job/checkpoint-1/weights", b"of before")
    aws.put("checkpoints/job-2/weights", b"another's")

    keep(aws.s3, [first, second], URI)

    assert aws.keys("checkpoints/") == ["checkpoints/job-2/weights", "checkpoints/job/checkpoint-2/weights"]
    assert aws.s3.get_object(Bucket=BUCKET, Key="checkpoints/job/checkpoint-2/weights")["Body"].read() == b"algo-1"


def test_a_job_meets_the_marks_and_what_it_deletes_is_deleted(aws: Account) -> None:
    aws.put("checkpoints/job/checkpoint-1/weights", b"of an earlier start")
    aws.put(
        "code/train.py",
        """
import pathlib, shutil, sys, time
folder = pathlib.Path(sys.argv[2]) / "checkpoints"
assert (folder / "checkpoint-1" / "weights").read_text() == "of an earlier start"
(folder / "checkpoint-2").mkdir()
(folder / "checkpoint-2" / "weights").write_text("new")
while not (folder / "checkpoint-2" / "weights.sagemaker-uploaded").exists():
    time.sleep(0.01)
shutil.rmtree(folder / "checkpoint-1", ignore_errors=True)
""",
    )
    aws.train("job", InputDataConfig=[channel("code", f"s3://{BUCKET}/code/")], CheckpointConfig={"S3Uri": URI})

    def ended() -> dict[str, Any] | None:
        answer = aws.job("job")
        return answer if answer["TrainingJobStatus"] in ("Completed", "Failed") else None

    assert eventually(ended)["TrainingJobStatus"] == "Completed"
    assert aws.keys("checkpoints/job/") == ["checkpoints/job/checkpoint-2/weights"]
