"""What was gained, at what price: the figures of all runs, with intervals clustered by document."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from verification.experiments.bench.runs import RECIPES, SAME_TIME, USUAL, Metrics
from report.findings.intervals import Estimate, interval

GOAL = 6.0  # times the usual recipe's gain, in no more time
COUNTED = ("steps", "tokens_seen", "seconds", "tokens_per_second", "peak_memory_bytes")
BASE_TOLERANCE = 0.01  # of a document's loss: more, and two runs have not measured the same model

Gains = tuple[list[float], list[float]]  # nats gained on each document, averaged over the seeds, and its tokens


def summarise(seeds: Mapping[int, Mapping[str, Metrics]]) -> dict[str, Any]:
    """The figures of every recipe over the seeds.

    Raises ValueError where two runs did not measure the same base model on the same documents.
    """
    _hold_to_one_base(seeds)
    return {
        "recipes": {recipe: _recipe({seed: runs[recipe] for seed, runs in seeds.items()}) for recipe in RECIPES},
        "times_the_usual_gain": {
            recipe: times(gains(_of(seeds, recipe)), gains(_of(seeds, USUAL))).as_dict()
            for recipe in RECIPES
            if recipe != USUAL
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
    """How many times as much one recipe gained as another, on the same documents; nothing where the other gained nothing."""
    return interval(one[0], other[0]) if one and other else Estimate(None)


def _recipe(runs: Mapping[int, Metrics]) -> dict[str, Any]:
    every = list(runs.values())
    found: dict[str, Any] = {name: statistics.median(run["training"][name] for run in every) for name in COUNTED}
    for text in ("heldout", "outside"):
        if measured := gains(every, text):
            found[text] = interval(*measured).as_dict()
    found["runs"] = {
        str(seed): {name: run["training"][name] for name in COUNTED}
        | {text: _gain(run, text) for text in ("heldout", "outside") if text in run["evaluation"]}
        for seed, run in runs.items()
    }
    return found


def _gain(run: Metrics, text: str) -> float:
    measured = run["evaluation"][text]
    return float(measured["base_loss"] - measured["tuned_loss"])


def _of(seeds: Mapping[int, Mapping[str, Metrics]], recipe: str) -> list[Metrics]:
    return [runs[recipe] for runs in seeds.values()]


def _hold_to_one_base(seeds: Mapping[int, Mapping[str, Metrics]]) -> None:
    every = [run for runs in seeds.values() for run in runs.values()]
    for text, first in every[0]["evaluation"].items():
        if text == "training_text":
            continue
        for run in every:
            pairs = zip(first["documents"], run["evaluation"][text]["documents"], strict=True)
            for one, other in pairs:
                if one["id"] != other["id"] or not math.isclose(
                    one["base_nll"], other["base_nll"], rel_tol=BASE_TOLERANCE
                ):
                    raise ValueError(f"The runs did not measure the same base model on {one['id']} of the {text} text")
