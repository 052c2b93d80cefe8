"""How much memory each process of a rehearsal takes at its peak, watched from outside."""

from __future__ import annotations

import threading
from typing import NamedTuple

import psutil

ROLES = (("train.py", "training"), ("model_server", "model server"), ("worker.py", "Lambda functions"))
INTERVAL_SECONDS = 1.0


class Memory(NamedTuple):
    """Bytes that belong to a process alone, and bytes of files that it maps, which the system may take back."""

    own: int = 0
    mapped: int = 0


def read_processes() -> dict[str, Memory]:
    """The memory of this process and of all that descend from it, by their role; one that ends meanwhile is left out."""
    this, sums = psutil.Process(), dict[str, Memory]()
    for process in [this, *this.children(recursive=True)]:
        try:
            command = " ".join(process.cmdline())
            # The kernel's counters: to add up maps of 13 GB takes a third of a core. Only Linux says what is mapped.
            used = process.memory_info()
        except psutil.Error:
            continue
        role = next((role for part, role in ROLES if part in command), "other processes")
        role = "rehearsal itself" if process.pid == this.pid else role
        before, mapped = sums.get(role, Memory()), getattr(used, "shared", 0)
        sums[role] = Memory(before.own + used.rss - mapped, before.mapped + mapped)
    return sums


class MemoryWatch:
    """Reads the processes' memory again and again while its `with` block runs.

    Attributes:
        peaks: most of the processes of each role together, own and mapped each at its own moment.
        peak_own: most bytes that all of them had for themselves at one moment.
        least_available: fewest bytes that the machine had left for others.
    """

    def __init__(self) -> None:
        self.peaks: dict[str, Memory] = {}
        self.peak_own, self.least_available = 0, 2**63
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True, name="memory watch")

    def look(self) -> None:
        """Takes one reading."""
        sums = read_processes()
        for role, now in sums.items():
            before = self.peaks.get(role, Memory())
            self.peaks[role] = Memory(max(before.own, now.own), max(before.mapped, now.mapped))
        self.peak_own = max(self.peak_own, sum(memory.own for memory in sums.values()))
        self.least_available = min(self.least_available, int(psutil.virtual_memory().available))

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
