"""How many processes a job has and where, and their parent: it starts them with torchrun, passes a stop signal on, and ends when one fails."""

import ctypes
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from failure import TrainingFailure
from progress import Clock

# Set where one machine stands in for a host with several GPUs, or for several hosts that meet at this address. A job on AWS sets neither.
PROCESSES = "CAPTUNE_PROCESSES"
MEETING_POINT = "CAPTUNE_MEETING_POINT"
PORT = 29500  # torchrun's own; hosts of one job reach one another on every port
STARTED = "CAPTUNE_STARTED"  # the parent's start by the machine's clock: its processes have the time that is left
_PARENT_GONE = 1  # PR_SET_PDEATHSIG
_POLL_SECONDS = 0.2
# A process of Python that is younger may not listen to signals yet, and would be killed by one.
_LISTENS_AFTER_SECONDS = 3.0


@dataclasses.dataclass(frozen=True)
class Layout:
    """The hosts in the order of their ranks, this one among them, and the processes on each."""

    hosts: tuple[str, ...]
    current: str
    interface: str  # the network interface between the hosts, such as "eth0"
    processes_per_host: int
    meeting_point: str  # host:port, on the first host

    @property
    def processes(self) -> int:
        """How many in all."""
        return len(self.hosts) * self.processes_per_host

    @property
    def host_rank(self) -> int:
        """This host's place among them; the first has the process that speaks and writes."""
        return self.hosts.index(self.current)


def read_resources(root: Path) -> dict[str, Any]:
    """SageMaker's resourceconfig.json; empty where there is none, or none that can be read."""
    try:
        return dict(json.loads((root / "input" / "config" / "resourceconfig.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def read_layout(root: Path, environment: Mapping[str, str] = os.environ) -> Layout:
    """What <root>/input/config/resourceconfig.json says; one host where there is no such file, or it names none.

    Hosts of an instance type with GPUs have as many of them each, because a job's instances are all of one type.
    """
    found = read_resources(root)
    current, hosts = str(found.get("current_host") or "localhost"), sorted(map(str, found.get("hosts") or []))
    if current not in hosts:
        hosts = [current]
    return Layout(
        hosts=tuple(hosts),
        current=current,
        interface=str(found.get("network_interface_name", "")) if len(hosts) > 1 else "",
        processes_per_host=int(environment.get(PROCESSES) or _gpus() or 1),
        meeting_point=environment.get(MEETING_POINT) or f"{hosts[0] if len(hosts) > 1 else '127.0.0.1'}:{PORT}",
    )


def _gpus() -> int:
    import torch  # takes seconds: a wrong input has been reported before

    return int(torch.cuda.device_count())


def described(environment: Mapping[str, str] = os.environ) -> str:
    """This process among several, such as "process 3 of 4 (number 1 on host 2)"."""
    rank, host = int(environment["RANK"]) + 1, int(environment["GROUP_RANK"]) + 1
    return f"process {rank} of {environment['WORLD_SIZE']} (number {int(environment['LOCAL_RANK']) + 1} on host {host})"


def end_with_parent() -> None:
    """From now on the kernel kills this process when its parent ends: otherwise it would wait, and bill, for the others."""
    ctypes.CDLL(None).prctl(_PARENT_GONE, signal.SIGKILL)


def command(layout: Layout, words: Sequence[str]) -> list[str]:
    """torchrun for this host's processes, each of which runs `words` with this interpreter."""
    address, _, port = layout.meeting_point.rpartition(":")
    return [
        sys.executable, "-m", "torch.distributed.run",
        f"--nnodes={len(layout.hosts)}", f"--node-rank={layout.host_rank}", f"--nproc-per-node={layout.processes_per_host}",
        f"--master-addr={address}", f"--master-port={port}", *words,
    ]  # fmt: skip


def run(layout: Layout, words: Sequence[str], clock: Clock) -> int:
    """Starts this host's processes and returns torchrun's exit code: 0 when all have ended well.

    The first that fails ends the others. SIGTERM and SIGINT go to the processes and not to torchrun, which would kill them.
    """
    environment = {**os.environ, STARTED: str(clock.started)}
    if layout.interface:
        environment |= dict.fromkeys(("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"), layout.interface)
    signalled: set[int] = set()
    with subprocess.Popen(
        command(layout, words), env=environment, start_new_session=True, preexec_fn=end_with_parent
    ) as torchrun:
        while torchrun.poll() is None:
            if clock.stop_requested:
                _pass_on_stop(torchrun.pid, signalled)
            time.sleep(_POLL_SECONDS)
    return torchrun.returncode


def _pass_on_stop(torchrun: int, signalled: set[int]) -> None:
    try:
        for child in psutil.Process(torchrun).children():
            if child.pid not in signalled and time.time() - child.create_time() > _LISTENS_AFTER_SECONDS:
                signalled.add(child.pid)
                child.send_signal(signal.SIGTERM)
    except psutil.NoSuchProcess:
        pass  # it has just ended


def ended_silently(layout: Layout) -> TrainingFailure:
    """What is known where a process has left no reason."""
    hosts = f" on {len(layout.hosts)} hosts" if len(layout.hosts) > 1 else ""
    return TrainingFailure(
        f"One of the {layout.processes} processes{hosts} ended without a reason: it was killed, mostly for lack of memory, "
        "or a host was lost or never reached.",
        "The job's logs hold one stream for each host. Start again; if it comes back, choose an instance type with more memory.",
    )
