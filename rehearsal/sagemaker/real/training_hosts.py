"""The hosts of one training job: a container each, in a separate folder, that find one another on this machine; and their checkpoints.

SageMaker keeps the checkpoint folder of every host and one folder in S3 alike; what training deletes is deleted there. Here it is
copied when the instance goes. Of the marks that SageMaker puts beside files it copies, training's own tests know.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rehearsal.sagemaker import s3_folders

from .container import Container, free_port

_LEFT_ALONE = ".sagemaker-ignore"


class Cluster:
    """The containers of a job as one, in the order of the hosts. The first one's lines are the job's."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.containers: list[Container] = []
        self._on_end = on_end

    def add(self, start: Callable[[Callable[[], None]], Container]) -> None:
        """Add the container that `start` makes, given what to call at its end."""
        known = threading.Event()

        def ended() -> None:
            known.wait()
            # A host that fails ends the job, whatever the others do.
            if self.first_failed is not None or self.has_ended:
                self._on_end()

        self.containers.append(start(ended))
        known.set()

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


def host_names(count: int) -> list[str]:
    """Return SageMaker's names of this number of hosts."""
    return [f"algo-{number}" for number in range(1, count + 1)]


def host_folders(root: Path, hosts: Sequence[str]) -> list[Path]:
    """The folder that plays /opt/ml on each host."""
    return [root] if len(hosts) == 1 else [root / host for host in hosts]


def resource_config(instance: str, hosts: Sequence[str], current: str) -> dict[str, Any]:
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


def environment(hosts: Sequence[str]) -> dict[str, str]:
    """Return what several hosts on one machine need: an address to meet at, as their names do not resolve here, and a share of the cores each."""
    if len(hosts) == 1:
        return {}
    cores = max(1, (os.cpu_count() or 1) // len(hosts))
    return {"CAPTUNE_MEETING_POINT": f"127.0.0.1:{free_port()}", "OMP_NUM_THREADS": str(cores)}


def keep_checkpoints(s3: Any, folders: Sequence[Path], uri: str) -> None:
    """Make an S3 folder hold what the hosts' folders do, the first host's file where several have one name, and nothing else."""
    bucket, prefix = s3_folders.split(f"{uri.rstrip('/')}/")
    kept: set[str] = set()
    for folder in reversed(folders):
        for path in sorted(folder.rglob("*")):
            if path.name.endswith(_LEFT_ALONE) or not path.is_file():
                continue
            key = f"{prefix}{path.relative_to(folder).as_posix()}"
            s3.upload_file(str(path), bucket, key)
            kept.add(key)
    for key in set(s3_folders.keys(s3, bucket, prefix)) - kept:
        s3.delete_object(Bucket=bucket, Key=key)
