"""Recall, copied runs and the verdict: what counts, and that whatever is missing shows nothing."""

from __future__ import annotations

import copy
import json
import math
import random
from typing import Any

import pytest

from common.errors import ReportIncomplete
from verification.experiments.reports.made_up import CORPUS, answers, metrics, prompts
from report.findings import analysis, recall
from report.findings.memorisation import compare_copies, longest_copies
from report.findings.recall import compare_recall, counted_facts, mark_facts
from report.findings.verdict import IMPROVED, NOT_SHOWN, VERDICTS, WORSE, judge_loss, judge_recall

NPM1 = {"name": "NPM1", "pattern": r"\bNPM1\b"}
GOOD: dict[str, Any] = {
    "documents_count": 12,
    "unusable_documents": 0,
    "difference": {"estimate": -0.1, "standard_error": 0.02, "low": -0.14, "high": -0.06},
    "p_value": 0.001,
}
FURTHER: dict[str, Any] = {
    "heldout_documents": 12,
    "control_documents": 9,
    "difference": {"estimate": -0.08, "standard_error": 0.02, "low": -0.12, "high": -0.04},
    "p_value": 0.002,
    "p_method": "sampled",
}


def answer(identifier: str, greedy: str, *samples: str) -> dict[str, Any]:
    return {"id": identifier, "kind": "question", "prompt": "?", "greedy": greedy, "samples": list(samples)}


def prompt(
    identifier: str, *facts: dict[str, Any], kind: str = "question", text: str = "Which gene?"
) -> dict[str, Any]:
    return {"id": identifier, "kind": kind, "prompt": text, "facts": list(facts)}


def recall_compared(*rows: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    """What `compare_recall` answers where there is something to compare."""
    block = compare_recall(*rows, **options)
    assert block is not None
    return block


def copies_compared(*texts: Any, **options: Any) -> dict[str, Any]:
    """What `compare_copies` answers where there is something to compare."""
    block = compare_copies(*texts, **options)
    assert block is not None
    return block


def test_a_fact_is_found_whatever_its_case_and_marked_where_it_stands() -> None:
    spans, found, missing = mark_facts("Mutated npm1 and NPM1.", counted_facts(prompt("a", NPM1)))
    assert (spans, found, missing) == ([[8, 12], [17, 21]], ["NPM1"], [])


def test_overlapping_marks_become_one() -> None:
    facts = counted_facts(prompt("a", {"name": "x", "pattern": "abc"}, {"name": "y", "pattern": "cde"}, text="?"))
    assert mark_facts("abcde", facts)[0] == [[0, 5]]


def test_a_fact_that_the_prompt_gives_away_does_not_count() -> None:
    given = prompt("a", NPM1, text="What does NPM1 do?")
    block = recall_compared(
        [given, prompt("b", NPM1)], *[[answer("a", "NPM1"), answer("b", "NPM1")]] * 2, resamples=100
    )
    assert block["facts_given_away"] == 1
    assert block["knowledge"]["all"]["prompts"] == 1


def test_a_pattern_that_does_not_compile_or_matches_nothing_marks_nothing() -> None:
    facts = counted_facts(prompt("a", {"name": "bad", "pattern": "("}, {"name": "empty", "pattern": "z*"}, text="zz"))
    assert mark_facts("anything", facts)[0] == []


def test_a_pattern_that_takes_for_ever_on_an_answer_ends_the_report_with_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recall, "SEARCH_SECONDS", 0.2)
    facts = counted_facts(prompt("a", {"name": "kinase", "pattern": r"(\w+\s?)+ kinase!"}))
    with pytest.raises(ReportIncomplete, match="the fact 'kinase'.*bounds such as"):
        mark_facts("so many words " * 20, facts)


def test_recall_averages_greedy_and_samples_and_reports_each() -> None:
    base = [answer("a", "no", "NPM1", "no")]
    tuned = [answer("a", "NPM1", "NPM1", "no")]
    block = recall_compared([prompt("a", NPM1)], base, tuned, resamples=100)["knowledge"]
    assert block["all"]["base"]["estimate"] == pytest.approx(1 / 3)
    assert block["all"]["tuned"]["estimate"] == pytest.approx(2 / 3)
    assert block["greedy"]["difference"]["estimate"] == 1.0
    assert block["sampled"]["difference"]["estimate"] == 0.0


