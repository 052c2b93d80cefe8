"""Training containers run here with the files and signals that SageMaker promises."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from rehearsal.sagemaker.fake import FakeHosting
from rehearsal.sagemaker.real.training import TrainingHost
from tests.doubles.rehearsal.sagemaker_account import (
    BUCKET,
    GATED,
    ROLE,
    Account,
    account,
    channel,
    eventually,
    s3_address,
)

pytestmark = pytest.mark.slow


LINES: list[tuple[str, str]] = []


@pytest.fixture
def host() -> TrainingHost:
    return TrainingHost()


@pytest.fixture
def aws(tmp_path: Path, host: TrainingHost) -> Iterator[Account]:
    weights = tmp_path / "weights"
    (weights / "deep").mkdir(parents=True)
    (weights / "config.json").write_text("{}")
    (weights / "deep" / "model.safetensors").write_bytes(b"weights")
    LINES.clear()
    with account(
        tmp_path, training=host, hosting=FakeHosting(), gated_weights=weights, time_scale=0.01,
        on_training_line=lambda job, line: LINES.append((job, line)),
    ) as made:  # fmt: skip
        yield made


def _train(aws: Account, script: str, **changes: Any) -> None:
    """Start a job "job" that runs `script`, with its folder in `root`."""
    start = "import json, os, pathlib, signal, sys, time\nroot = pathlib.Path(sys.argv[2])\n"
    aws.put("code/train.py", start + textwrap.dedent(script))
    channels = changes.pop("InputDataConfig", [])
    aws.train("job", InputDataConfig=[channel("code", f"s3://{BUCKET}/code/"), *channels], **changes)


def _ended(aws: Account) -> dict[str, Any]:
    def over() -> dict[str, Any] | None:
        answer = aws.job("job")
        return answer if answer["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

    answer: dict[str, Any] = eventually(over)
    return answer


def _read(aws: Account, key: str) -> bytes:
    body: bytes = aws.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return body


OUTPUT = "runs/job/training/job/output"


def test_a_job_finds_its_files_and_its_output_goes_to_s3(aws: Account, tmp_path: Path) -> None:
    aws.put("runs/job/input/corpus/corpus.txt", "# Title\n\nText.\n")
    _train(
        aws,
        """
        config = {file.stem: json.loads(file.read_text()) for file in (root / "input/config").iterdir()}
        data = sorted(str(file.relative_to(root / "input/data")) for file in (root / "input/data").rglob("*.*"))
        linked = (root / "input/data/model/deep/model.safetensors").is_symlink()
        seen = {"config": config, "data": data, "linked": linked, "environment": dict(os.environ)}
        (root / "model/deep").mkdir()
        (root / "model/deep/adapter.bin").write_bytes(b"adapter")
        (root / "output/data/metrics.json").write_text(json.dumps(seen))
        print("phase name=train", flush=True)
        print("done", file=sys.stderr)
        """,
        InputDataConfig=[
            channel("corpus", f"s3://{BUCKET}/runs/job/input/corpus/"),
            channel("model", GATED, ModelAccessConfig={"AcceptEula": True}),
        ],
        Environment={"CACHE": "/opt/ml/cache"},
        EnableNetworkIsolation=True,
    )
    answer = _ended(aws)
    assert answer.get("FailureReason") is None
    assert answer["TrainingJobStatus"] == "Completed"
    assert aws.keys(OUTPUT) == [f"{OUTPUT}/data/metrics.json", f"{OUTPUT}/model/deep/adapter.bin"]
    seen = json.loads(_read(aws, f"{OUTPUT}/data/metrics.json"))
    assert seen["config"]["hyperparameters"] == {"epochs": "3"}
    assert seen["config"]["resourceconfig"]["hosts"] == ["algo-1"]
    assert set(seen["config"]["inputdataconfig"]) == {"code", "corpus", "model"}
    assert seen["data"] == ["code/train.py", "corpus/corpus.txt", "model/config.json", "model/deep/model.safetensors"]
    assert seen["linked"]
    environment = seen["environment"]
    assert environment["TRAINING_JOB_NAME"] == "job"
    assert seen["config"]["resourceconfig"]["current_instance_type"].startswith("ml.")
    assert environment["CAPTUNE_ACCELERATOR"] == "cpu"
    assert environment["CACHE"].endswith("/training/job/cache") and "/opt/ml" not in environment["CACHE"]
    assert not {name for name in environment if name.startswith(("AWS_", "SM_", "VIRTUAL_ENV"))}
    assert ("job", "phase name=train") in LINES and ("job", "done") in LINES
    assert "phase name=train" in (tmp_path / "standin/logs/training-job.log").read_text()


def test_nothing_stays_on_the_disk_but_the_log(aws: Account, tmp_path: Path) -> None:
    _train(aws, "print('hello')")
    _ended(aws)
    eventually(lambda: not (tmp_path / "standin/training/job").exists())
    assert [file.name for file in (tmp_path / "standin").rglob("*") if file.is_file()] == ["training-job.log"]
    assert (tmp_path / "weights/config.json").exists()


def test_a_failure_file_becomes_the_reason(aws: Account) -> None:
    _train(aws, "(root / 'output/failure').write_text('The corpus is empty. Upload one.'); sys.exit(1)")
    answer = _ended(aws)
    assert answer["TrainingJobStatus"] == "Failed"
    assert answer["FailureReason"] == "AlgorithmError: The corpus is empty. Upload one., exit code: 1"
    assert aws.keys(f"{OUTPUT}/model") == []


def test_a_long_failure_is_cut_and_keeps_its_exit_code(aws: Account) -> None:
    _train(aws, "(root / 'output/failure').write_text('x' * 5000); sys.exit(3)")
    reason = _ended(aws)["FailureReason"]
    assert len(reason) == 1024
    assert reason.endswith("x, exit code: 3")


def test_a_process_killed_from_outside_says_so(aws: Account, host: TrainingHost) -> None:
    _train(aws, "print('ready', flush=True); time.sleep(600)")
    eventually(lambda: ("job", "ready") in LINES)
    pid = host.pid_of("job")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    answer = _ended(aws)
    assert answer["TrainingJobStatus"] == "Failed"
    assert "killed by signal 9 (SIGKILL)" in answer["FailureReason"]


TWO = {"ResourceConfig": {"InstanceType": "ml.g5.2xlarge", "InstanceCount": 2, "VolumeSizeInGB": 30}}
WHO = """
config = json.loads((root / "input/config/resourceconfig.json").read_text())
host = config["current_host"]
"""


@pytest.fixture
def two(aws: Account) -> Account:
    aws.standin.market.set_quota("L-2D6DEB3C", 2)
    return aws


def test_a_job_of_two_instances_has_two_hosts_with_folders_of_their_own(two: Account) -> None:
    _train(
        two,
        WHO
        + """
