"""Training containers run here with the files and signals that SageMaker promises, on one host or two, on demand or on spot."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rehearsal.sagemaker.real import training as real
from rehearsal.sagemaker.real.training import TrainingHost
from tests.doubles.rehearsal.sagemaker_account import (
    BUCKET,
    GATED,
    ROLE,
    SageMakerAccount,
    account,
    channel,
    eventually,
    has_ended,
    new_client,
)

pytestmark = pytest.mark.slow
OUTPUT = "runs/job/training/job/output"
CHECKPOINTS = {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/runs/job/checkpoints/"}}
TWO = {"ResourceConfig": {"InstanceType": "ml.g5.2xlarge", "InstanceCount": 2, "VolumeSizeInGB": 30}}
ON_SPOT: dict[str, Any] = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
}
START = """
import json, os, pathlib, shutil, signal, sys, time
root = pathlib.Path(sys.argv[2])
config = {file.stem: json.loads(file.read_text("utf-8")) for file in (root / "input/config").iterdir()}
host = config["resourceconfig"]["current_host"]
def save(*_):
    (root / "model" / host).write_bytes(b"half")
    sys.exit(0)
"""


@dataclass
class TrainingBench:
    """A stand-in with a real training host, and one job at a time on it."""

    aws: SageMakerAccount
    host: TrainingHost
    lines: list[tuple[str, str]]

    def train(self, script: str, **changes: Any) -> None:
        """Start a job "job" that runs `script` with its folder in `root`."""
        self.aws.put("code/train.py", START + textwrap.dedent(script))
        channels = changes.pop("InputDataConfig", [])
        self.aws.train("job", InputDataConfig=[channel("code", f"s3://{BUCKET}/code/"), *channels], **changes)

    def ended(self) -> dict[str, Any]:

        def over() -> dict[str, Any] | None:
            answer = self.aws.job("job")
            return answer if answer["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

        return dict(eventually(over))

    def state(self) -> tuple[str, str]:
        """Wait for the job's end and return its status and secondary status."""
        answer = self.ended()
        return answer["TrainingJobStatus"], answer["SecondaryStatus"]

    def stop_when_ready(self) -> None:
        """Stop the job once its command has printed "ready"."""
        eventually(lambda: ("job", "ready") in self.lines)
        self.aws.sagemaker.stop_training_job(TrainingJobName="job")

    def read(self, key: str) -> bytes:
        return bytes(self.aws.s3.get_object(Bucket=BUCKET, Key=f"{OUTPUT}/{key}")["Body"].read())


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., TrainingBench]]:
    def one(host: TrainingHost | None = None, **options: Any) -> TrainingBench:
        weights = tmp_path / "weights"
        (weights / "deep").mkdir(parents=True)
        (weights / "config.json").write_text("{}")
        (weights / "deep" / "model.safetensors").write_bytes(b"weights")
        lines: list[tuple[str, str]] = []
        usual: dict[str, Any] = {"gated_weights": weights, "time_scale": 0.01, "training": host or TrainingHost()}
        usual["on_training_line"] = lambda job, line: lines.append((job, line))
        return TrainingBench(made.enter_context(account(tmp_path, **usual | options)), usual["training"], lines)

    with ExitStack() as made:
        yield one


@pytest.fixture
def bench(make: Callable[..., TrainingBench]) -> TrainingBench:
    made = make()
    made.aws.standin.market.allow_training(["ml.g5.2xlarge"], 2)
    return made


