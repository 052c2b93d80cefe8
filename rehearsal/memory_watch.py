"""How much memory each process of a rehearsal takes at its peak, watched from outside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

import psutil

ROLES = (("train.py", "training"), ("model_server", "model server"), ("worker.py", "Lambda functions"))
OWN = "rehearsal itself"
INTERVAL_SECONDS = 1.0


class Memory(NamedTuple):
    """Bytes that belong to a process alone, and bytes of files that it maps, which the system may take back."""

    own: int = 0
    mapped: int = 0


Reading = tuple[str, Memory]  # the command of a process, and its memory at one moment


def read_processes() -> list[Reading]:
    """This process and all that descend from it; one that ends meanwhile is left out."""
    own = psutil.Process()
    readings = []
    for process in [own, *own.children(recursive=True)]:
        try:
            command = OWN if process.pid == own.pid else " ".join(process.cmdline())
            # The kernel's counters: to add up maps of 13 GB takes a third of a core. Only Linux says what is mapped.
            used = process.memory_info()
        except psutil.Error:
            continue
        mapped = getattr(used, "shared", 0)
        readings.append((command, Memory(used.rss - mapped, mapped)))
    return readings


class MemoryWatch:
    """Reads the processes' memory again and again while its `with` block runs.

    Attributes:
        peaks: most of the processes of each role together, own and mapped each at its own moment.
        peak_own: most bytes that all of them had for themselves at one moment.
        least_available: fewest bytes that the machine had left for others.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[Reading]] = read_processes,
        available: Callable[[], int] = lambda: int(psutil.virtual_memory().available),
    ) -> None:
        self._read, self._available = read, available
        self.peaks: dict[str, Memory] = {}
        self.peak_own, self.least_available = 0, 2**63
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True, name="memory watch")

    def look(self) -> None:
        """Takes one reading."""
        sums: dict[str, Memory] = {}
        for command, memory in self._read():
            role = next((role for part, role in ROLES if part in command), None)
            name = role or (OWN if command == OWN else "other processes")
            before = sums.get(name, Memory())
            sums[name] = Memory(before.own + memory.own, before.mapped + memory.mapped)
        for name, now in sums.items():
            before = self.peaks.get(name, Memory())
            self.peaks[name] = Memory(max(before.own, now.own), max(before.mapped, now.mapped))
        self.peak_own = max(self.peak_own, sum(memory.own for memory in sums.values()))
        self.least_available = min(self.least_available, self._available())

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _loop(self) -> None:
        self.look()
        while not self._ended.wait(INTERVAL_SECONDS):
            self.look()