address = os.environ["CAPTUNE_MEETING_POINT"]
(root / f"output/data/{host}.json").write_text(json.dumps({"config": config, "address": address}))
(root / "output/data/both.txt").write_text(host)
print("line of", host, flush=True)
""",
        **TWO,
    )
    assert _ended(two)["TrainingJobStatus"] == "Completed"
    seen = [json.loads(_read(two, f"{OUTPUT}/data/{host}.json")) for host in ("algo-1", "algo-2")]
    assert [one["config"]["current_host"] for one in seen] == ["algo-1", "algo-2"]
    assert [one["config"]["hosts"] for one in seen] == [["algo-1", "algo-2"]] * 2
    assert seen[0]["address"] == seen[1]["address"] and seen[0]["address"].startswith("127.0.0.1:")
    assert _read(two, f"{OUTPUT}/data/both.txt") == b"algo-1"
    assert [line for _, line in LINES if line.startswith("line of")] == ["line of algo-1"]


def test_a_host_that_fails_ends_the_job_with_its_own_reason(two: Account) -> None:
    _train(
        two,
        WHO
        + """
if host == "algo-2":
    (root / "output/failure").write_text("The second host is broken.")
    sys.exit(1)
time.sleep(600)
""",
        **TWO,
    )
    answer = _ended(two)
    assert answer["TrainingJobStatus"] == "Failed"
    assert answer["FailureReason"] == "AlgorithmError: The second host is broken., exit code: 1"


def test_a_stop_reaches_every_host(two: Account, tmp_path: Path) -> None:
    _train(
        two,
        WHO
        + """
def save(*_):
    (root / "model" / host).write_bytes(b"half")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
