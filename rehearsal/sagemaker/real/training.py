"""Training jobs for real: the container's command runs here on each host, with the files that SageMaker promises it."""

import contextlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rehearsal.sagemaker import s3_folders
from rehearsal.sagemaker.engines import TrainingEngine
from rehearsal.sagemaker.store import TrainingJob

from .container import Container, command_of, environment_of, free_port, signal_of

GRACE = 120  # seconds between SIGTERM and SIGKILL, SageMaker's own
# resourceconfig.json says ml.g5.2xlarge and this machine has no GPU: without this permission the training script would refuse,
# as it should on AWS.
NO_GPU = {"CAPTUNE_ACCELERATOR": "cpu"}
SPOT_SECONDS = 3.0  # real seconds until another spot instance comes
LOOK_SECONDS = 0.05  # between two looks whether a host has ended
_STEP = re.compile(r"progress step=(\d+) ")
_LEFT_ALONE = ".sagemaker-ignore"  # how files end that are no checkpoints
_FAILURE_LENGTH = 1024  # characters of output/failure that become FailureReason


@dataclass
class Cluster:
    """The containers of a job as one, in the order of the hosts. The first one's lines are the job's."""

    containers: list[Container] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        """Whether every host has."""
        return all(container.ended.is_set() for container in self.containers)

    @property
    def first_failed(self) -> int | None:
        """The number of the host whose command failed first, by the machine's clock: the ends may be reported in another order."""
        failed = {
            number: container.ended_at or 0.0
            for number, container in enumerate(self.containers)
            if container.ended.is_set() and container.exit_code != 0
        }
        return min(failed, key=failed.__getitem__, default=None)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end of every host; return whether it came in time."""
        return all(container.ended.wait(seconds) for container in self.containers)

    def terminate(self) -> None:
        """Ask every host to end."""
        for container in self.containers:
            container.terminate()

    def kill(self) -> None:
        """End every host and everything it started, at once."""
        for container in self.containers:
            container.kill()


class _Run:
    """One job on its way: its hosts, and why it is to end early."""

    def __init__(self, job: TrainingJob, folder: Path, interruptions: Sequence[int]) -> None:
        self.job = job
        self.ends_early = threading.Event()  # somebody has stopped the job or closed the rehearsal
        self.closed = self.taken = False
        self.interruptions = sorted(interruptions)
        self.begun = time.monotonic()
        self.hosts = [f"algo-{number}" for number in range(1, job.instance_count + 1)]
        self.root = folder.resolve()
        self.roots = (
            [self.root] if len(self.hosts) == 1 else [self.root / host for host in self.hosts]
        )  # each plays /opt/ml
        self.cluster = Cluster()
        self.thread: threading.Thread | None = None

    @property
    def checkpoints_uri(self) -> str:
        """The S3 folder of the job's checkpoints; empty where it keeps none."""
        return str((self.job.request.get("CheckpointConfig") or {}).get("S3Uri", ""))


