"""How many processes a job has, and where: a process for each GPU, on each host that resourceconfig.json names."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

# Set where a machine plays a host with so many GPUs, or several hosts at an address of its own. A job on AWS sets neither.
PROCESSES = "CAPTUNE_PROCESSES"
MEETING_POINT = "CAPTUNE_MEETING_POINT"
PORT = 29500  # torchrun's own; hosts of one job reach one another on every port


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


def read_layout(root: Path, environment: Mapping[str, str] = os.environ) -> Layout:
    """What <root>/input/config/resourceconfig.json says; one host where there is no such file, or it names none.

    Hosts of an instance type with GPUs have as many of them each, because a job's instances are all of one type.
    """
    try:
        found = json.loads((root / "input" / "config" / "resourceconfig.json").read_text(encoding="utf-8"))
        hosts = sorted({str(host) for host in found["hosts"]})
        current, interface = str(found["current_host"]), str(found.get("network_interface_name", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        hosts, current, interface = [], "", ""
    if current not in hosts:
        hosts, current = [current or "localhost"], current or "localhost"
    return Layout(
        hosts=tuple(hosts),
        current=current,
        interface=interface if len(hosts) > 1 else "",
        processes_per_host=int(environment.get(PROCESSES) or _gpus() or 1),
        meeting_point=environment.get(MEETING_POINT) or f"{hosts[0] if len(hosts) > 1 else '127.0.0.1'}:{PORT}",
    )


def _gpus() -> int:
    import torch  # seconds: what is wrong with the input has been told before

    return int(torch.cuda.device_count())
