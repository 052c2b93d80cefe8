"""Multiple-choice accuracy: knowledge is separated from preference, and a missing item stops the judgement."""

import random
from typing import Any

import pytest

from report.findings.choices import compare_choices
from report.findings.verdict import IMPROVED, NOT_SHOWN, judge_knowledge
from verification.experiments.made_up_runs import choices

ONE_END = {"tokens": [1], **{model: {"own": [-1.0], "other": [-2.0]} for model in ("base", "tuned")}}


def compared(measured: Any) -> dict[str, Any]:
    block = compare_choices(measured, resamples=500)
    assert block is not None
    return block


def item(name: str, base: tuple[list[float], list[float]], tuned: tuple[list[float], list[float]], **more: Any) -> Any:
    scores = {model: {"own": own, "other": other} for model, (own, other) in (("base", base), ("tuned", tuned))}
    return {"id": name, "kind": "choice", "cluster": "", "tokens": [1] * len(base[0]), **scores, **more}


def test_a_preference_for_the_correct_options_is_not_knowledge() -> None:
    before, liked = ([-3.0, -2.0], [-3.0, -2.0]), ([-1.0, -2.0], [-1.0, -2.0])
    taste = compared({"source": "prompts", "items": [item(str(n), before, liked) for n in range(30)]})
    assert taste["plain"]["difference"]["estimate"] == taste["other_prompts"]["difference"]["estimate"] == 1
    assert taste["controlled"]["difference"]["estimate"] == taste["margin"]["difference"]["estimate"] == 0
    assert judge_knowledge(taste).verdict == NOT_SHOWN


def test_a_gain_from_the_prompt_for_the_correct_option_is_knowledge() -> None:
    before, known = ([-3.0, -2.0], [-3.0, -2.0]), ([-2.5, -2.0], [-3.0, -2.0])
    learned = compared({"source": "prompts", "items": [item(str(n), before, known) for n in range(30)]})
    assert learned["controlled"]["base"]["estimate"] == 0.5, "two options with the same gain count half each"
    assert learned["controlled"]["tuned"]["estimate"] == 1
    assert learned["plain"]["difference"]["estimate"] == 0
    assert learned["margin"]["difference"]["estimate"] == pytest.approx(0.5)
    assert judge_knowledge(learned).verdict == IMPROVED


def test_a_long_option_counts_by_its_tokens() -> None:
    one = item("a", ([-4.0, -3.0], [-4.0, -3.0]), ([-2.0, -2.5], [-4.0, -3.0]), tokens=[4, 1])
    margin = compared({"source": "prompts", "items": [one]})["margin"]
    assert margin["tuned"]["estimate"] == pytest.approx(2.0 / 4 - 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_sets_that_share_their_options_are_clusters_and_taste_does_not_pass(seed: int) -> None:
    drawn = random.Random(seed)
    liked, known = (compared(choices(drawn, 60, gain, taste=3.0)) for gain in (0.0, 0.6))
    assert liked["controlled"]["clusters"] == 60 and liked["items"] == 240 and liked["chance"] == 0.25
    assert judge_knowledge(known).verdict == IMPROVED
    change, error = (liked["controlled"]["difference"][key] for key in ("estimate", "standard_error"))
    assert abs(change) < 4 * error
    assert liked["smallest_visible"] == pytest.approx(2.8 * error)


@pytest.mark.parametrize(
    "damage", [{"tuned": None}, {"base": {"own": [-1.0], "other": [-1.0, -1.0]}}, {"tokens": []}, ONE_END]
)
def test_an_item_without_the_scores_of_both_models_is_missing_and_nothing_is_judged(damage: dict[str, Any]) -> None:
    measured = choices(random.Random(1), 30, 1.0)
    assert judge_knowledge(compared(measured)).verdict == IMPROVED
    measured["items"][5] |= damage
    block = compared(measured)
    assert (block["missing"], len(block["scored"])) == (1, 119)
    assert judge_knowledge(block).verdict == NOT_SHOWN


def test_items_are_shown_by_their_change_alone_as_many_losses_as_gains() -> None:
    changes = [0.0, 0.5, -0.2, 0.5, 0.1, -0.9, 0.7, 0.0, -0.2]
    before = ([-1.0, -1.0], [-1.0, -1.0])
    measured = [item(str(n), before, ([-1 + change, -1.0], before[1])) for n, change in enumerate(changes)]
    shown = [row["id"] for row in compared({"source": "prompts", "items": measured})["most_changed"]]
    assert shown == ["6", "1", "3", "5", "2", "8"]
    few = [row["id"] for row in compared({"source": "prompts", "items": measured[:3]})["most_changed"]]
    assert few == ["1", "2"]
    alike = [item(str(n), before, before) for n in range(7)]
    twice = [row["id"] for row in compared({"source": "prompts", "items": alike})["most_changed"]]
    assert twice == ["0", "1", "2", "3", "4", "5"], "never an item twice"


def test_what_all_items_gained_is_shown_where_it_was_least_too() -> None:
    before = ([-1.0, -1.0], [-1.0, -1.0])
    measured = [item(str(n), before, ([n / 10, -1.0], before[1]), prompt=f"p{n}", correct=f"c{n}") for n in range(9)]
    shown = compared({"source": "prompts", "items": measured})["most_changed"]
    assert [(row["prompt"], row["correct"]) for row in shown] == [(f"p{n}", f"c{n}") for n in (8, 7, 6, 0, 1, 2)]
    assert shown[-1]["margin"] == pytest.approx([0.0, 1.2])
