"""python -m captune.seven_billion [--plain] [--remove] [--results DIR]

Rehearses the whole path with a model of Llama 2 7B's shape: 6,738,415,616 parameters in bfloat16, Llama 2's own vocabulary, random
values. Its answers are noise; what is shown is that weights, optimizer, adapter and server of that size go through the same code,
and what memory and time they take. Needs 18 GB of free memory, 15 GB of disk, and on two cores about half an hour.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from captune.fetch import keep
from captune.rehearse import check
from rehearsal.conductor.conductor import Conductor
from rehearsal.conductor.display import Display, duration, fields_of
from rehearsal.conductor.files import WEIGHTS
from rehearsal.conductor.options import Options
from rehearsal.models.llama_2 import FORM, NAME, PARAMETERS, ensure_large_model
from rehearsal.models.weights import Substitute, WeightsMissing, partial_of

LEAST_MEMORY = 18 * 10**9  # 13.5 GB of weights, and what a step and the rest of the rehearsal take beside them
LEAST_DISK = 15 * 10**9
# The processes of a rehearsal by a part of their command, and how often their memory is read.
ROLES = (("train.py", "training"), ("model_server", "model server"), ("worker.py", "Lambda functions"))
INTERVAL_SECONDS = 1.0
MODEL = Substitute(
    NAME, PARAMETERS, ensure_large_model, "Its weights are random: losses and answers say nothing about a model."
)


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


class TimedDisplay(Display):
    """A display that also notes the seconds of each phase of the training container, and the figures it printed."""

    def __init__(self, plain: bool) -> None:
        super().__init__(plain=plain)
        self.seconds: dict[str, float] = {}
        self.figures: dict[str, str] = {}
        self._phase, self._began = "", 0.0

    def training(self, line: str) -> None:
        """A line that the training container printed."""
        kind, values = fields_of(line)
        if kind in ("phase", "finished"):
            now = time.monotonic()
            if self._phase:
                self.seconds[self._phase] = now - self._began
            self._phase, self._began = values.get("name", ""), now
        elif kind in ("memory", "adapter"):
            self.figures |= values
        super().training(line)


def missing(project: Path) -> str | None:
    """What this machine lacks for it, with the way to mend it, or None."""
    available = psutil.virtual_memory().available
    if available < LEAST_MEMORY:
        return f"Only {available / 1e9:.1f} GB of memory are free and {LEAST_MEMORY / 1e9:.0f} are needed. End other programs."
    cache = project / WEIGHTS
    cache.mkdir(parents=True, exist_ok=True)
    name = f"{NAME}-{FORM}"
    half_made = sum(
        file.stat().st_size for file in partial_of(cache, name).glob("*")
    )  # by a killed process; it goes first
    free = shutil.disk_usage(cache).free + half_made
    if free < LEAST_DISK and not (cache / name).is_dir():
        return f"Only {free / 1e9:.1f} GB are free on the disk of {cache} and {LEAST_DISK / 1e9:.0f} are needed."
    return None


def lines(display: TimedDisplay, watch: MemoryWatch, summary: Mapping[str, Any]) -> list[str]:
    """What was measured, for people."""
    shown = ["", f"{'Peak memory in GiB':<26} {'own':>6} {'mapped files':>13}"]
    for role, peak in sorted(watch.peaks.items(), key=lambda item: -sum(item[1])):
        shown.append(f"  {role:<24} {peak.own / 2**30:6.2f} {peak.mapped / 2**30:13.2f}")
    all_own, least = watch.peak_own / 2**30, watch.least_available / 2**30
    shown.append(f"  {'all, at one moment':<24} {all_own:6.2f}; least left for others {least:.2f} GiB")
    for heading, seconds in (
        ("Seconds by phase of the training job", display.seconds),
        ("Seconds by state", summary.get("seconds_by_state") or {}),
    ):
        shown += ["", heading, *(f"  {name:<24} {duration(float(value))}" for name, value in seconds.items())]
    shown += ["", f"Adapter: {int(display.figures.get('bytes', 0)):,} bytes"]
    if training := summary.get("training"):
        shown.append(
            f"Training: {training['steps']} steps, {training['tokens_seen']} tokens, {training['tokens_per_second']} tokens/s; "
            f"planned {display.figures.get('needed_gb')} GB, peak {training['peak_memory_bytes'] / 1e9:.1f} GB"
        )
    prompts = [row for row in summary.get("prompts") or [] if row.get("base") and row.get("tuned")]
    if prompts:
        differ = sum(row["base"]["greedy"]["text"] != row["tuned"]["greedy"]["text"] for row in prompts)
        shown.append(f"Prompts whose greedy answers by the two models differ: {differ} of {len(prompts)}")
    return shown


def main(arguments: list[str] | None = None) -> int:
    """Rehearses and prints what it took; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m captune.seven_billion", description=__doc__)
    parser.add_argument("--plain", action="store_true", help="plain lines instead of a live display")
    parser.add_argument("--remove", action="store_true", help="remove the 13.5 GB of weights at the end")
    parser.add_argument("--results", type=Path, metavar="DIR", default=Path("results"), help="where the report goes")
    given = parser.parse_args(arguments)
    options = Options(results=given.results, plain=given.plain, quick=True)
    cache, lack = options.project / WEIGHTS, missing(options.project)
    if lack:
        print(lack, file=sys.stderr)
        return 2
    print(f"Preparing 13.5 GB of random weights in {cache} ...")
    try:
        folder = ensure_large_model(cache.absolute())  # before the watch: its memory is not the rehearsal's
    except WeightsMissing as error:
        print(error, file=sys.stderr)
        return 2
    display = TimedDisplay(given.plain)
    conductor = Conductor(options, display, keep, check, model=MODEL)
    with MemoryWatch() as watch:
        code = conductor.run()
    display.say("\n".join(lines(display, watch, conductor.summary)))
    if given.remove:
        shutil.rmtree(folder)
    else:
        display.say(f"The weights stay in {folder} for the next time; remove the folder to have the 13.5 GB back.")
    return code


if __name__ == "__main__":
    sys.exit(main())
