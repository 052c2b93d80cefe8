"""The benchmark: equal terms for all recipes, the figures made of their metrics, and the whole of it with a toy model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.rehearsal.toy_families import FAMILIES
from verification.experiments.bench import __main__ as command
from verification.experiments.bench import usual
from verification.experiments.bench.__main__ import as_markdown
from verification.experiments.bench.figures import gains, meets_goal, summarise, times
from verification.experiments.bench.runs import RECIPES, SAME_TIME, USUAL, WHOLE, Bench, gather, steps_in
from verification.experiments.experiments import DATA

DOCUMENTS = 8


def metrics(
    gain: float, *, seconds: float = 100.0, outside: float | None = None, base: float = 300.0
) -> dict[str, Any]:
    """A run that gained about so many nats a token on each document."""

    def text(gained: float) -> dict[str, Any]:
        documents: list[dict[str, Any]] = [
            {"id": f"d{n}", "tokens": 100, "base_nll": base + n, "tuned_nll": base + n - 100 * gained * (0.9 + n / 35)}
            for n in range(DOCUMENTS)
        ]
        tokens = 100 * DOCUMENTS
        losses = {key: sum(one[f"{key}_nll"] for one in documents) / tokens for key in ("base", "tuned")}
        return {"documents": documents, "base_loss": losses["base"], "tuned_loss": losses["tuned"], "tokens": tokens}

    training = {
        "steps": 10, "seconds": seconds, "tokens_seen": 20_000, "tokens_per_second": 20_000 / seconds,
        "peak_memory_bytes": 2_000_000_000,
    }  # fmt: skip
    evaluation = {"heldout": text(gain)} | ({} if outside is None else {"outside": text(outside)})
    environment = {
        "device_name": "A processor, 2 cores", "precision": "bfloat16", "python": "3.11", "torch": "2.9",
        "transformers": "5.3", "peft": "0.18", "trl": "0.28",
    }  # fmt: skip
    return {
        "training": training, "evaluation": evaluation, "environment": environment,
        "settings": {"sequences_per_step": 1},
    }  # fmt: skip


def three(usual_gain: float = 0.02, ours: float = 0.2, seconds: float = 100.0) -> dict[int, dict[str, Any]]:
    return {
        seed: {
            USUAL: metrics(usual_gain + seed / 1000),
            SAME_TIME: metrics(ours + seed / 100, seconds=seconds),
            WHOLE: metrics(ours, seconds=60.0),
        }
        for seed in (1, 2, 3)
    }


def figures(seeds: dict[int, dict[str, Any]]) -> dict[str, Any]:
    circumstances: dict[str, Any] = {
        "made": "2026-11-26", "minutes": 12.0, "machine": "A processor, 2 cores", "precision": "bfloat16",
        "versions": {"torch": "2.9"}, "load": [0.1, 2.0], "busy": False, "seeds": list(seeds), "words": 10_000,
        "heldout_documents": DOCUMENTS, "outside_documents": 0,
    }  # fmt: skip
    return summarise(seeds) | circumstances


def test_gain_is_the_mean_of_the_seeds_with_an_interval_over_documents() -> None:
    gained, tokens = gains([metrics(0.1), metrics(0.3)]) or ([], [])
    assert tokens == [100.0] * DOCUMENTS
    assert gained == pytest.approx([20 * (0.9 + n / 35) for n in range(DOCUMENTS)])
    found = summarise(three())["recipes"][USUAL]["heldout"]
    assert found["estimate"] == pytest.approx(0.022)
    assert found["low"] < found["estimate"] < found["high"]


def test_gain_is_compared_with_the_usual_one_on_the_same_documents() -> None:
    ratio = summarise(three())["times_the_usual_gain"]
    assert ratio[SAME_TIME]["estimate"] == pytest.approx(0.22 / 0.022)
    assert ratio[WHOLE]["estimate"] == pytest.approx(0.2 / 0.022)
    assert USUAL not in ratio


def test_no_multiple_where_the_usual_recipe_gained_nothing() -> None:
    assert times(gains([metrics(0.2)]), gains([metrics(-0.01)])).estimate is None
    assert not meets_goal(summarise(three(usual_gain=-0.01)))


@pytest.mark.parametrize(("ours", "seconds", "met"), [(0.2, 100.0, True), (0.2, 101.0, False), (0.1, 100.0, False)])
def test_goal_needs_the_gain_in_no_more_time(ours: float, seconds: float, met: bool) -> None:
    found = figures(three(ours=ours, seconds=seconds))
    assert meets_goal(found) is met
    assert f"is {'met' if met else 'not met'}." in as_markdown(found)


def test_time_of_a_recipe_is_the_median_of_the_seeds() -> None:
    seeds = three()
    for seed, seconds in ((1, 90.0), (2, 95.0), (3, 400.0)):
        seeds[seed][USUAL]["training"]["seconds"] = seconds
    assert summarise(seeds)["recipes"][USUAL]["seconds"] == 95.0


def test_runs_on_other_documents_or_models_are_not_compared() -> None:
    seeds = three()
    seeds[2][WHOLE] = metrics(0.2, base=310.0)
    with pytest.raises(ValueError, match="the same base model on d0 of the heldout text"):
        summarise(seeds)
    seeds = three()
    seeds[3][SAME_TIME]["evaluation"]["heldout"]["documents"][4]["id"] = "another"
    with pytest.raises(ValueError, match="heldout text"):
        summarise(seeds)


def test_page_shows_gain_cost_and_a_busy_machine() -> None:
    page = as_markdown(figures(three()))
    (row,) = [line for line in page.splitlines() if line.startswith(f"| {USUAL}")]
    assert "| +0.022 (" in row and "| +0.021, +0.022, +0.023 | 10 | 20,000 | 100 | 200 | 2.0 |" in row
    assert "**10.0 (" in page and "others" not in page
    assert as_markdown(figures(three()) | {"busy": True}) != page
    seeds = {seed: {recipe: metrics(0.1, outside=-0.05) for recipe in RECIPES} for seed in (1, 2, 3)}
    assert "| -0.050 (" in as_markdown(figures(seeds) | {"outside_documents": DOCUMENTS})


def test_ours_gets_the_time_that_the_usual_recipe_just_took(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, str]]] = []

    def run(bench: Bench, seed: int, recipe: str, settings: dict[str, str], words: list[str]) -> dict[str, Any]:
        asked.append((recipe, settings))
        return metrics(0.1, seconds=130.0 if recipe == USUAL else 100.0)

    monkeypatch.setattr(Bench, "run", run)
    found = Bench(gather(words=500, most_documents=6), Path("model")).seed(5)
    assert [recipe for recipe, _ in asked] == [USUAL, WHOLE, SAME_TIME]
    given = {"seed": "5", "document_order": "written"}  # as a run's plan has it for the project's texts
    assert asked[1][1] == given, "the defaults of training/ decide everything else"
    assert asked[2][1] == given | {"max_steps": "13", "epochs": "2", "sequences_per_step": "1"}
    assert found.keys() == set(RECIPES)
    assert [steps_in(seconds, {"steps": 30, "seconds": 60.0}) for seconds in (100.0, 99.9, 3.9, 0.1)] == [50, 49, 1, 1]


def test_measured_documents_come_from_all_over_the_text() -> None:
    def named(most: int) -> list[str]:
        lines = gather(words=500, most_documents=most).files["evaluation/heldout.jsonl"].splitlines()
        return [json.loads(line)["id"] for line in lines]

    some, every = named(10), named(999)
    assert len(some) == 10 < len(every)
    assert [every.index(name) for name in some] == [place * len(every) // 10 for place in range(10)]


@pytest.mark.thorough
@pytest.mark.slow
def test_whole_benchmark_with_a_toy_model(tmp_path: Path) -> None:
    toy = tmp_path / "model"  # takes rows as long as the recipes cut them
    replace(FAMILIES["Llama 2"], sizes={"max_position_embeddings": usual.LENGTH}).make(toy)
    words = ["--model", str(toy), "--words", "500", "--documents", "6", "--seed", "4", "--write", str(tmp_path)]
    command.main([*words, "--outside", str(DATA / "financeheldout.txt")])
    found = json.loads((tmp_path / "bench.json").read_text("utf-8"))
    assert found["recipes"].keys() == set(RECIPES)
    assert found["recipes"][USUAL]["steps"] == usual.STEPS
    assert found["recipes"][SAME_TIME]["steps"] >= 1
    for recipe in found["recipes"].values():
        assert recipe["heldout"]["low"] <= recipe["heldout"]["estimate"] <= recipe["heldout"]["high"]
        assert recipe["tokens_seen"] > 0 and recipe["peak_memory_bytes"] > 10**8 and recipe["outside"]["estimate"]
    assert found["recipes"][WHOLE]["heldout"]["estimate"] > 0, "a random model learns which pieces are frequent"
    assert (tmp_path / "bench.md").read_text("utf-8") == as_markdown(found) + "\n"


def test_table_is_made_again_from_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bench.json").write_text(json.dumps(figures(three())))
    assert command.main(["--table", "--write", str(tmp_path)]) == 0
    page = (tmp_path / "bench.md").read_text("utf-8")
    assert page == as_markdown(figures(three())) + "\n" and page.strip() in capsys.readouterr().out
    (tmp_path / "bench.json").write_text(json.dumps(figures(three(ours=0.03))))
    assert command.main(["--table", "--write", str(tmp_path)]) == 1


@pytest.mark.slow
def test_failed_run_is_reported_with_its_last_words(tmp_path: Path) -> None:
    bench = Bench(gather(words=500, most_documents=6), tmp_path / "no-model")
    with pytest.raises(ValueError, match=r"ours, a default rehearsal, seed 1, ended with 1: [\s\S]*model"):
        bench.ours(1, WHOLE, {})
