"""The benchmark: equal terms for all recipes, the figures made of their metrics, and the whole of it with a toy model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.rehearsal.toy_models import FAMILIES
from verification.experiments import bench, usual_recipe
from verification.experiments.bench import RECIPES, SAME_TIME, USUAL, WHOLE, Bench, gains, meets_goal, summarise
from verification.experiments.experiments import DATA, PROJECT

DOCUMENTS = 8


def metrics(gain: float, *, seconds: float = 100.0, base: float = 300.0) -> dict[str, Any]:
    """A run that gained about `gain` nats a token on each document."""
    documents: list[dict[str, Any]] = [
        {"id": f"d{n}", "tokens": 100, "base_nll": base + n, "tuned_nll": base + n - 100 * gain * (0.9 + n / 35)}
        for n in range(DOCUMENTS)
    ]
    tokens = 100 * DOCUMENTS
    losses = {f"{key}_loss": sum(one[f"{key}_nll"] for one in documents) / tokens for key in ("base", "tuned")}
    training = {
        "steps": 10, "seconds": seconds, "tokens_seen": 20_000, "tokens_per_second": 20_000 / seconds,
        "peak_memory_bytes": 2_000_000_000,
    }  # fmt: skip
    heldout = {"documents": documents, "tokens": tokens, **losses}
    return {"training": training, "evaluation": {"heldout": heldout}, "settings": {"sequences_per_step": 1}}


def three(usual_gain: float = 0.02, ours: float = 0.2, seconds: float = 100.0) -> dict[int, dict[str, Any]]:
    return {
        seed: {
            USUAL: metrics(usual_gain + seed / 1000),
            SAME_TIME: metrics(ours + seed / 100, seconds=seconds),
            WHOLE: metrics(ours, seconds=60.0),
        }
        for seed in (1, 2, 3)
    }


def test_gain_is_the_mean_of_the_seeds_with_an_interval_over_documents() -> None:
    seeds = three()
    for seed, seconds in ((1, 90.0), (2, 95.0), (3, 400.0)):
        seeds[seed][USUAL]["training"]["seconds"] = seconds
    made = summarise(seeds)
    found = made["recipes"][USUAL]["heldout"]
    assert found["estimate"] == pytest.approx(0.022)
    assert found["low"] < found["estimate"] < found["high"]
    assert made["recipes"][USUAL]["seconds"] == 95.0, "the median"
    assert made["times_the_usual_gain"][SAME_TIME]["estimate"] == pytest.approx(0.22 / 0.022)


def test_no_multiple_where_the_baseline_recipe_gained_nothing() -> None:
    assert bench.times(gains([metrics(0.2)]), gains([metrics(-0.01)]))["estimate"] is None
    assert not meets_goal(summarise(three(usual_gain=-0.01)))


@pytest.mark.parametrize(("ours", "seconds", "met"), [(0.2, 100.0, True), (0.2, 101.0, False), (0.1, 100.0, False)])
def test_goal_needs_the_gain_in_no_more_time(ours: float, seconds: float, met: bool) -> None:
    assert meets_goal(summarise(three(ours=ours, seconds=seconds))) is met


def test_ours_gets_the_time_that_the_baseline_recipe_just_took(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, str]]] = []

    def run(_: Bench, seed: int, recipe: str, settings: dict[str, str], words: list[str]) -> dict[str, Any]:
        asked.append((recipe, settings))
        return metrics(0.1, seconds=130.0 if recipe == USUAL else 100.0)

    monkeypatch.setattr(Bench, "run", run)
    found = Bench(Path("model"), *bench.gather(words=500, most_documents=6)).seed(5)
    assert [recipe for recipe, _ in asked] == [USUAL, WHOLE, SAME_TIME]
    given = {"seed": "5", "document_order": "written"}  # as a run's plan has it for the project's texts
    assert asked[1][1] == given, "the defaults of training/ decide everything else"
    assert asked[2][1] == given | {"max_steps": "13", "epochs": "2", "sequences_per_step": "1"}
    assert found.keys() == set(RECIPES)
    whole = {"training": {"steps": 30, "seconds": 60.0}, "settings": {"sequences_per_step": 1}}
    told = [bench.settings_for(seconds, whole) for seconds in (100.0, 99.9, 3.9, 0.1, 9000.0)]
    assert [int(one["max_steps"]) for one in told] == [50, 49, 1, 1, 4500]
    assert [int(one["epochs"]) for one in told] == [2, 2, 1, 1, 50], "no more than training accepts"


@pytest.mark.thorough
@pytest.mark.slow
def test_whole_benchmark_with_a_toy_model(tmp_path: Path) -> None:
    toy = tmp_path / "model"  # takes rows as long as the recipes cut them
    replace(FAMILIES["Llama 2"], sizes={"max_position_embeddings": usual_recipe.LENGTH}).make(toy)
    outside = DATA / "financeheldout.txt"
    bench.command(model=str(toy), words=500, documents=6, seed=[4], out=tmp_path, outside=outside)
    found = json.loads((tmp_path / "bench.json").read_text("utf-8"))
    assert found["recipes"].keys() == set(RECIPES)
    assert found["recipes"][USUAL]["steps"] == usual_recipe.STEPS
    for recipe in found["recipes"].values():
        assert recipe["heldout"]["low"] <= recipe["heldout"]["estimate"] <= recipe["heldout"]["high"]
        assert recipe["tokens_seen"] > 0 and recipe["peak_memory_bytes"] > 10**8 and recipe["outside"]["estimate"]
    assert found["recipes"][WHOLE]["heldout"]["estimate"] > 0, "a random model learns which pieces are frequent"
    assert (tmp_path / "bench.md").read_text("utf-8") == bench.as_markdown(found) + "\n"


def test_table_is_made_again_from_its_figures(tmp_path: Path) -> None:
    kept = json.loads((PROJECT / "results" / "bench.json").read_text("utf-8"))
    (tmp_path / "bench.json").write_text(json.dumps(kept))
    assert bench.command(table=True, out=tmp_path) == 0
    assert (tmp_path / "bench.md").read_text("utf-8") == (PROJECT / "results" / "bench.md").read_text("utf-8")
    kept["recipes"][SAME_TIME]["seconds"] = 1e6
    (tmp_path / "bench.json").write_text(json.dumps(kept))
    assert bench.command(table=True, out=tmp_path) == 1, "the goal is missed"
