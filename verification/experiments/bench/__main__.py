"""python -m verification.experiments.bench   (make bench): the recipe of training/ beside the usual one, on this machine.

Three seeds of three recipes, each in a process of its own: a quarter of an hour on two quiet cores with fast bfloat16, half an
hour or more on older ones. Prints the table that docs/recipe.md quotes. Exit code 0 when the goal is met.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.errors import CaptuneError
from verification.experiments.bench.figures import meets_goal, summarise
from verification.experiments.bench.material import MOST_DOCUMENTS, Text, gather
from verification.experiments.bench.page import as_markdown
from verification.experiments.bench.runs import USUAL, Bench, Metrics
from verification.experiments.experiments import PROJECT
from rehearsal.conductor.options import DEFAULT_WORDS
from rehearsal.models.weights import WeightsMissing, ensure_weights

RESULTS = PROJECT / "results"
WEIGHTS = PROJECT / ".rehearsal" / "weights"
SEEDS = (1, 2, 3)
VERSIONS = ("torch", "transformers", "peft", "trl", "python")


def main(arguments: list[str] | None = None, prog: str = "python -m verification.experiments.bench") -> int:
    """Runs the benchmark, writes bench.md and bench.json, and answers 0 when the goal is met."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--words", type=int, default=DEFAULT_WORDS, help="words of the corpus (default: %(default)s)")
    parser.add_argument("--documents", type=int, default=MOST_DOCUMENTS, help="measured at most (default: %(default)s)")
    parser.add_argument("--outside", type=Path, metavar="FILE", help="measure on this text by others, too")
    parser.add_argument("--seed", type=int, action="append", metavar="N", help="may be repeated (default: 1, 2 and 3)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="another model folder (default: the stand-in)")
    parser.add_argument("--table", action="store_true", help="run nothing: make the table of bench.json again")
    parser.add_argument("--write", type=Path, metavar="DIR", default=RESULTS, help="where bench.md and bench.json go")
    given = parser.parse_args(arguments)
    if given.outside and not given.outside.is_file():
        parser.error(f"there is no file {given.outside}")
    if given.table:
        return _show(json.loads((given.write / "bench.json").read_text("utf-8")), given.write)
    load, begun = os.getloadavg()[0], time.monotonic()
    try:
        text = gather(given.words, given.documents, given.outside)
        bench = Bench(text, given.model or ensure_weights(WEIGHTS), say=lambda line: print(line, flush=True))
        seeds = {seed: bench.seed(seed) for seed in given.seed or SEEDS}
        figures = summarise(seeds) | _circumstances(text, seeds, load, (time.monotonic() - begun) / 60)
    except (ValueError, CaptuneError, WeightsMissing) as error:
        raise SystemExit(f"captune: {error}") from error
    given.write.mkdir(parents=True, exist_ok=True)
    (given.write / "bench.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    return _show(figures, given.write)


def _show(figures: Mapping[str, Any], folder: Path) -> int:
    """Prints and writes the table; answers the exit code."""
    page = as_markdown(figures)
    (folder / "bench.md").write_text(page + "\n", "utf-8")
    print(f"\n{page}")
    return 0 if meets_goal(figures) else 1


def _circumstances(
    text: Text, seeds: Mapping[int, Mapping[str, Metrics]], load: float, minutes: float
) -> dict[str, Any]:
    """On what, with what and how the figures were made."""
    environments = [run["environment"] for runs in seeds.values() for run in runs.values()]
    usual = next(iter(seeds.values()))[USUAL]["environment"]
    after, cores = os.getloadavg()[0], os.cpu_count() or 1
    return {
        "made": f"{datetime.now(UTC):%Y-%m-%d}",
        "minutes": round(minutes, 1),
        "machine": usual["device_name"],
        "precision": " and ".join(sorted({environment["precision"] for environment in environments})),
        "versions": {name: usual[name] for name in VERSIONS},
        "load": [round(load, 1), round(after, 1)],
        # Of its own it has one busy thread for each core.
        "busy": load > cores / 2 or after > 1.5 * cores,
        "seeds": list(seeds),
        "words": text.words,
        "heldout_documents": text.held_out,
        "outside_documents": text.outside,
    }


if __name__ == "__main__":
    sys.exit(main())