(root / "checkpoints/ready").write_text(host)
print("ready", flush=True)
time.sleep(600)
""",
        **TWO,
    )
    folder = tmp_path / "standin" / "training" / "job"
    eventually(lambda: len(list(folder.glob("algo-*/checkpoints/ready"))) == 2)
    two.sagemaker.stop_training_job(TrainingJobName="job")
    assert _ended(two)["TrainingJobStatus"] == "Stopped"
    assert two.keys(f"{OUTPUT}/model") == [f"{OUTPUT}/model/algo-1", f"{OUTPUT}/model/algo-2"]


def test_a_stop_lets_the_command_save_what_it_has(aws: Account) -> None:
    _train(
        aws,
        """
        def save(*_):
            (root / "model/adapter.bin").write_bytes(b"half")
            sys.exit(0)
        signal.signal(signal.SIGTERM, save)
        print("ready", flush=True)
        time.sleep(600)
        """,
    )
    eventually(lambda: ("job", "ready") in LINES)
    aws.sagemaker.stop_training_job(TrainingJobName="job")
    answer = _ended(aws)
    assert (answer["TrainingJobStatus"], answer["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert _read(aws, f"{OUTPUT}/model/adapter.bin") == b"half"


def test_a_command_that_will_not_stop_is_killed_after_the_grace(aws: Account) -> None:
    _train(aws, "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)")
    eventually(lambda: ("job", "ready") in LINES)
    aws.sagemaker.stop_training_job(TrainingJobName="job")
    assert aws.job("job")["TrainingJobStatus"] == "Stopping"
    assert _ended(aws)["TrainingJobStatus"] == "Stopped"


def test_a_job_is_stopped_at_its_maximum_runtime(aws: Account) -> None:
    _train(aws, "time.sleep(600)", StoppingCondition={"MaxRuntimeInSeconds": 20})
    answer = _ended(aws)
    assert (answer["TrainingJobStatus"], answer["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_an_input_that_is_missing_fails_the_job_before_it_trains(aws: Account) -> None:
    _train(aws, "", InputDataConfig=[channel("corpus", f"s3://{BUCKET}/nowhere/")])
    answer = _ended(aws)
    assert answer["TrainingJobStatus"] == "Failed"
    assert f'No S3 objects found under S3 URL "s3://{BUCKET}/nowhere/"' in answer["FailureReason"]
    assert "Training" not in [step["Status"] for step in answer["SecondaryStatusTransitions"]]


def test_checkpoints_come_back_to_a_job_that_goes_on(aws: Account) -> None:
    checkpoints = {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/runs/job/checkpoints/"}}
    aws.put("runs/job/checkpoints/step-10.json", "{}")
    _train(
        aws,
        """
        found = sorted(name for name in os.listdir(root / "checkpoints") if ".sagemaker-" not in name)  # the agent's marks
        (root / "checkpoints/step-20.json").write_text(str(found))
        """,
        **checkpoints,
    )
    assert _ended(aws)["TrainingJobStatus"] == "Completed"
    assert _read(aws, "runs/job/checkpoints/step-20.json") == b"['step-10.json']"


def test_a_command_dies_with_the_rehearsal_however_that_ends(tmp_path: Path) -> None:
    code = f"""
        import sys, time
        from pathlib import Path
        sys.path[:0] = {[str(Path(__file__).parents[4])]!r}
        import boto3
        from tests.doubles.rehearsal.sagemaker_account import training_request, channel
        from rehearsal.sagemaker import StandIn
        from rehearsal.sagemaker.fake import FakeHosting
        from rehearsal.sagemaker.real.training import TrainingHost
        host = TrainingHost()
        standin = StandIn(Path({str(tmp_path)!r}) / "standin", s3_endpoint={s3_address()!r}, training=host,
                          hosting=FakeHosting())
        standin.start()
        asked = training_request("job", InputDataConfig=[channel("code", "s3://orphan/code/")])
        standin.control.call("CreateTrainingJob", asked, "us-east-1")
        while not host.pid_of("job"):
            time.sleep(0.05)
        print(host.pid_of("job"), flush=True)
        time.sleep(600)
    """
    import boto3

    s3 = boto3.client(
        "s3", endpoint_url=s3_address(), region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    s3.create_bucket(Bucket="orphan")
    s3.put_object(Bucket="orphan", Key="code/train.py", Body=b"import time; time.sleep(600)")
    rehearsal = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    try:
        assert rehearsal.stdout is not None
        pid = int(rehearsal.stdout.readline())
        os.kill(pid, 0)
    finally:
        rehearsal.kill()
        rehearsal.wait()

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")  # a zombie that nobody has collected is dead enough
        return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"

    eventually(gone)


@pytest.mark.parametrize("uri", [GATED, f"s3://{BUCKET}/code/"])
def test_what_its_role_may_not_read_fails_the_job(tmp_path: Path, host: TrainingHost, uri: str) -> None:
    roles: list[str] = []

    def refusing(role_arn: str) -> Any:
        roles.append(role_arn)
        client = boto3.client(
            "s3", endpoint_url=s3_address(), aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1"
        )
        refusal = b"<Error><Code>AccessDenied</Code><Message>No policy allows it</Message></Error>"
        client.meta.events.register("before-send.s3", lambda **_: AWSResponse("", 403, {}, Raw(refusal)))
        return client

    with account(tmp_path, training=host, hosting=FakeHosting(), gated_weights=tmp_path, s3_of=refusing) as aws:
        access = {"ModelAccessConfig": {"AcceptEula": True}} if uri == GATED else {}
        aws.train("job", InputDataConfig=[channel("code", uri, **access)])
        answer = _ended(aws)

    assert answer["TrainingJobStatus"] == "Failed"
    assert answer["FailureReason"].startswith("ClientError: Data download failed:")
    assert "AccessDenied" in answer["FailureReason"]
    assert roles == [ROLE]


class Raw(io.BytesIO):
    """A body as urllib3 hands it out."""

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self.read()
