"""The figures as a table and the sentences that docs/ quotes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verification.experiments.bench.figures import GOAL, meets_goal
from verification.experiments.bench.runs import RECIPES, SAME_TIME, USUAL, WHOLE

_SAYS = {
    USUAL: "query and value alone, rank 8, alpha 32, rate 1e-4, ten steps of four rows of 512 tokens",
    SAME_TIME: "as many steps as fit into the usual recipe's time",
    WHOLE: "one pass",
}


def as_markdown(figures: Mapping[str, Any]) -> str:
    """The page of one benchmark."""
    outside = figures["outside_documents"] > 0
    texts = ["heldout", "outside"] if outside else ["heldout"]
    head = ["recipe", "held-out loss gained, nats a token", *["gained on text by others"] * outside]
    head += ["of each seed, held-out", "steps", "tokens", "seconds in steps", "tokens/s", "peak memory, GB"]
    rows = [head, ["---", *["---"] * (len(texts) + 1), *["--:"] * 5]]
    for name in RECIPES:
        recipe = figures["recipes"][name]
        rows.append(
            [
                f"{name}: {_SAYS[name]}",
                *(_interval(recipe[text], "+.3f") for text in texts),
                ", ".join(f"{run['heldout']:+.3f}" for run in recipe["runs"].values()),
                f"{recipe['steps']:.0f}",
                f"{recipe['tokens_seen']:,.0f}",
                f"{recipe['seconds']:.0f}",
                f"{recipe['tokens_per_second']:.0f}",
                f"{recipe['peak_memory_bytes'] / 1e9:.1f}",
            ]
        )
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([table, _read(figures), _compared(figures), _made(figures)])


def _compared(figures: Mapping[str, Any]) -> str:
    ratios = figures["times_the_usual_gain"]
    seconds = {name: recipe["seconds"] for name, recipe in figures["recipes"].items()}
    told = [
        f"{name[0].upper()}{name[1:]}: **{_interval(ratios[name], '.1f')} times** the usual recipe's gain in "
        f"{seconds[name] / seconds[USUAL]:.2f} of its time."
        for name in (SAME_TIME, WHOLE)
    ]
    met = "met" if meets_goal(figures) else "not met"
    return f"{' '.join(told)} The goal, {GOAL:g} times in no more time, is {met}."


def _read(figures: Mapping[str, Any]) -> str:
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


def _made(figures: Mapping[str, Any]) -> str:
    before, after = figures["load"]
    versions = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    told = (
        f"Made on {figures['made']} by `make bench` in {figures['minutes']:.0f} minutes: {figures['precision']} on {figures['machine']}; {versions}. "
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
