"""captune bench: the recipe of training/ beside the usual one, on this machine.

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
from rehearsal.conductor.options import DEFAULT_WORDS
from rehearsal.models.weights import WeightsMissing, ensure_weights
from verification.experiments.bench.figures import GOAL, meets_goal, summarise
from verification.experiments.bench.runs import (
    MOST_DOCUMENTS,
    RECIPES,
    SAME_TIME,
    USUAL,
    WHOLE,
    Bench,
    Metrics,
    Text,
    gather,
)
from verification.experiments.experiments import PROJECT

RESULTS = PROJECT / "results"
WEIGHTS = PROJECT / ".rehearsal" / "weights"
SEEDS = (1, 2, 3)
VERSIONS = ("torch", "transformers", "peft", "trl", "python")
_MEANS = {
    USUAL: "query and value alone, rank 8, alpha 32, rate 1e-4, ten steps of four rows of 512 tokens",
    SAME_TIME: "as many steps as fit into the usual recipe's time",
    WHOLE: "one pass",
}


def main(arguments: list[str] | None = None, prog: str = "python -m verification.experiments.bench") -> int:
    """Runs the benchmark, writes bench.md and bench.json, and answers 0 when the goal is met."""
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=style)
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
    file: Path = given.write / "bench.json"
    if not given.table:
        load, begun = os.getloadavg()[0], time.monotonic()
        try:
            text = gather(given.words, given.documents, given.outside)
            bench = Bench(text, given.model or ensure_weights(WEIGHTS), say=lambda line: print(line, flush=True))
            seeds = {seed: bench.seed(seed) for seed in given.seed or SEEDS}
            figures = summarise(seeds) | _circumstances(text, seeds, load, (time.monotonic() - begun) / 60)
        except (ValueError, CaptuneError, WeightsMissing) as error:
            raise SystemExit(f"captune: {error}") from error
        given.write.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    figures = json.loads(file.read_text("utf-8"))
    page = as_markdown(figures)
    (given.write / "bench.md").write_text(page + "\n", "utf-8")
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
        # The benchmark itself keeps one thread busy on each core.
        "busy": load > cores / 2 or after > 1.5 * cores,
        "seeds": list(seeds),
        "words": text.words,
        "heldout_documents": text.held_out,
        "outside_documents": text.outside,
    }


def as_markdown(figures: Mapping[str, Any]) -> str:
    """The page of one benchmark: the table, and how it was made."""
    texts = ["heldout", "outside"] if figures["outside_documents"] else ["heldout"]
    head = ["recipe", "held-out loss gained, nats a token", "gained on text by others"][: 1 + len(texts)]
    head += ["of each seed, held-out", "steps", "tokens", "seconds in steps", "tokens/s", "peak memory, GB"]
    rows = [head, ["---", *["---"] * (len(texts) + 1), *["--:"] * 5]]
    for name in RECIPES:
        recipe = figures["recipes"][name]
        row = [f"{name}: {_MEANS[name]}", *(_interval(recipe[text], "+.3f") for text in texts)]
        row += [", ".join(f"{run['heldout']:+.3f}" for run in recipe["runs"].values()), f"{recipe['steps']:.0f}"]
        row += [f"{recipe['tokens_seen']:,.0f}", f"{recipe['seconds']:.0f}", f"{recipe['tokens_per_second']:.0f}"]
        rows.append([*row, f"{recipe['peak_memory_bytes'] / 1e9:.1f}"])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([table, _how_to_read(figures), _compared(figures), _made(figures)])


def _how_to_read(figures: Mapping[str, Any]) -> str:
    seeds = ", ".join(map(str, figures["seeds"]))
    measured = f"{figures['heldout_documents']} held-out documents from all over data/medicalheldout.txt"
    if figures["outside_documents"]:
        measured += f" and {figures['outside_documents']} documents by others"
    return (
        f"All on the same {figures['words']:,} words with the same stand-in, the seeds {seeds} in turns. Base minus tuned on {measured}, averaged "
        "over the seeds, with 95 % bootstrap intervals clustered by document; the other columns are medians over the seeds. The usual recipe's "
        "numbers are the defaults of Meta's llama-recipes for LoRA (the ten steps are those of a first try), its adapter is kept whole; ours keeps as much "
        "of what it learnt as it always does (`adapter_strength`). Memory is that of the whole process."
    )


def _compared(figures: Mapping[str, Any]) -> str:
    ratios = figures["times_the_usual_gain"]
    seconds = {name: recipe["seconds"] for name, recipe in figures["recipes"].items()}
    told = [
        f"{name[0].upper()}{name[1:]}: **{_interval(ratios[name], '.1f')} times** the usual recipe's gain in "
        f"{seconds[name] / seconds[USUAL]:.2f} of its time."
        for name in (SAME_TIME, WHOLE)
    ]
    return (
        f"{' '.join(told)} The goal, {GOAL:g} times in no more time, is {'met' if meets_goal(figures) else 'not met'}."
    )


def _made(figures: Mapping[str, Any]) -> str:
    before, after = figures["load"]
    versions = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    told = (
        f"Made on {figures['made']} by `captune bench` in {figures['minutes']:.0f} minutes: {figures['precision']} on {figures['machine']}; {versions}. "
        f"Load {before:.1f} before and {after:.1f} after."
    )
    if figures["busy"]:
        told += " The machine had other work to do: seconds and tokens/s compare with one another, not with those of a quiet machine."
    return told


def _interval(figure: Mapping[str, Any], form: str) -> str:
    if figure["estimate"] is None:
        return "–"
    if figure["low"] is None:
        return format(figure["estimate"], form)
    return f"{figure['estimate']:{form}} ({figure['low']:{form}} to {figure['high']:{form}})"


if __name__ == "__main__":
    sys.exit(main())
