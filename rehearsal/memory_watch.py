"""How much memory each process of a rehearsal takes at its peak, watched from outside."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import psutil

ROLES = (("train.py", "training"), ("model_server", "model server"), ("worker.py", "Lambda functions"))
OWN = "rehearsal itself"
INTERVAL_SECONDS = 1.0
_STATUS = re.compile(r"^Rss(Anon|Shmem|File):\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True)
class Memory:
    """Bytes that belong to a process alone, and bytes of files that it maps: those the system may take back and read anew."""

    own: int = 0
    mapped: int = 0

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.own + other.own, self.mapped + other.mapped)


@dataclass(frozen=True)
class Reading:
    """One process at one moment."""

    command: str
    memory: Memory


def memory_of(status: str) -> Memory:
    """Of the text of Linux's /proc/PID/status: counters, where adding up the maps of 13 GB would take a third of a core."""
    found = {name: int(value) * 1024 for name, value in _STATUS.findall(status)}
    return Memory(found.get("Anon", 0) + found.get("Shmem", 0), found.get("File", 0))


def read_processes() -> list[Reading]:
    """This process and all that descend from it; one that ends meanwhile is left out."""
    own = psutil.Process()
    readings = []
    for process in [own, *own.children(recursive=True)]:
        try:
            command = OWN if process.pid == own.pid else " ".join(process.cmdline())
            if psutil.LINUX:
                memory = memory_of(Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8"))
            else:
                memory = Memory(process.memory_info().rss)
        except (psutil.Error, OSError):
            continue
        readings.append(Reading(command, memory))
    return readings


@dataclass
class MemoryWatch:
    """Reads the processes' memory again and again while its `with` block runs.

    Attributes:
        peaks: most of the processes of each role together, own and mapped each at its own moment.
        peak_own: most bytes that all of them had for themselves at one moment.
        least_available: fewest bytes that the machine had left for others.
    """

    read: Callable[[], Iterable[Reading]] = read_processes
    available: Callable[[], int] = lambda: int(psutil.virtual_memory().available)
    peaks: dict[str, Memory] = field(default_factory=dict)
    peak_own: int = 0
    least_available: int = 2**63

    def look(self) -> None:
        """Takes one reading."""
        sums: dict[str, Memory] = {}
        for reading in self.read():
            role = next((role for part, role in ROLES if part in reading.command), None)
            name = role or (OWN if reading.command == OWN else "other processes")
            sums[name] = sums.get(name, Memory()) + reading.memory
        for name, now in sums.items():
            before = self.peaks.get(name, Memory())
            self.peaks[name] = Memory(max(before.own, now.own), max(before.mapped, now.mapped))
        self.peak_own = max(self.peak_own, sum(memory.own for memory in sums.values()))
        self.least_available = min(self.least_available, self.available())

    def __enter__(self) -> MemoryWatch:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True, name="memory watch")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _loop(self) -> None:
        self.look()
        while not self._ended.wait(INTERVAL_SECONDS):
            self.look()
