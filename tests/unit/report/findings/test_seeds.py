"""The differences of several seeds, and their spread."""

from __future__ import annotations

import copy

import pytest

from verification.experiments.reports.made_up import metrics
from report.findings.seeds import compare_seeds, spread
from report.findings.statistics import compare_losses


def test_a_run_with_one_seed_has_no_differences_by_seed() -> None:
    assert compare_seeds(metrics(), {}) is None
    assert compare_seeds(None, {}) is None


def test_each_seed_is_measured_as_the_first_is_on_its_own_losses() -> None:
    measured = metrics(outside=-0.05, further={7: -0.2, 8: -0.1})
    evaluation = measured["evaluation"]
    first = {name: compare_losses(evaluation[name], resamples=300) for name in ("heldout", "outside", "control")}
    found = compare_seeds(measured, first, resamples=300)
    assert found is not None
    assert [one["seed"] for one in found["results"]] == [42, 7, 8]
    for one, told in zip(found["results"][1:], measured["seeds"]["further"], strict=True):
        for name, part in told["evaluation"].items():
            alone = compare_losses(part, resamples=300)
            assert alone is not None and one[name] == alone["difference"]
    assert found["results"][0]["heldout"] == (first["heldout"] or {})["difference"]
    assert found["left_out"] == [{"seed": 99, "why": "it needs about 430 s, and 210 s were left"}]


def test_a_text_that_was_not_measured_and_documents_without_a_loss_leave_a_gap() -> None:
    measured = copy.deepcopy(metrics(further={7: -0.2}))
    for row in measured["seeds"]["further"][0]["evaluation"]["control"]["documents"]:
        row["tuned_nll"] = None
    found = compare_seeds(measured, {"heldout": compare_losses(measured["evaluation"]["heldout"])})
    assert found is not None
    assert [one["outside"] for one in found["results"]] == [None, None]
    assert [one["control"] for one in found["results"]] == [None, None]
    assert (found["spread"]["outside"], found["spread"]["control"]) == (None, None)


def change(value: float) -> dict[str, float]:
    return {"estimate": value}


@pytest.mark.parametrize(
    ("values", "agree"),
    [((-0.1, -0.2), True), ((0.1, 0.2, 0.3), True), ((-0.1, 0.2), False), ((-0.1, 0.0), False)],
)
def test_seeds_agree_where_all_differences_have_one_sign(values: tuple[float, ...], agree: bool) -> None:
    found = spread([change(value) for value in values])
    assert found is not None
    assert (found["agree"], found["lowest"], found["highest"], found["seeds"]) == (
        agree,
        min(values),
        max(values),
        len(values),
    )


def test_the_spread_is_the_standard_deviation_of_the_estimates() -> None:
    found = spread([change(-0.1), change(-0.2), change(-0.3), None])
    assert found is not None and found["standard_deviation"] == pytest.approx(0.1)
    assert spread([change(-0.1), None]) is None
