"""From the metrics of a training job to the findings: what takes a verdict away."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from report.findings.analysis import analyse
from report.findings.verdict import IMPROVED, NOT_SHOWN, VERDICTS
from verification.experiments.reports.made_up import CORPUS, answers, metrics, prompts


def found(measured: Any, **options: Any) -> dict[str, Any]:
    return analyse(measured, [], [], [], resamples=500, **options)


def control_gained_too(evaluation: Any) -> None:
    for row in evaluation["control"]["documents"]:
        row["tuned_nll"] -= 0.33 * row["tokens"]  # the invented control text rose by 0.03


@pytest.mark.parametrize(
    "damage",
    [
        control_gained_too,
        lambda evaluation: evaluation.pop("control"),
        lambda evaluation: evaluation["heldout"]["documents"][2].update(tuned_nll=math.nan),
        lambda evaluation: evaluation["control"]["documents"][0].update(tuned_nll=None),
        lambda evaluation: evaluation.update(outside={"documents": [], "tokens": 0}),
    ],
)
def test_a_gain_that_lacks_one_of_its_conditions_is_not_shown(damage: Callable[[Any], None]) -> None:
    measured = metrics(effect=-0.3)
    assert found(measured)["verdict"] == IMPROVED
    damage(measured["evaluation"])
    findings = found(measured)
    assert findings["heldout"]["difference"]["high"] < 0
    assert findings["verdict"] == NOT_SHOWN


@pytest.mark.parametrize("measured", [None, {"evaluation": None}, {"evaluation": {"heldout": {"documents": []}}}])
def test_metrics_without_held_out_losses_are_not_shown(measured: dict[str, Any] | None) -> None:
    findings = found(measured)
    assert (findings["verdict"], findings["recall_verdict"]) == (NOT_SHOWN, NOT_SHOWN)


def test_memorising_the_training_text_is_never_an_improvement() -> None:
    findings = found(metrics(effect=0.0))
    assert findings["memorisation"]["training_text"]["difference"]["high"] < -0.1
    assert findings["verdict"] == NOT_SHOWN


@pytest.mark.parametrize("outside", [-0.1, 0.1])
def test_a_smoke_run_is_never_judged(outside: float) -> None:
    findings = found(metrics(effect=-0.3, outside=outside), smoke=True)
    assert (findings["verdict"], findings["recall_verdict"]) == (NOT_SHOWN, NOT_SHOWN)
    assert findings["headline"].startswith("A smoke run")


def test_the_findings_are_reproducible_and_say_what_they_mean() -> None:
    asked = prompts(24)
    replies = answers(asked, "base", skill=0.1), answers(asked, "medical", skill=0.5)
    first, second = (analyse(metrics(), asked, *replies, corpus=CORPUS, seed=3, resamples=300) for _ in range(2))
    assert json.dumps(first) == json.dumps(second)
    assert first["verdict"] in VERDICTS and first["says"]
    assert "clinical" in " ".join(first["does_not_say"])
