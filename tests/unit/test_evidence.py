"""The experiments behind the verdict: what they train on, how they are judged, and how the README quotes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from evidence import experiments, picture
from evidence.readme import filled
from evidence.table import as_markdown, row


def summary(verdict: str, recall_verdict: str = "improved") -> dict[str, object]:
    figure = {"estimate": -0.2, "low": -0.3, "high": -0.1}
    return {
        "verdict": verdict,
        "recall_verdict": recall_verdict,
        "heldout": {"difference": figure},
        "recall": {"knowledge": {"all": {"difference": figure}}},
    }


@pytest.mark.parametrize(
    ("is_null", "verdict", "as_expected"),
    [(True, "improved", False), (True, "not shown", True), (True, "worse", True), (False, "improved", True), (False, "not shown", False)],
)  # fmt: skip
def test_a_null_experiment_must_not_be_judged_improved_and_a_real_one_must(
    is_null: bool, verdict: str, as_expected: bool
) -> None:
    assert row(experiments.Experiment("e", "text", is_null), summary(verdict)).as_expected is as_expected


def test_a_real_effect_must_show_in_the_key_facts_too() -> None:
    assert not row(experiments.Experiment("e", "text", False), summary("improved", "not shown")).as_expected


def test_the_table_shows_intervals_and_a_dash_for_what_is_missing() -> None:
    line = as_markdown([row(experiments.Experiment("e", "text", True), summary("worse"))]).splitlines()[2]
    figures = "-0.200 (-0.300 to -0.100) | – | – | **worse** | -20.0 (-30.0 to -10.0) | improved"
    assert line == f"| text | {figures} |"


def test_the_shuffled_text_has_the_words_of_the_corpus_but_not_its_sentences(tmp_path: Path) -> None:
    text = experiments.shuffled(tmp_path).read_text("utf-8")
    corpus = (experiments.DATA / "medicaldataset.txt").read_text("utf-8")
    assert len(text.split()) == experiments.SHUFFLED_WORDS
    assert set(text.split()) <= set(corpus.split())
    assert not any(line[:60] in corpus for line in text.splitlines() if line)


def test_three_seeds_and_three_nulls_are_run(tmp_path: Path) -> None:
    found = experiments.all_experiments(tmp_path)
    assert sorted(e.is_null for e in found) == [False] * 3 + [True] * 3
    assert len({e.seed for e in found if not e.is_null}) == 3
    assert all(e.corpus is not None and e.corpus.is_file() for e in found if e.is_null)


def test_results_are_kept_only_for_the_same_texts_and_settings(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("one")
    experiment = experiments.Experiment("e", "text", True, corpus=text)
    before = experiment.fingerprint()
    assert experiment.fingerprint() == before
    assert experiments.Experiment("e", "text", True, seed=7, corpus=text).fingerprint() != before
    text.write_text("two")
    assert experiment.fingerprint() != before


def test_only_sections_with_results_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("new\n")
    readme = "x\n<!-- a -->\nold\n<!-- end -->\ny\n<!-- b -->\nkept\n<!-- end -->\n"
    assert filled(readme, tmp_path) == "x\n<!-- a -->\nnew\n<!-- end -->\ny\n<!-- b -->\nkept\n<!-- end -->\n"


def test_without_a_browser_the_picture_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="chromium"):
        picture.take(tmp_path / "r.html", tmp_path / "p.png")
