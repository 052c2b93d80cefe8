"""Prompts that ask the same fact are one cluster: the interval and the test count facts, not wordings of them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from verification.experiments.figures import figures_of
from verification.experiments.table import recall_together
from report.content.recall import clustering
from report.findings.recall import cluster_of, clustered_mean, compare_recall
from report.findings.verdict import IMPROVED, NOT_SHOWN, judge_recall
from report.summary import _prompt_rows

RESAMPLES = 1_000
COPIES = 4


def asked(facts: int, copies: int = 1, *, named: bool = True) -> list[dict[str, Any]]:
    """`copies` prompts about each of so many facts."""
    return [
        {
            "id": f"{fact}-{copy}",
            "kind": "question",
            "prompt": "Which gene?",
            "facts": [{"name": "NPM1", "pattern": r"\bNPM1\b"}],
            **({"cluster": f"fact {fact}"} if named else {}),
        }
        for fact in range(facts)
        for copy in range(copies)
    ]


def answers(prompts: list[dict[str, Any]], *facts: int) -> list[dict[str, Any]]:
    """Answers in which these facts are stated by every prompt that asks them, and no other."""
    known = {str(fact) for fact in facts}
    return [
        {"id": prompt["id"], "greedy": "NPM1" if prompt["id"].partition("-")[0] in known else "no", "samples": []}
        for prompt in prompts
    ]


def measured(prompts: list[dict[str, Any]], gained: range) -> dict[str, Any]:
    block = compare_recall(prompts, answers(prompts), answers(prompts, *gained), resamples=RESAMPLES)
    assert block is not None
    return dict(block["knowledge"]["all"])


def width(measure: dict[str, Any]) -> float:
    return float(measure["difference"]["high"] - measure["difference"]["low"])


def test_the_interval_widens_when_prompts_repeat_each_other() -> None:
    repeated = measured(asked(30, COPIES), range(10))
    taken_as_many = measured(asked(30, COPIES, named=False), range(10))
    once = measured(asked(30), range(10))
    assert (repeated["prompts"], repeated["clusters"], taken_as_many["clusters"]) == (120, 30, 120)
    assert (
        repeated["difference"]["estimate"] == taken_as_many["difference"]["estimate"] == once["difference"]["estimate"]
    )
    # Four wordings of each fact say no more than one: the interval is that of 30 facts, twice that of 120.
    assert width(repeated) == pytest.approx(width(once))
    assert width(repeated) == pytest.approx(2 * width(taken_as_many), rel=0.15)
    assert repeated["difference"]["standard_error"] == pytest.approx(once["difference"]["standard_error"])


def test_a_few_facts_asked_in_many_wordings_prove_nothing_that_so_many_prompts_would() -> None:
    few, as_many = asked(25, 8), asked(25, 8, named=False)
    verdicts = []
    for prompts in (few, as_many):
        block = compare_recall(prompts, answers(prompts), answers(prompts, 0, 1), resamples=RESAMPLES)
        verdicts.append(judge_recall(block).verdict)
    assert verdicts == [NOT_SHOWN, IMPROVED]


def test_the_sign_flip_test_flips_whole_clusters() -> None:
    gained, p_values = [1.0] * 16, []
    for clusters in ([str(place // 4) for place in range(16)], [str(place) for place in range(16)]):
        p_values.append(clustered_mean(gained, clusters, resamples=RESAMPLES)["p_value"])
    assert p_values == [pytest.approx(2 / 2**4), pytest.approx(2 / 2**16)]


def test_every_prompt_weighs_the_same_in_the_mean() -> None:
    clusters = ["big"] * 4 + [str(place) for place in range(6)]
    found = clustered_mean([1.0] * 4 + [0.0] * 6, clusters, resamples=RESAMPLES)
    assert found["mean"]["estimate"] == pytest.approx(0.4)
    assert found["clusters"] == 7


def test_prompts_without_the_key_are_each_a_cluster_of_their_own_as_before() -> None:
    rng = random.Random(1)
    values = [rng.choice((0.0, 1.0)) for _ in range(40)]
    names = [cluster_of({"id": str(place)}) for place in range(40)]
    assert len(set(names)) == 40
    apart = clustered_mean(values, names, resamples=RESAMPLES)
    assert apart["clusters"] == 40
    assert apart["mean"]["low"] < apart["mean"]["estimate"] < apart["mean"]["high"]


def test_the_name_of_a_cluster_that_is_also_an_id_joins_nothing() -> None:
    assert cluster_of({"id": "a"}) != cluster_of({"id": "b", "cluster": "a"})
    assert cluster_of({"id": "a", "cluster": " "}) == cluster_of({"id": "a"})


def test_enough_prompts_about_too_few_facts_are_not_judged() -> None:
    prompts = asked(19, 2)
    block = compare_recall(prompts, answers(prompts), answers(prompts, *range(19)), resamples=RESAMPLES)
    verdict = judge_recall(block)
    assert verdict.verdict == NOT_SHOWN
    assert verdict.reason == (
        "Only 38 knowledge prompts with key facts, which ask 19 different facts; at least 20 needed."
    )


def test_the_reader_is_told_how_many_clusters_there_are() -> None:
    repeated, apart = measured(asked(30, COPIES), range(10)), measured(asked(30), range(10))
    assert judge_recall({"knowledge": {"all": repeated}}).reason.endswith("120 prompts in 30 clusters.")
    assert judge_recall({"knowledge": {"all": apart}}).reason.endswith("30 prompts.")
    assert clustering(repeated) == "95 % intervals over 30 clusters: prompts that ask the same fact are one"
    assert clustering(apart) == "95 % intervals clustered by prompt"


def test_the_clusters_stay_with_the_figures_and_count_over_several_seeds() -> None:
    prompts = asked(25, COPIES)
    rows = _prompt_rows(prompts, answers(prompts), answers(prompts, *range(8)), {})
    kept = figures_of({"prompts": rows, "recall": {"missing_prompts": []}}, "")
    together = recall_together({4: kept, 5: kept})
    without = recall_together({4: {**kept, "clusters": {}}, 5: {**kept, "clusters": {}}})
    assert together is not None and without is not None
    assert "100 prompts averaged over them (25 clusters of prompts that ask the same fact)" in together.text
    assert "100 prompts averaged over them:" in without.text
