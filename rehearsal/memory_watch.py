"""How much memory each process of a rehearsal takes at its peak, watched from outside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType

import psutil

ROLES = (("train.py", "training"), ("model_server", "model server"), ("worker.py", "Lambda functions"))
OWN = "rehearsal itself"
INTERVAL_SECONDS = 0.5


@dataclass(frozen=True)
class Reading:
    """One process at one moment: its command line, and the bytes of memory that are its own or shared in proportion."""

    command: str
    bytes: int


def read_processes() -> list[Reading]:
    """This process and all that descend from it; one that ends meanwhile is left out."""
    own = psutil.Process()
    readings = []
    for process in [own, *own.children(recursive=True)]:
        try:
            memory = process.memory_full_info() if psutil.LINUX else process.memory_info()
            command = OWN if process.pid == own.pid else " ".join(process.cmdline())
            readings.append(Reading(command, getattr(memory, "pss", memory.rss)))
        except psutil.Error:
            continue
    return readings


@dataclass
class MemoryWatch:
    """Reads the processes' memory again and again while its `with` block runs.

    Attributes:
        peaks: most bytes of the processes of each role together, at any moment.
        peak: most bytes of all together.
        least_available: fewest bytes that the machine had left for others.
    """

    read: Callable[[], Iterable[Reading]] = read_processes
    available: Callable[[], int] = lambda: int(psutil.virtual_memory().available)
    peaks: dict[str, int] = field(default_factory=dict)
    peak: int = 0
    least_available: int = 2**63

    def look(self) -> None:
        """Takes one reading."""
        sums: dict[str, int] = {}
        for reading in self.read():
            role = next((role for part, role in ROLES if part in reading.command), None)
            name = role or (OWN if reading.command == OWN else "other processes")
            sums[name] = sums.get(name, 0) + reading.bytes
        for name, value in sums.items():
            self.peaks[name] = max(self.peaks.get(name, 0), value)
        self.peak = max(self.peak, sum(sums.values()))
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