class TrainingHost(TrainingEngine):
    """Runs each training job's command as a subprocess in a separate folder.

    `interruptions` are the steps at which a job on spot loses its instance: its command is killed without notice, and the
    checkpoints that it has written come back with the next instance. A job's checkpoints are in `checkpoints`, where that is given: it may
    hold those of an earlier job, and is removed when one completes.
    """

    def __init__(self, interruptions: Sequence[int] = (), checkpoints: Path | None = None) -> None:
        self._interruptions, self._checkpoints = tuple(interruptions), checkpoints
        self._runs: dict[str, _Run] = {}

    def log_of(self, name: str, host: int = 0) -> Path:
        """Return the file that holds the output of a job's host."""
        return self.context.workdir / "logs" / f"training-{name}{f'-{host + 1}' if host else ''}.log"

    def pid_of(self, name: str) -> int | None:
        """Return the process id of a job's command on its first host while it runs there."""
        containers = self._runs[name].cluster.containers if name in self._runs else []
        return containers[0].pid if containers and not containers[0].ended.is_set() else None

    def start(self, job: TrainingJob) -> None:
        """Begin a job on a new thread."""
        interruptions = self._interruptions if job.is_spot else ()
        run = self._runs[job.name] = _Run(job, self.context.workdir / "training" / job.name, interruptions)
        run.thread = threading.Thread(target=self._run, args=(run,), daemon=True, name=f"job {job.name}")
        run.thread.start()

    def stop(self, job: TrainingJob) -> None:
        """Have the command stopped: SIGTERM, 120 seconds, SIGKILL."""
        self._runs[job.name].ends_early.set()

    def close(self) -> None:
        """Kill every command and wait until its folder is removed."""
        runs = list(self._runs.values())
        for run in runs:
            run.closed = True
            run.ends_early.set()
        for run in runs:
            if run.thread is not None:
                run.thread.join()

    def _run(self, run: _Run) -> None:
        job = run.job
        try:
            while not job.is_over:
                job.enter("Starting", "Launching requested ML instances")
                job.enter("Downloading", "Downloading input data")
                shutil.rmtree(run.root, ignore_errors=True)
                for host, root in zip(run.hosts, run.roots, strict=True):
                    self._prepare(run, root, host)
                self._train(run)
                if run.taken:
                    job.interrupt()
                    self._keep_checkpoints(run)
                    self._forget_checkpoints()  # the next instance has those of S3
                    self._await_another_instance(run)
        except s3_folders.DownloadFailed as error:
            job.finish("Failed", reason=str(error))
        except Exception as error:
            job.finish("Failed", reason=f"InternalServerError: We encountered an internal error: {error!r}")
        finally:
            run.cluster.kill()
            shutil.rmtree(run.root, ignore_errors=True)
            if job.status == "Completed":
                self._forget_checkpoints()

    def _forget_checkpoints(self) -> None:
        if self._checkpoints:
            shutil.rmtree(self._checkpoints, ignore_errors=True)

    def _s3(self, job: TrainingJob) -> Any:
        return self.context.s3_of(job.request["RoleArn"])

    def _prepare(self, run: _Run, root: Path, host: str) -> None:
        request, s3 = run.job.request, self._s3(run.job)
        for folder in ("input/config", "input/data", "model", "output/data"):
            (root / folder).mkdir(parents=True)
        if self._checkpoints:
            kept = self._checkpoints.absolute() / host
            kept.mkdir(parents=True, exist_ok=True)
            (root / "checkpoints").symlink_to(kept, target_is_directory=True)
        else:
            (root / "checkpoints").mkdir()
        channels: dict[str, Any] = {}
        for channel in request.get("InputDataConfig") or []:
            name, source = channel["ChannelName"], channel["DataSource"]["S3DataSource"]
            s3_folders.fetch(s3, source["S3Uri"], root / "input/data" / name, self.context.gated_weights)
            mode = channel.get("InputMode") or request["AlgorithmSpecification"]["TrainingInputMode"]
            distribution = source.get("S3DataDistributionType", "FullyReplicated")
            channels[name] = {"TrainingInputMode": mode, "S3DistributionType": distribution}
        if run.checkpoints_uri:
            # SageMaker brings back earlier checkpoints; that there are none is usual and no failure.
            with contextlib.suppress(s3_folders.DownloadFailed):
                s3_folders.fetch(s3, run.checkpoints_uri.rstrip("/") + "/", root / "checkpoints", None)
        files = {
            "hyperparameters": dict(request.get("HyperParameters") or {}),
            "inputdataconfig": channels,
            "resourceconfig": _resource_config(run.job.instance_type, run.hosts, host),
        }
        for name, content in files.items():
            (root / f"input/config/{name}.json").write_text(json.dumps(content), encoding="utf-8")

    def _train(self, run: _Run) -> None:
        job, algorithm = run.job, run.job.request["AlgorithmSpecification"]
        words = [*(algorithm.get("ContainerEntrypoint") or []), *(algorithm.get("ContainerArguments") or [])]
        if not words:
            job.finish("Failed", reason="ClientError: The rehearsal has no images: name a ContainerEntrypoint.")
            return
        if run.ends_early.is_set():
            job.finish("Stopped")
            return
        given = {"TRAINING_JOB_NAME": job.name, "TRAINING_JOB_ARN": job.arn} | (job.request.get("Environment") or {})
        given |= NO_GPU | _together(run.hosts)
        run.cluster = Cluster()
        for number in range(len(run.hosts)):
            run.cluster.containers.append(self._container(run, words, given, number))
        job.enter("Training", "Training image download completed. Training in progress.")
        out_of_time = self._await_end(run)
        run.taken = run.taken and not run.ends_early.is_set()
        if run.closed:
            job.finish("Stopped", reason="The rehearsal ended while the job ran.")
        elif not run.taken:
            self._upload(run, out_of_time)

    def _container(self, run: _Run, words: Sequence[str], given: Mapping[str, str], number: int) -> Container:
        root = run.roots[number]
        environment = environment_of(given, root, isolated=bool(run.job.request.get("EnableNetworkIsolation")))
        on_line = partial(self._on_line, run) if number == 0 else lambda line: None
        return Container(command_of(words, root), environment, root, self.log_of(run.job.name, number), on_line)

    def _on_line(self, run: _Run, line: str) -> None:
        """Take a line of the first host. At the step that the next interruption waits for, the instances are lost."""
        step = _STEP.match(line)
        if step and run.interruptions and int(step[1]) >= run.interruptions[0]:
            run.interruptions.pop(0)
            run.taken = True
            run.cluster.kill()
        self.context.on_training_line(run.job.name, line)

    def _await_another_instance(self, run: _Run) -> None:
        run.taken = False
        if run.ends_early.wait(SPOT_SECONDS):
            run.job.finish("Stopped")
        elif time.monotonic() - run.begun > run.job.max_wait.total_seconds() * self.context.time_scale:
            run.job.finish("Stopped", "MaxWaitTimeExceeded")

    def _await_end(self, run: _Run) -> bool:
        """Wait for the end of all hosts, hasten it where needed, and return whether their time was up."""
        job, hosts, scale = run.job, run.cluster, self.context.time_scale
        longest = time.monotonic() + job.max_runtime.total_seconds() * scale - job.ran_seconds(job.clock())
        # A host that fails ends the job, whatever the others do.
        while not hosts.has_ended and hosts.first_failed is None and time.monotonic() < longest:
            if run.ends_early.wait(LOOK_SECONDS):
                break
        if hosts.has_ended:
            return False
        out_of_time = not run.ends_early.is_set() and hosts.first_failed is None
        if not run.closed:
            hosts.terminate()
            grace = time.monotonic() + GRACE * scale
            while not run.closed and time.monotonic() < grace and not hosts.wait(LOOK_SECONDS):
                pass
        hosts.kill()
        hosts.wait()
        return out_of_time

    def _upload(self, run: _Run, out_of_time: bool) -> None:
        job, s3, failed = run.job, self._s3(run.job), run.cluster.first_failed
        code, early = (
            0 if failed is None else run.cluster.containers[failed].exit_code,
            out_of_time or run.ends_early.is_set(),
        )
        try:
            if code == 0 or early:
                job.enter("Uploading", "Uploading generated training model")
            for root in reversed(run.roots):  # the first host's files last, for they are the ones that count
                if code == 0 or early:
                    s3_folders.store(s3, root / "model", job.artifacts)
                s3_folders.store(s3, root / "output/data", f"{job.output_prefix}/data")
            self._keep_checkpoints(run)
        except Exception as error:
            job.finish("Failed", reason=f"ClientError: Artifact upload failed: {error}")
            return
        if early:
            job.finish("Stopped", "MaxRuntimeExceeded" if out_of_time else None)
        elif code == 0:
            job.finish("Completed")
        else:
            job.finish("Failed", reason=_failure(run.roots[failed or 0], code))

    def _keep_checkpoints(self, run: _Run) -> None:
        """Make the S3 folder of checkpoints hold what the hosts' folders do, the first host's file where several have one name, and nothing else.

        SageMaker keeps the folder of every host and the one in S3 alike, and what training deletes is deleted there; here it is copied when
        the instance goes. Of the marks that SageMaker puts beside files it copies, training's own tests know.
        """
        if not run.checkpoints_uri:
            return
        s3, (bucket, prefix) = self._s3(run.job), s3_folders.split(f"{run.checkpoints_uri.rstrip('/')}/")
        kept: set[str] = set()
        for folder in (root / "checkpoints" for root in reversed(run.roots)):
            for path in sorted(folder.rglob("*")):
                if path.name.endswith(_LEFT_ALONE) or not path.is_file():
                    continue
                key = f"{prefix}{path.relative_to(folder).as_posix()}"
                s3.upload_file(str(path), bucket, key)
                kept.add(key)
        for key in set(s3_folders.keys(s3, bucket, prefix)) - kept:
            s3.delete_object(Bucket=bucket, Key=key)