def test_control_prompts_are_no_knowledge_prompts() -> None:
    asked = [prompt("a", NPM1), prompt("c", NPM1, kind="control")]
    replies = [answer("a", "NPM1"), answer("c", "no")]
    block = recall_compared(asked, replies, replies, resamples=100)
    assert block["knowledge"]["all"]["tuned"]["estimate"] == 1.0
    assert block["control"]["all"]["tuned"]["estimate"] == 0.0
    assert [row["kind"] for row in block["by_kind"]] == ["question", "control"]


def test_a_prompt_without_both_answers_stops_the_recall_line() -> None:
    asked = [prompt(str(n), NPM1) for n in range(30)]
    replies = [answer(str(n), "no") for n in range(30)]
    better = [answer(str(n), "NPM1") for n in range(29)]
    block = recall_compared(asked, replies, better, resamples=100)
    assert block["missing_prompts"] == ["29"]
    assert judge_recall(block).verdict == NOT_SHOWN
    complete = recall_compared(asked, replies, [*better, answer("29", "NPM1")], resamples=100)
    assert judge_recall(complete).verdict == IMPROVED


def test_recall_that_fell_clearly_is_worse() -> None:
    asked = [prompt(str(n), NPM1) for n in range(30)]
    known, forgotten = ([answer(str(n), said) for n in range(30)] for said in ("NPM1", "no"))
    judged = judge_recall(compare_recall(asked, known, forgotten, resamples=100))
    assert judged.verdict == WORSE
    assert "Key-fact recall fell by 100" in judged.reason


RISEN: dict[str, Any] = {
    "prompts": 20,
    "difference": {"estimate": 0.2, "standard_error": 0.04, "low": 0.12, "high": 0.28},
    "p_value": 0.001,
}


@pytest.mark.parametrize(
    "change",
    [
        {"difference": None},
        {"difference": {**RISEN["difference"], "low": math.nan}},
        {"difference": {**RISEN["difference"], "low": 0.3}},
        {"p_value": None},
        {"p_value": math.nan},
        {"p_value": True},
    ],
)
def test_recall_whose_change_is_not_a_number_is_not_judged(change: dict[str, Any]) -> None:
    judged = judge_recall({"knowledge": {"all": {**RISEN, **change}}})
    assert judged.verdict == NOT_SHOWN
    assert judged.reason == "The recall difference or its interval is not a number."


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ({"prompts": 20}, IMPROVED),
        ({"prompts": 19}, NOT_SHOWN),
        ({"prompts": 40, "clusters": 20}, IMPROVED),
        ({"prompts": 40, "clusters": 19}, NOT_SHOWN),
    ],
)
def test_twenty_prompts_that_ask_different_facts_are_enough_and_nineteen_are_not(
    counts: dict[str, int], verdict: str
) -> None:
    assert judge_recall({"knowledge": {"all": {**RISEN, **counts}}}).verdict == verdict


@pytest.mark.parametrize("lost", [{"greedy": None}, {"samples": []}])
def test_an_answer_that_got_lost_does_not_count_as_one_without_facts(lost: dict[str, Any]) -> None:
    asked = [prompt(str(n), NPM1) for n in range(30)]
    replies = [answer(str(n), "no", "no") for n in range(30)]
    better = [answer(str(n), "NPM1", "NPM1") for n in range(30)]
    assert judge_recall(compare_recall(asked, replies, better, resamples=100)).verdict == IMPROVED
    replies[3] |= lost
    block = recall_compared(asked, replies, better, resamples=100)
    assert block["missing_prompts"] == ["3"]
    assert judge_recall(block).verdict == NOT_SHOWN


def test_prompts_without_facts_have_no_recall() -> None:
    assert compare_recall([prompt("a")], [answer("a", "x")], [answer("a", "y")]) is None
    assert judge_recall(None).verdict == NOT_SHOWN


def test_the_longest_copied_run_is_found_with_its_place() -> None:
    text = "We know: The circular genome persists as cccDNA, in the cytoplasm."
    (words, start, end) = longest_copies([text], CORPUS)[0]
    assert words == 8  # punctuation and line ends do not break a run: "... as cccDNA in the"
    assert text[start:end] == "The circular genome persists as cccDNA, in the"


def test_case_and_punctuation_do_not_hide_a_copy() -> None:
    assert longest_copies(["REVERSE transcriptase,\nlacks proofreading"], CORPUS)[0][0] == 4


