"""The gain and the price of each recipe over all runs, with intervals clustered by document."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from report.findings.intervals import Estimate, interval
from verification.experiments.bench.runs import RECIPES, SAME_TIME, USUAL, Metrics

GOAL = 6.0  # times the usual recipe's gain, in no more time
COUNTED = ("steps", "tokens_seen", "seconds", "tokens_per_second", "peak_memory_bytes")
BASE_TOLERANCE = 0.01  # of a document's loss: with more, two runs did not measure the same model

Gains = tuple[list[float], list[float]]  # nats gained on each document, averaged over the seeds, and its tokens


def summarise(seeds: Mapping[int, Mapping[str, Metrics]]) -> dict[str, Any]:
    """The figures of every recipe over the seeds.

    Raises ValueError where two runs did not measure the same base model on the same documents.
    """
    _refuse_different_bases([run for runs in seeds.values() for run in runs.values()])
    by_recipe = {name: {seed: runs[name] for seed, runs in seeds.items()} for name in RECIPES}
    gained = {name: gains(list(runs.values())) for name, runs in by_recipe.items()}
    return {
        "recipes": {name: _recipe(runs) for name, runs in by_recipe.items()},
        "times_the_usual_gain": {
            name: times(gained[name], gained[USUAL]).as_dict() for name in RECIPES if name != USUAL
        },
    }


def meets_goal(figures: Mapping[str, Any]) -> bool:
    """Whether ours gained `GOAL` times as much, in no more time."""
    ratio = figures["times_the_usual_gain"][SAME_TIME]["estimate"]
    ours, usual = (figures["recipes"][name]["seconds"] for name in (SAME_TIME, USUAL))
    return ratio is not None and ratio >= GOAL and ours <= usual


def gains(runs: Sequence[Metrics], text: str = "heldout") -> Gains | None:
    """What one recipe gained on each document of a text; None where the text was not measured."""
    measured = [run["evaluation"][text]["documents"] for run in runs if text in run["evaluation"]]
    if not measured:
        return None
    gained = [
        statistics.fmean(one["base_nll"] - one["tuned_nll"] for one in same) for same in zip(*measured, strict=True)
    ]
    return gained, [float(document["tokens"]) for document in measured[0]]


def times(one: Gains | None, other: Gains | None) -> Estimate:
    """How many times as much one recipe gained as another, on the same documents; no figure where the other gained nothing."""
    return interval(one[0], other[0]) if one and other else Estimate(None)


def _recipe(runs: Mapping[int, Metrics]) -> dict[str, Any]:
    every = list(runs.values())
    found: dict[str, Any] = {name: statistics.median(run["training"][name] for run in every) for name in COUNTED}
    texts = [text for text in ("heldout", "outside") if text in every[0]["evaluation"]]
    for text in texts:
        if measured := gains(every, text):
            found[text] = interval(*measured).as_dict()
    found["runs"] = {
        str(seed): {name: run["training"][name] for name in COUNTED}
        | {text: run["evaluation"][text]["base_loss"] - run["evaluation"][text]["tuned_loss"] for text in texts}
        for seed, run in runs.items()
    }
    return found


def _refuse_different_bases(runs: Sequence[Metrics]) -> None:
    for text in runs[0]["evaluation"].keys() - {"training_text"}:
        columns = zip(*(run["evaluation"][text]["documents"] for run in runs), strict=True)
        for first, *others in columns:
            for other in others:
                alike = math.isclose(first["base_nll"], other["base_nll"], rel_tol=BASE_TOLERANCE)
                if first["id"] != other["id"] or not alike:
                    raise ValueError(
                        f"The runs did not measure the same base model on {other['id']} of the {text} text"
                    )
