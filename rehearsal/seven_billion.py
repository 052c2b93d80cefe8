"""python -m rehearsal.seven_billion [--plain] [--remove] [--results DIR]

Rehearses the whole path with a model of Llama 2 7B's shape: 6,738,415,616 parameters in bfloat16, Llama 2's own vocabulary, random
values. Its answers are noise; what is shown is that weights, optimizer, adapter and server of that size go through the same code,
and what memory and time they take. Needs 18 GB of free memory, 15 GB of disk, and on two cores about half an hour.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from .conductor.conductor import Conductor
from .conductor.display import Display, duration
from .conductor.options import Options
from .memory_watch import MemoryWatch
from .models.large_model import NAME, PARAMETERS, ensure_large_model
from .models.model_folders import remove_abandoned
from .models.weights import Substitute

LEAST_MEMORY = 18 * 10**9  # 13.5 GB of weights, and what a step and the rest of the rehearsal take beside them
LEAST_DISK = 15 * 10**9
CACHE = Path(".rehearsal") / "weights"
MODEL = Substitute(
    NAME, PARAMETERS, ensure_large_model, "Its weights are random: losses and answers say nothing about a model."
)


class TimedDisplay(Display):
    """A display that also notes when the training container entered each of its phases, and the figures it printed."""

    def __init__(self, plain: bool) -> None:
        super().__init__(plain=plain)
        self.phases: list[tuple[str, float]] = []  # and when each began; the last one is the end
        self.figures: dict[str, dict[str, str]] = {}

    def training(self, line: str) -> None:
        """A line that the training container printed."""
        kind, _, rest = line.partition(" ")
        values = dict(re.findall(r"(\w+)=(\S+)", rest))
        if kind in ("phase", "finished"):
            self.phases.append((values.get("name", kind), time.monotonic()))
        elif kind in ("memory", "adapter", "progress", "heldout"):
            self.figures[kind] = values
        super().training(line)

    def seconds(self) -> dict[str, float]:
        """Seconds of each phase that another one followed."""
        return {name: end - begun for (name, begun), (_, end) in zip(self.phases, self.phases[1:], strict=False)}


def missing(project: Path) -> str | None:
    """What this machine lacks for it, with the way to mend it, or None."""
    available = psutil.virtual_memory().available
    if available < LEAST_MEMORY:
        return f"Only {available / 1e9:.1f} GB of memory are free and {LEAST_MEMORY / 1e9:.0f} are needed. End other programs."
    cache = project / CACHE
    cache.mkdir(parents=True, exist_ok=True)
    remove_abandoned(cache, NAME)  # before the room is measured that they take
    made = any(cache.glob(f"{NAME}-*"))
    free = shutil.disk_usage(cache).free
    if not made and free < LEAST_DISK:
        return f"Only {free / 1e9:.1f} GB are free on the disk of {cache} and {LEAST_DISK / 1e9:.0f} are needed."
    return None


def lines(display: TimedDisplay, watch: MemoryWatch, summary: Mapping[str, Any]) -> list[str]:
    """What was measured, for people."""
    peaks = sorted(watch.peaks.items(), key=lambda item: -sum(item[1]))
    shown = ["", f"{'Peak memory in GiB':<26} {'own':>6} {'mapped files':>13}"]
    shown += [f"  {role:<24} {one.own / 2**30:6.2f} {one.mapped / 2**30:13.2f}" for role, one in peaks]
    all_own, least = watch.peak_own / 2**30, watch.least_available / 2**30
    shown.append(f"  {'all, at one moment':<24} {all_own:6.2f}; least left for others {least:.2f} GiB")
    for heading, seconds in (
        ("Seconds by phase of the training job", display.seconds()),
        ("Seconds by state", summary.get("seconds_by_state") or {}),
    ):
        shown += ["", heading, *(f"  {name:<24} {duration(float(value))}" for name, value in seconds.items())]
    shown += ["", f"Adapter: {int(display.figures.get('adapter', {}).get('bytes', 0)):,} bytes"]
    if training := summary.get("training"):
        shown.append(
            f"Training: {training['steps']} steps, {training['tokens_seen']} tokens, {training['tokens_per_second']} tokens/s; "
            f"planned {display.figures.get('memory', {}).get('needed_gb')} GB, peak {training['peak_memory_bytes'] / 1e9:.1f} GB"
        )
    prompts = [row for row in summary.get("prompts") or [] if row.get("base") and row.get("tuned")]
    if prompts:
        differ = sum(row["base"]["greedy"]["text"] != row["tuned"]["greedy"]["text"] for row in prompts)
        shown.append(f"Prompts whose greedy answers by the two models differ: {differ} of {len(prompts)}")
    return shown


def main(arguments: list[str] | None = None) -> int:
    """Rehearses and prints what it took; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m rehearsal.seven_billion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--plain", action="store_true", help="plain lines instead of a live display")
    parser.add_argument("--remove", action="store_true", help="remove the 13.5 GB of weights at the end")
    parser.add_argument("--results", type=Path, metavar="DIR", default=Path("results"), help="where the report goes")
    given = parser.parse_args(arguments)
    options = Options(results=given.results, plain=given.plain, quick=True)
    lack = missing(options.project)
    if lack:
        print(lack, file=sys.stderr)
        return 2
    display = TimedDisplay(given.plain)
    conductor = Conductor(options, display, model=MODEL)
    with MemoryWatch() as watch:
        code = conductor.run()
    display.say("\n".join(lines(display, watch, conductor.summary)))
    folder = next(iter((options.project / CACHE).glob(f"{NAME}-*")), None)
    if folder is not None and given.remove:
        shutil.rmtree(folder)
    elif folder is not None:
        display.say(f"The weights stay in {folder} for the next time; remove the folder to have the 13.5 GB back.")
    return code


if __name__ == "__main__":
    sys.exit(main())