def test_a_job_finds_its_files_and_its_output_goes_to_s3(bench: TrainingBench, tmp_path: Path) -> None:
    bench.aws.put("runs/job/input/corpus/corpus.txt", "# Title\n\nText.\n")
    bench.train(
        """
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
    assert bench.state() == ("Completed", "Completed")
    assert bench.aws.keys(OUTPUT) == [f"{OUTPUT}/data/metrics.json", f"{OUTPUT}/model/deep/adapter.bin"]
    seen = json.loads(bench.read("data/metrics.json"))
    assert seen["config"]["hyperparameters"] == {"epochs": "3"}
    assert seen["config"]["resourceconfig"]["hosts"] == ["algo-1"]
    assert seen["config"]["resourceconfig"]["current_instance_type"] == "ml.g5.2xlarge"
    assert set(seen["config"]["inputdataconfig"]) == {"code", "corpus", "model"}
    assert seen["data"] == ["code/train.py", "corpus/corpus.txt", "model/config.json", "model/deep/model.safetensors"]
    assert seen["linked"]
    environment = seen["environment"]
    assert (environment["TRAINING_JOB_NAME"], environment["CAPTUNE_ACCELERATOR"]) == ("job", "cpu")
    assert environment["HTTPS_PROXY"] == "http://127.0.0.1:9"
    assert environment["CACHE"].endswith("/training/job/cache") and "/opt/ml" not in environment["CACHE"]
    assert not {name for name in environment if name.startswith(("AWS_", "SM_", "VIRTUAL_ENV"))}
    assert ("job", "phase name=train") in bench.lines and ("job", "done") in bench.lines
    log = tmp_path / "standin/logs/training-job.log"
    assert "phase name=train" in log.read_text("utf-8")
    eventually(lambda: not (tmp_path / "standin/training/job").exists())
    assert [file for file in (tmp_path / "standin").rglob("*") if file.is_file()] == [log]
    assert (tmp_path / "weights/config.json").exists(), "links are removed, not followed"


@pytest.mark.parametrize(
    ("script", "changes", "reason"),
    [
        (
            "(root / 'output/failure').write_text('x' * 5000); sys.exit(3)",
            {},
            f"AlgorithmError: {'x' * 994}, exit code: 3",  # 1024 characters in all
        ),
        (
            """
            if host == "algo-1":
                time.sleep(600)
            (root / "output/failure").write_text("The second host is broken.")
            sys.exit(1)
            """,
            TWO | {"StoppingCondition": {"MaxRuntimeInSeconds": 10**6}},  # nobody waits for the first host's end
            "AlgorithmError: The second host is broken., exit code: 1",
        ),
    ],
    ids=["its own words, cut", "of another host"],
)
def test_a_failure_file_is_the_reason(bench: TrainingBench, script: str, changes: dict[str, Any], reason: str) -> None:
    bench.train(script, **changes)
    answer = bench.ended()
    assert (answer["TrainingJobStatus"], answer["FailureReason"]) == ("Failed", reason)
    assert bench.aws.keys(f"{OUTPUT}/model") == []


def test_a_killed_command_fails_the_job_with_its_signal(bench: TrainingBench) -> None:
    bench.train("print('ready', flush=True); time.sleep(600)")
    eventually(lambda: ("job", "ready") in bench.lines)
    pid = bench.host.pid_of("job")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    answer = bench.ended()
    assert answer["TrainingJobStatus"] == "Failed"
    assert "killed by signal 9 (SIGKILL)" in answer["FailureReason"]


def test_two_instances_are_two_hosts_with_separate_folders(bench: TrainingBench) -> None:
    bench.train(
        """
        seen = {"config": config["resourceconfig"], "address": os.environ["CAPTUNE_MEETING_POINT"]}
        (root / f"output/data/{host}.json").write_text(json.dumps(seen))
        (root / "output/data/both.txt").write_text(host)
        print("line of", host, flush=True)
        """,
        **TWO,
    )
    assert bench.state() == ("Completed", "Completed")
    seen = [json.loads(bench.read(f"data/{host}.json")) for host in ("algo-1", "algo-2")]
    assert [one["config"]["current_host"] for one in seen] == ["algo-1", "algo-2"]
    assert [one["config"]["hosts"] for one in seen] == [["algo-1", "algo-2"]] * 2
    assert seen[0]["address"] == seen[1]["address"] and seen[0]["address"].startswith("127.0.0.1:")
    assert bench.read("data/both.txt") == b"algo-1"
    assert [line for _, line in bench.lines if line.startswith("line of")] == ["line of algo-1"]


@pytest.mark.parametrize("hosts", [{}, TWO], ids=["one host", "two hosts"])
def test_a_stop_lets_every_host_save_what_it_has(bench: TrainingBench, hosts: dict[str, Any]) -> None:
    bench.train(
        """
        signal.signal(signal.SIGTERM, save)
        names = config["resourceconfig"]["hosts"]
        (root / "checkpoints/here").touch()
        while len(names) > 1 and len(list(root.parent.glob("algo-*/checkpoints/here"))) < len(names):
            time.sleep(0.01)
        print("ready", flush=True)
        time.sleep(600)
        """,
        **hosts,
    )
    bench.stop_when_ready()
    assert bench.state() == ("Stopped", "Stopped")
    names = ["algo-1", "algo-2"][: 2 if hosts else 1]
    assert bench.aws.keys(f"{OUTPUT}/model") == [f"{OUTPUT}/model/{name}" for name in names]


@pytest.mark.parametrize("seconds", [None, 20], ids=["stopped", "out of time"])
def test_a_command_that_ignores_its_end_is_killed_after_the_grace(bench: TrainingBench, seconds: int | None) -> None:
    changes = {"StoppingCondition": {"MaxRuntimeInSeconds": seconds}} if seconds else {}
    bench.train("signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)", **changes)
    if not seconds:
        bench.stop_when_ready()
        assert bench.aws.job("job")["TrainingJobStatus"] == "Stopping"
    assert bench.state() == ("Stopped", "MaxRuntimeExceeded" if seconds else "Stopped")


def test_a_missing_input_fails_the_job_before_it_trains(bench: TrainingBench) -> None:
    bench.train("", InputDataConfig=[channel("corpus", f"s3://{BUCKET}/nowhere/")])
    answer = bench.ended()
    assert answer["TrainingJobStatus"] == "Failed"
    assert f'No S3 objects found under S3 URL "s3://{BUCKET}/nowhere/"' in answer["FailureReason"]
    assert "Training" not in [step["Status"] for step in answer["SecondaryStatusTransitions"]]


@pytest.mark.parametrize("uri", [GATED, f"s3://{BUCKET}/code/"])
def test_an_input_that_the_role_may_not_read_fails_the_job(make: Callable[..., TrainingBench], uri: str) -> None:
    roles: list[str] = []

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "No policy allows it"}}, "ListObjectsV2")

    def refusing(role_arn: str) -> Any:
        roles.append(role_arn)
        client = new_client("s3")
        client.meta.events.register("before-call.s3", refuse)
        return client

    bench = make(s3_of=refusing)
    access = {"ModelAccessConfig": {"AcceptEula": True}} if uri == GATED else {}
    bench.aws.train("job", InputDataConfig=[channel("code", uri, **access)])
    answer = bench.ended()
    assert answer["TrainingJobStatus"] == "Failed"
    assert answer["FailureReason"].startswith("ClientError: Data download failed:")
    assert "AccessDenied" in answer["FailureReason"]
    assert set(roles) == {ROLE}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_command_dies_with_a_rehearsal_that_is_killed(tmp_path: Path) -> None:
    code = f"""
        import pathlib, sys, time
        sys.path[:0] = {[str(Path(__file__).parents[3])]!r}
        from rehearsal.sagemaker.real.container import Container
        root = pathlib.Path({str(tmp_path)!r})
        container = Container(["sleep", "600"], {{"PATH": {os.defpath!r}}}, root, root / "log", lambda line: None)
        while not container.pid:
            time.sleep(0.05)
        print(container.pid, flush=True)
        time.sleep(600)
    """
    rehearsal = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    try:
        assert rehearsal.stdout is not None
        pid = int(rehearsal.stdout.readline())
        os.kill(pid, 0)
    finally:
        rehearsal.kill()
        rehearsal.wait()
    eventually(lambda: has_ended(pid))


STEPS = """
found = sorted(int(path.name) for path in (root / "checkpoints").iterdir() if path.name.isdigit())  # no marks
for step in range((found or [0])[-1] + 1, 7):
    if step % 2 == 0:
        (root / "checkpoints" / str(step)).write_text("")
    print(f"progress step={step} steps=6", flush=True)
    time.sleep(600 if step == interrupted_at else 0)
time.sleep(1.1)  # billed seconds are whole
(root / "model" / "found.txt").write_text(str(found))
"""


@pytest.mark.parametrize(("changes", "interruptions", "found"), [(ON_SPOT, 1, b"[2]"), ({}, 0, b"[]")])
def test_on_spot_the_command_is_killed_and_goes_on_with_its_checkpoints(
    make: Callable[..., TrainingBench],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    changes: dict[str, Any],
    interruptions: int,
    found: bytes,
) -> None:
    monkeypatch.setattr(real, "SPOT_SECONDS", 0.2)
    bench = make(TrainingHost(interruptions=[3], checkpoints=tmp_path / "kept"), time_scale=1.0)
    waits = f'interrupted_at = {3 if interruptions else 0} if not any((root / "checkpoints").iterdir()) else 0\n'
    bench.train(waits + STEPS, **CHECKPOINTS, **changes)
    done = bench.ended()
    assert done["TrainingJobStatus"] == "Completed", done
    taken = [step["Status"] for step in done["SecondaryStatusTransitions"]].count("Interrupted")
    assert taken == interruptions
    assert (done["BillableTimeInSeconds"] < done["TrainingTimeInSeconds"]) == bool(interruptions)
    assert bench.read("model/found.txt") == found


KEPT = """
found = [path.name for path in (root / "checkpoints").iterdir()]
(root / "checkpoints" / f"step-{len(found)}").write_text("a")
print("ready", found, flush=True)
time.sleep(0 if found else 600)
"""


def test_the_checkpoints_of_a_job_that_is_cut_off_wait_for_the_next_until_one_completes(
    make: Callable[..., TrainingBench], tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    bench = make(TrainingHost(checkpoints=kept))
    bench.train(KEPT)
    eventually(lambda: ("job", "ready []") in bench.lines)
    bench.host.close()
    assert [path.name for path in (kept / "algo-1").iterdir()] == ["step-0"]
    bench.aws.train("next", InputDataConfig=[channel("code", f"s3://{BUCKET}/code/")])
    eventually(lambda: bench.aws.job("next")["TrainingJobStatus"] == "Completed")
    assert ("next", "ready ['step-0']") in bench.lines
    eventually(lambda: not kept.exists())


def test_checkpoints_come_back_and_are_deleted_with_the_jobs(bench: TrainingBench) -> None:
    bench.aws.put("runs/job/checkpoints/step-10/weights", b"of an earlier start")
    bench.train(
        """
        folder = root / "checkpoints"
        assert (folder / "step-10" / "weights").read_text("utf-8") == "of an earlier start"
        (folder / "step-20").mkdir()
        (folder / "step-20" / "weights").write_text("new")
        (folder / "step-20" / "half.sagemaker-ignore").write_text("not yet")
        shutil.rmtree(folder / "step-10")
        """,
        **CHECKPOINTS,
    )
    assert bench.state() == ("Completed", "Completed")
    assert bench.aws.keys("runs/job/checkpoints/") == ["runs/job/checkpoints/step-20/weights"]
