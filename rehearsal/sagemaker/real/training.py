"""Training jobs for real: the container's command runs here, with the files that SageMaker promises it."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rehearsal.sagemaker import s3_folders
from rehearsal.sagemaker.engines import Attached
from rehearsal.sagemaker.records import TrainingJob

from . import checkpoint_agent, cluster
from .checkpoint_agent import CheckpointAgent
from .cluster import Cluster
from .container import Container, clear_away, command_of, environment_of, signal_of

GRACE = 120  # seconds between SIGTERM and SIGKILL, SageMaker's own
# resourceconfig.json says ml.g5.2xlarge and this machine has no GPU: without this permission the training script would refuse,
# as it should on AWS.
NO_GPU = {"CAPTUNE_ACCELERATOR": "cpu"}
# Real seconds until another spot instance comes.
SPOT_SECONDS = 3.0
_STEP = re.compile(r"progress step=(\d+) ")
_FAILURE_LENGTH = 1024  # characters of output/failure that become FailureReason


class _Run:
    """One job on its way: why and when it is to end early."""

    def __init__(self, interruptions: Sequence[int] = ()) -> None:
        self.wake = threading.Event()
        self.stopped = self.closed = self.taken = False
        self.interruptions = sorted(interruptions)
        self.begun = time.monotonic()
        self.cluster: Cluster | None = None
        self.thread: threading.Thread | None = None


class TrainingHost(Attached):
    """Runs each training job's command as a subprocess in a folder of its own.

    `interruptions` are the steps at which a job on spot loses its instance: its command is killed without notice, and what it
    has written as checkpoints comes back with the next instance.
    """

    def __init__(self, interruptions: Sequence[int] = ()) -> None:
        self._interruptions = tuple(interruptions)
        self._runs: dict[str, _Run] = {}

    def log_of(self, name: str, host: int = 0) -> Path:
        """Return the file that holds the output of a job's host."""
        return self.context.workdir / "logs" / f"training-{name}{f'-{host + 1}' if host else ''}.log"

    def pid_of(self, name: str) -> int | None:
        """Return the process id of a job's command on its first host while it runs there."""
        run = self._runs.get(name)
        if run is None or run.cluster is None or not run.cluster.containers:
            return None
        container = run.cluster.containers[0]
        return None if container.ended.is_set() else container.pid

    def start(self, job: TrainingJob) -> None:
        """Begin a job on a thread of its own."""
        run = self._runs[job.name] = _Run(self._interruptions if job.is_spot else ())
        run.thread = threading.Thread(target=self._run, args=(job, run), daemon=True, name=f"job {job.name}")
        run.thread.start()

    def observed(self, job: TrainingJob) -> None:
        """Nothing: time passes by itself here."""

    def stop(self, job: TrainingJob) -> None:
        """Have the command stopped: SIGTERM, 120 seconds, SIGKILL."""
        run = self._runs[job.name]
        run.stopped = True
        run.wake.set()

    def close(self) -> None:
        """Kill every command and wait until its folder is gone."""
        runs = list(self._runs.values())
        for run in runs:
            run.closed = True
            run.wake.set()
        for run in runs:
            if run.thread is not None:
                run.thread.join()

    def _run(self, job: TrainingJob, run: _Run) -> None:
        root = (self.context.workdir / "training" / job.name).resolve()
        try:
            hosts = cluster.names(int(job.request["ResourceConfig"]["InstanceCount"]))
            roots = cluster.folders(root, hosts)
            while True:
                job.enter("Starting", "Launching requested ML instances")
                job.enter("Downloading", "Downloading input data")
                clear_away(root)
                for host, folder in zip(hosts, roots, strict=True):
                    self._prepare(job, folder, hosts, host)
                with CheckpointAgent([folder / "checkpoints" for folder in roots]):
                    self._train(job, run, roots, hosts)
                if not run.taken:
                    break
                job.interrupt()
                self._keep_checkpoints(job, roots)
                self._await_another_instance(job, run)
                if job.is_over:
                    break
        except s3_folders.DownloadFailed as error:
            job.finish("Failed", reason=str(error))
        except Exception as error:
            job.finish("Failed", reason=f"InternalServerError: We encountered an internal error: {error!r}")
        finally:
            if run.cluster is not None:
                run.cluster.kill()
            clear_away(root)

    def _prepare(self, job: TrainingJob, root: Path, hosts: Sequence[str], host: str) -> None:
        context, request = self.context, job.request
        s3 = context.s3_of(request["RoleArn"])
        for folder in ("input/config", "input/data", "model", "output/data", "checkpoints"):
            (root / folder).mkdir(parents=True)
        channels: dict[str, Any] = {}
        for channel in request.get("InputDataConfig") or []:
            name, source = channel["ChannelName"], channel["DataSource"]["S3DataSource"]
            s3_folders.fetch(s3, source["S3Uri"], root / "input/data" / name, context.gated_weights)
            mode = channel.get("InputMode") or request["AlgorithmSpecification"]["TrainingInputMode"]
            channels[name] = {
                "TrainingInputMode": mode,
                "RecordWrapperType": "None",
                "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
            }
        checkpoints = (request.get("CheckpointConfig") or {}).get("S3Uri")
        if checkpoints:
            # SageMaker brings back earlier checkpoints; that there are none is usual and no failure.
            with contextlib.suppress(s3_folders.DownloadFailed):
                s3_folders.fetch(s3, checkpoints.rstrip("/") + "/", root / "checkpoints", None)
        files = {
            "hyperparameters": dict(request.get("HyperParameters") or {}),
            "inputdataconfig": channels,
            "resourceconfig": cluster.resource_config(request["ResourceConfig"]["InstanceType"], hosts, host),
        }
        for name, content in files.items():
            (root / f"input/config/{name}.json").write_text(json.dumps(content), encoding="utf-8")

    def _train(self, job: TrainingJob, run: _Run, roots: Sequence[Path], hosts: Sequence[str]) -> None:
        algorithm = job.request["AlgorithmSpecification"]
        words = [*(algorithm.get("ContainerEntrypoint") or []), *(algorithm.get("ContainerArguments") or [])]
        if not words:
            job.finish("Failed", reason="ClientError: The rehearsal has no images: name a ContainerEntrypoint.")
            return
        given = {"TRAINING_JOB_NAME": job.name, "TRAINING_JOB_ARN": job.arn} | (job.request.get("Environment") or {})
        given |= NO_GPU | cluster.environment(hosts)
        isolated = bool(job.request.get("EnableNetworkIsolation"))
        if run.stopped or run.closed:
            job.finish("Stopped")
            return
        run.cluster = Cluster(run.wake.set)
        for number, root in enumerate(roots):
            run.cluster.add(
                self._starter(job, run, words, environment_of(given, root, isolated=isolated), root, number)
            )
        job.enter("Training", "Training image download completed. Training in progress.")
        out_of_time = self._await(job, run, run.cluster)
        if run.taken and not (run.closed or run.stopped):
            return
        run.taken = False
        if run.closed:
            job.finish("Stopped", reason="The rehearsal ended while the job ran.")
            return
        self._end(job, run, roots, run.cluster, out_of_time)

    def _starter(
        self, job: TrainingJob, run: _Run, words: Sequence[str], environment: Mapping[str, str], root: Path, number: int
    ) -> Callable[[Callable[[], None]], Container]:
        def heard(line: str) -> None:
            if number == 0:
                self._heard(job, run, line)

        log = self.log_of(job.name, number)
        return lambda on_end: Container(command_of(words, root), environment, root, log, heard, on_end)

    def _heard(self, job: TrainingJob, run: _Run, line: str) -> None:
        """A line of the first host's output. At the step that the next interruption waits for, the instances are gone."""
        told = _STEP.match(line)
        if told and run.interruptions and run.cluster and int(told[1]) >= run.interruptions[0]:
            run.interruptions.pop(0)
            run.taken = True
            run.cluster.kill()
        self.context.on_training_line(job.name, line)

    def _await_another_instance(self, job: TrainingJob, run: _Run) -> None:
        run.wake.clear()
        run.taken = False
        if not (run.stopped or run.closed):
            run.wake.wait(SPOT_SECONDS)
        if run.stopped or run.closed:
            job.finish("Stopped")
        elif time.monotonic() - run.begun > job.max_wait.total_seconds() * self.context.time_scale:
            job.finish("Stopped", "MaxWaitTimeExceeded")
        run.wake.clear()

    def _await(self, job: TrainingJob, run: _Run, hosts: Cluster) -> bool:
        """Wait for the end of all hosts, hasten it where needed, and return whether their time was up."""
        scale = self.context.time_scale
        run.wake.wait(max(0.0, job.max_runtime.total_seconds() * scale - job.ran_seconds(job.clock())))
        if hosts.has_ended:
            return False
        out_of_time = not run.stopped and not run.closed and hosts.first_failed is None
        if not run.closed:
            hosts.terminate()
            grace = time.monotonic() + GRACE * scale
            while not run.closed and time.monotonic() < grace and not hosts.wait(0.05):
                pass
        hosts.kill()
        hosts.wait()
        return out_of_time

    def _end(self, job: TrainingJob, run: _Run, roots: Sequence[Path], hosts: Cluster, out_of_time: bool) -> None:
        failed = hosts.first_failed
        s3 = self.context.s3_of(job.request["RoleArn"])
        code, early = 0 if failed is None else hosts.containers[failed].exit_code, out_of_time or run.stopped
        try:
            if code == 0 or early:
                job.enter("Uploading", "Uploading generated training model")
            for root in reversed(roots):  # the first host's files last, for they are the ones that count
                if code == 0 or early:
                    s3_folders.store(s3, root / "model", job.artifacts)
                s3_folders.store(s3, root / "output/data", f"{job.output_prefix}/data")
            self._keep_checkpoints(job, roots)
        except Exception as error:
            job.finish("Failed", reason=f"ClientError: Artifact upload failed: {error}")
            return
        if early:
            job.finish("Stopped", "MaxRuntimeExceeded" if out_of_time else None)
        elif code == 0:
            job.finish("Completed")
        else:
            job.finish("Failed", reason=_failure(roots[failed or 0], code))

    def _keep_checkpoints(self, job: TrainingJob, roots: Sequence[Path]) -> None:
        """Bring them to the bucket."""
        checkpoints = (job.request.get("CheckpointConfig") or {}).get("S3Uri")
        if checkpoints:
            s3 = self.context.s3_of(job.request["RoleArn"])
            checkpoint_agent.keep(s3, [root / "checkpoints" for root in roots], checkpoints)


def _failure(root: Path, code: int) -> str:
    said = ""
    with contextlib.suppress(OSError):
        said = (root / "output/failure").read_text(encoding="utf-8", errors="replace").strip()
    killer = signal_of(code)
    if killer:
        said = f"{said} The training process was killed by {killer}.".strip()
    tail = f", exit code: {code}"
    return f"AlgorithmError: {said}"[: _FAILURE_LENGTH - len(tail)] + tail
