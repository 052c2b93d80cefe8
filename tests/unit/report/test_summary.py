"""The summary: its form stands once, in types, and what is not a number or not known never gets into it."""

import json
import math
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from report import render, summary
from report.findings.verdict import VERDICTS
from report.summary_types import Summary, Verdict, or_empty
from verification.experiments.made_up_runs import COST, SECONDS, answers, metrics, prompts, run
from verification.experiments.report_examples import KINDS

PROJECT = Path(__file__).resolve().parents[3]


def test_the_example_has_the_form_of_the_types() -> None:
    assert get_args(Verdict) == VERDICTS
    example = json.loads((PROJECT / "results" / "example" / "summary.json").read_text("utf-8"))
    assert Summary.__required_keys__ - example.keys() <= {
        "headline", "outside", "scale", "choices", "knowledge_verdict", "knowledge_reason", "knowledge_rule",
    }, "what came after that run"  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_run_has_the_keys_of_the_types(made: dict[str, Any], name: str) -> None:
    json.dumps(made[name], allow_nan=False)
    assert Summary.__required_keys__ <= made[name].keys() <= get_type_hints(Summary).keys()


def test_the_final_summary_shares_the_answers_of_a_large_run_in_memory(made: dict[str, Any]) -> None:
    running = made["running"]
    after = summary.settle(running, status="SUCCEEDED", cost=COST, seconds_by_state=SECONDS)
    assert after["prompts"] is running["prompts"]


@pytest.mark.parametrize(
    ("parameters", "matches"),
    [(6_800_000_000, True), (6_810_000_000, False), (None, False), (math.nan, False), ("many", False)],
)  # within one percent
def test_a_proxy_model_never_bears_the_name_of_the_planned_model(parameters: Any, matches: bool) -> None:
    model = summary.base_model(run(), {"base_model": {"name": "x", "parameters": parameters}})
    assert (model["name"], model["matches_plan"]) == ("Llama 2 7B" if matches else "x", matches)


def test_no_nan_and_no_long_curve_reaches_the_summary() -> None:
    measured = metrics(count=6)
    measured["training"]["tokens_per_second"] = math.nan
    measured["training"]["loss_curve"][3]["loss"] = math.nan
    asked = prompts(4)
    replies = answers(asked, "base", skill=0.1)
    findings = {"verdict": "not shown", "heldout": {"p_value": math.inf}}
    built: Any = summary.build(run(), measured, asked, replies, replies, findings)
    json.dumps(built, allow_nan=False)
    assert len(built["training"]["loss_curve"]) == 119
    render.page(built)
    # A long curve is thinned and keeps its ends.
    measured["training"]["loss_curve"] = [{"step": n, "loss": 3.0, "learning_rate": 0.1} for n in range(1, 5_001)]
    curve = or_empty(summary.build(run(), measured, [], [], [], {})["training"])["loss_curve"]
    assert (len(curve) <= 401, curve[0]["step"], curve[-1]["step"]) == (True, 1, 5_000)


@pytest.mark.parametrize(("given", "says"), [(True, "no usable loss"), (False, "no external test set was given")])
def test_a_failed_run_states_whether_an_external_test_set_was_given(given: bool, says: str) -> None:
    assert says in summary.failure({"run": "r", "outside_given": given}, "FAILED", "E", "cause")["does_not_say"][0]
