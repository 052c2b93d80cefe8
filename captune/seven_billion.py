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
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from captune.fetch import keep
from captune.rehearse import check
from rehearsal.conductor.conductor import Conductor
from rehearsal.conductor.display import Display, duration
from rehearsal.conductor.files import WEIGHTS
from rehearsal.conductor.options import Options
from rehearsal.models.llama_2 import FORM, NAME, PARAMETERS, ensure_large_model
from rehearsal.models.weights import Substitute, WeightsMissing

LEAST_MEMORY = 18 * 10**9  # 13.5 GB of weights, and what a step and the rest of the rehearsal take beside them
LEAST_DISK = 15 * 10**9
INTERVAL_SECONDS = 1.0
MODEL = Substitute(
    NAME, PARAMETERS, ensure_large_model, "Its weights are random: losses and answers say nothing about a model."
)


class MemoryWatch:
    """Reads the memory of this process and of all that descend from it, again and again while its `with` block runs.

    Attributes:
        peak_bytes: most bytes that they had for themselves at one moment. The mapped weights are not counted, which the system may take back.
        least_available: fewest bytes that the machine had left for others.
    """

    def __init__(self) -> None:
        self.peak_bytes, self.least_available = 0, 2**63
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True, name="memory watch")

    def look(self) -> None:
        """Takes one reading; a process that ends meanwhile is left out."""
        this, own_bytes = psutil.Process(), 0
        for process in [this, *this.children(recursive=True)]:
            with suppress(psutil.Error):
                # The kernel's counters: to add up maps of 13 GB takes a third of a core. Only Linux says what is mapped.
                used = process.memory_info()
                own_bytes += used.rss - getattr(used, "shared", 0)
        self.peak_bytes = max(self.peak_bytes, own_bytes)
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


def missing(project: Path) -> str | None:
    """What this machine lacks for it, with the way to mend it, or None."""
    available = psutil.virtual_memory().available
    if available < LEAST_MEMORY:
        return f"Only {available / 1e9:.1f} GB of memory are free and {LEAST_MEMORY / 1e9:.0f} are needed. End other programs."
    cache = project / WEIGHTS
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if free < LEAST_DISK and not (cache / f"{NAME}-{FORM}").is_dir():
        return f"Only {free / 1e9:.1f} GB are free on the disk of {cache} and {LEAST_DISK / 1e9:.0f} are needed."
    return None


def lines(watch: MemoryWatch, summary: Mapping[str, Any]) -> list[str]:
    """What was measured, for people."""
    peak, least = watch.peak_bytes / 2**30, watch.least_available / 2**30
    shown = [
        "",
        f"Peak memory: {peak:.2f} GiB beside mapped files; {least:.2f} GiB were left for others",
        "Seconds by state",
    ]
    shown += [
        f"  {name:<24} {duration(float(value))}" for name, value in (summary.get("seconds_by_state") or {}).items()
    ]
    if training := summary.get("training"):
        shown.append(
            f"Training: {training['steps']} steps, {training['tokens_seen']} tokens, {training['tokens_per_second']} tokens/s; "
            f"peak {training['peak_memory_bytes'] / 1e9:.1f} GB"
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
    display = Display(plain=given.plain)
    conductor = Conductor(options, display, keep, check, model=MODEL)
    with MemoryWatch() as watch:
        code = conductor.run()
    display.say("\n".join(lines(watch, conductor.summary)))
    if given.remove:
        shutil.rmtree(folder)
    else:
        display.say(f"The weights stay in {folder} for the next time; remove the folder to have the 13.5 GB back.")
    return code


if __name__ == "__main__":
    sys.exit(main())