def test_a_run_never_crosses_from_one_answer_into_the_next() -> None:
    assert [run[0] for run in longest_copies(["circular genome", "persists as"], "circular genome persists as")] == [
        2,
        2,
    ]


def test_answers_that_share_nothing_with_the_corpus_copy_nothing() -> None:
    assert longest_copies(["zzz yyy", ""], CORPUS) == [(0, 0, 0), (0, 0, 0)]


def test_characters_of_a_script_without_spaces_count_as_half_a_word() -> None:
    passage = "造血干细胞的克隆性扩增常常比髓系肿瘤早许多年出现"
    (words, start, end) = longest_copies([f"所以{passage}因此我们"], f"前言。{passage}。")[0]
    assert (words, start, end) == (len(passage) // 2, 2, 2 + len(passage))


def test_vowel_signs_belong_to_their_word() -> None:
    assert longest_copies(["जीनोम चिकित्सा मानव"], "पहले जीनोम चिकित्सा मानव बाद")[0][0] == 3


def test_many_answers_are_searched_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["reverse transcriptase lacks", "zzz", "lacks proofreading", ""] * 3
    whole = longest_copies(texts, CORPUS)
    monkeypatch.setattr("report.findings.memorisation.BATCH", 5)
    assert longest_copies(texts, CORPUS) == whole


def test_the_longest_copies_equal_those_of_a_plain_search() -> None:
    rng = random.Random(4)
    corpus = [rng.choice("abcde") for _ in range(300)]
    texts = [[rng.choice("abcdef") for _ in range(rng.randint(0, 40))] for _ in range(60)]
    joined = " " + " ".join(corpus) + " "

    def plain(text: list[str]) -> int:
        runs = (text[a:b] for a in range(len(text)) for b in range(a + 1, len(text) + 1))
        return max((len(run) for run in runs if f" {' '.join(run)} " in joined), default=0)

    found = longest_copies([" ".join(text) for text in texts], " ".join(corpus))
    assert [run[0] for run in found] == [plain(text) for text in texts]


def test_copying_is_counted_per_model_and_prompt() -> None:
    base = [answer("a", "nothing"), answer("b", "nothing")]
    tuned = [answer("a", CORPUS[:90], "nothing"), answer("b", "nothing")]
    block = copies_compared(base, tuned, CORPUS, resamples=100)
    assert block["tuned"]["notable_answers"] == 1
    assert block["base"]["longest_words"] == 0
    assert block["answers"]["a"]["tuned"][0][0] == block["tuned"]["longest_words"] > 8
    assert compare_copies(base, tuned, "  ") is None


def test_a_clear_gain_is_improved_and_a_clear_loss_is_worse() -> None:
    assert judge_loss(GOOD, FURTHER).verdict == IMPROVED
    mirrored = {"estimate": 0.1, "standard_error": 0.02, "low": 0.06, "high": 0.14}
    assert judge_loss({**GOOD, "difference": mirrored}, FURTHER).verdict == WORSE


@pytest.mark.parametrize(
    "change",
    [
        {"documents_count": 0},
        {"documents_count": 5},
        {"unusable_documents": 1},
        {"difference": None},
        {"difference": {**GOOD["difference"], "high": math.nan}},
        {"difference": {**GOOD["difference"], "low": None}},
        {"difference": {**GOOD["difference"], "estimate": -math.inf}},
        {"difference": {**GOOD["difference"], "high": "−0.06"}},
        {"difference": {**GOOD["difference"], "high": 0.0}},
        {"difference": {**GOOD["difference"], "low": -0.01, "high": -0.14}},
        {"difference": {"estimate": -0.1}},
        {"p_value": None},
        {"p_value": math.nan},
        {"p_value": 0.05},
        {"p_value": True},
    ],
)
def test_whatever_is_missing_or_odd_is_not_shown(change: dict[str, Any]) -> None:
    judged = judge_loss({**GOOD, **change}, FURTHER)
    assert judged.verdict == NOT_SHOWN
    assert judged.reason


@pytest.mark.parametrize(
    "change",
    [
        None,
        {"control_documents": 5},
        {"difference": None},
        {"difference": {**FURTHER["difference"], "high": 0.001}},
        {"difference": {**FURTHER["difference"], "low": math.nan}},
        {"difference": {"estimate": 0.08, "standard_error": 0.02, "low": 0.04, "high": 0.12}},
        {"p_value": None},
        {"p_value": 0.06},
    ],
)
def test_a_gain_that_is_not_the_fields_own_is_not_shown(change: dict[str, Any]) -> None:
    beyond = None if change is None else {**FURTHER, **change}
    judged = judge_loss(GOOD, beyond)
    assert judged.verdict == NOT_SHOWN
    assert "control" in judged.reason


@pytest.mark.parametrize("short", ["held-out", "control", "outside", "none"])
def test_six_documents_of_each_text_are_enough_and_five_of_any_are_not(short: str) -> None:
    count = {kind: 5 if kind == short else 6 for kind in ("held-out", "control", "outside")}
    judged = judge_loss(
        {**GOOD, "documents_count": count["held-out"]},
        {**FURTHER, "control_documents": count["control"]},
        {**GOOD, "documents_count": count["outside"]},
    )
    assert judged.verdict == (IMPROVED if short == "none" else NOT_SHOWN)


def test_harm_is_told_whatever_the_control_text_says() -> None:
    mirrored = {"estimate": 0.1, "standard_error": 0.02, "low": 0.06, "high": 0.14}
    assert judge_loss({**GOOD, "difference": mirrored}, None).verdict == WORSE


def test_a_model_that_gets_better_at_all_prose_has_not_improved() -> None:
    measured = metrics(effect=-0.3)
    assert analysis.analyse(measured, [], [], [], resamples=500)["verdict"] == IMPROVED
    for row in measured["evaluation"]["control"]["documents"]:
        row["tuned_nll"] -= 0.33 * row["tokens"]  # the invented control text rose by 0.03
    findings = analysis.analyse(measured, [], [], [], resamples=500)
    assert findings["heldout"]["difference"]["high"] < 0
    assert findings["verdict"] == NOT_SHOWN


def test_without_control_text_nothing_is_shown() -> None:
    measured = metrics(effect=-0.3)
    del measured["evaluation"]["control"]
    findings = analysis.analyse(measured, [], [], [], resamples=500)
    assert findings["beyond_control"] is None
    assert findings["verdict"] == NOT_SHOWN


@pytest.mark.parametrize("measured", [None, {}, {"evaluation": None}, {"evaluation": {"heldout": {"documents": []}}}])
def test_metrics_without_held_out_losses_are_not_shown(measured: dict[str, Any] | None) -> None:
    findings = analysis.analyse(measured, [], [], [])
    assert findings["verdict"] == NOT_SHOWN
    assert findings["recall_verdict"] == NOT_SHOWN


def test_one_nan_among_the_held_out_losses_takes_the_verdict_away() -> None:
    measured = metrics(effect=-0.3)
    assert analysis.analyse(measured, [], [], [], resamples=500)["verdict"] == IMPROVED
    broken = copy.deepcopy(measured)
    broken["evaluation"]["heldout"]["documents"][2]["tuned_nll"] = math.nan
    assert analysis.analyse(broken, [], [], [], resamples=500)["verdict"] == NOT_SHOWN


def test_one_missing_control_loss_takes_the_verdict_away() -> None:
    measured = metrics(effect=-0.3)
    measured["evaluation"]["control"]["documents"][0]["tuned_nll"] = None
    findings = analysis.analyse(measured, [], [], [], resamples=500)
    assert findings["beyond_control"]["unusable_documents"] == 1
    assert findings["verdict"] == NOT_SHOWN
    assert "No usable loss was measured on 1 document" in findings["verdict_reason"]


def test_memorising_the_training_text_is_never_an_improvement() -> None:
    measured = metrics(effect=0.0)
    findings = analysis.analyse(measured, [], [], [], resamples=500)
    assert findings["memorisation"]["training_text"]["difference"]["high"] < -0.1
    assert findings["verdict"] == NOT_SHOWN


def test_the_findings_say_what_they_mean_and_are_reproducible() -> None:
    asked = prompts(24)
    replies = answers(asked, "base", skill=0.1), answers(asked, "medical", skill=0.5)
    first, second = (
        analysis.analyse(metrics(), asked, *replies, corpus=CORPUS, seed=3, resamples=300) for _ in range(2)
    )
    assert json.dumps(first) == json.dumps(second)
    assert first["verdict"] in VERDICTS
    assert "clinical" in " ".join(first["does_not_say"])
    assert first["says"].startswith("It says that")