def _failure(root: Path, code: int) -> str:
    reason = ""
    with contextlib.suppress(OSError):
        reason = (root / "output/failure").read_text(encoding="utf-8", errors="replace").strip()
    killer = signal_of(code)
    if killer:
        reason = f"{reason} The training process was killed by {killer}.".strip()
    tail = f", exit code: {code}"
    return f"AlgorithmError: {reason}"[: _FAILURE_LENGTH - len(tail)] + tail


def _resource_config(instance: str, hosts: Sequence[str], current: str) -> dict[str, Any]:
    """Return the content of a host's resourceconfig.json."""
    group = {"instance_group_name": "homogeneousCluster", "instance_type": instance, "hosts": list(hosts)}
    return {
        "current_host": current,
        "current_instance_type": instance,
        "hosts": list(hosts),
        "current_group_name": "homogeneousCluster",
        "instance_groups": [group],
        "network_interface_name": "lo",
    }


def _together(hosts: Sequence[str]) -> dict[str, str]:
    """Return what several hosts on one machine need: an address to meet at, as their names do not resolve here, and a share of the cores each."""
    if len(hosts) == 1:
        return {}
    cores = max(1, (os.cpu_count() or 1) // len(hosts))
    return {"CAPTUNE_MEETING_POINT": f"127.0.0.1:{free_port()}", "OMP_NUM_THREADS": str(cores)}
