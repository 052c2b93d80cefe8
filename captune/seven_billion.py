"""python -m captune.seven_billion [--plain] [--remove] [--results DIR]

Rehearses the whole path with a model of Llama 2 7B's shape: 6,738,415,616 parameters in bfloat16, Llama 2's own vocabulary, random
values. Its answers are noise; what is shown is that weights, optimizer, adapter and server of that size go through the same code,
and what memory and time they take. Needs 18 GB of free memory, 15 GB of disk, and on two cores about half an hour.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
from collections.abc import Mapping
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
MODEL = Substitute(
    NAME, PARAMETERS, ensure_large_model, "Its weights are random: losses and answers say nothing about a model."
)


def largest_process_bytes() -> int:
    """The most memory that one of the processes that have ended took, with the weights that it mapped."""
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


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


def lines(summary: Mapping[str, Any]) -> list[str]:
    """What was measured, for people."""
    shown = ["", f"Memory of the largest process: {largest_process_bytes() / 2**30:.2f} GiB", "Seconds by state"]
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
        folder = ensure_large_model(cache.absolute())
    except WeightsMissing as error:
        print(error, file=sys.stderr)
        return 2
    display = Display(plain=given.plain)
    conductor = Conductor(options, display, keep, check, model=MODEL)
    code = conductor.run()
    display.say("\n".join(lines(conductor.summary)))
    if given.remove:
        shutil.rmtree(folder)
    else:
        display.say(f"The weights stay in {folder} for the next time; remove the folder to have the 13.5 GB back.")
    return code


if __name__ == "__main__":
    sys.exit(main())
