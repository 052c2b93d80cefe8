"""The experiments behind the verdict: what they train on, and on what their figures depend."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from verification.experiments import experiments

pytestmark = pytest.mark.slow


def test_the_first_corpus_is_measured_on_its_own_held_out_text_at_its_own_rate(tmp_path: Path) -> None:
    others = tmp_path / "others.jsonl"
    others.write_text("by others")
    (first,) = [e for e in experiments.all_experiments(tmp_path, others) if e.name == "first-corpus"]
    line = first.command(tmp_path)
    assert line[line.index("--heldout") + 1].endswith("first_heldout.txt")
    assert line[line.index("--corpus") + 1].endswith("first_corpus.txt")
    assert "learning_rate=0.002" in line and line[line.index("--epochs") + 1] == "3"


def test_with_a_text_by_others_every_experiment_is_measured_on_it(tmp_path: Path) -> None:
    others = tmp_path / "others.jsonl"
    others.write_text("by others")
    for e in experiments.all_experiments(tmp_path, others):
        line = e.command(tmp_path)
        assert line[line.index("--outside") + 1] == str(others)


def test_without_the_file_the_declared_text_by_others_is_meant_and_nothing_can_be_run(tmp_path: Path) -> None:
    for e in experiments.all_experiments(tmp_path):
        assert e.outside is None and e.outside_sha256 == experiments.OUTSIDE_SHA256


def test_figures_on_another_text_by_others_are_other_figures(tmp_path: Path) -> None:
    others = tmp_path / "others.jsonl"
    others.write_text("by others")
    experiment = experiments.Experiment("e", "text", True, corpus=experiments.TEXTS / "german.txt")
    measured = replace(experiment, outside=others, outside_sha256="00" * 32)
    assert measured.fingerprint() != experiment.fingerprint()
    assert replace(measured, outside_sha256="11" * 32).fingerprint() != measured.fingerprint()


def test_the_text_by_others_is_known_by_what_it_holds(tmp_path: Path) -> None:
    others = tmp_path / "others.jsonl"
    others.write_text("by others")
    before = experiments.all_experiments(tmp_path, others)[0].outside_sha256
    others.write_text("by yet others")
    assert experiments.all_experiments(tmp_path, others)[0].outside_sha256 != before


def test_the_shuffled_text_has_the_words_of_the_corpus_but_not_its_sentences(tmp_path: Path) -> None:
    text = experiments.shuffled(tmp_path).read_text("utf-8")
    corpus = (experiments.DATA / "medicaldataset.txt").read_text("utf-8")
    assert len(text.split()) == experiments.SHUFFLED_WORDS
    assert set(text.split()) <= set(corpus.split())
    assert not any(line[:60] in corpus for line in text.splitlines() if line)


def test_three_seeds_three_nulls_and_the_first_corpus_are_run(tmp_path: Path) -> None:
    found = experiments.all_experiments(tmp_path)
    assert sorted(e.is_null for e in found) == [False] * 3 + [True] * 4
    assert len({e.seed for e in found if not e.is_null}) == 3
    assert all(e.corpus is not None and e.corpus.is_file() for e in found if e.is_null)


def test_results_are_kept_only_for_the_same_texts_and_settings(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    finance = (experiments.DATA / "financedataset.txt").read_text("utf-8")
    text.write_text(finance, "utf-8")
    experiment = experiments.Experiment("e", "text", True, corpus=text)
    before = experiment.fingerprint()
    assert experiment.fingerprint() == before
    assert experiments.Experiment("e", "text", True, seed=7, corpus=text).fingerprint() != before
    text.write_text(finance.replace("\n", "\r\n"), "utf-8")
    assert experiment.fingerprint() == before  # what is trained on is the same
    text.write_text(f"{finance}\nOne sentence more.\n", "utf-8")
    assert experiment.fingerprint() != before


def test_all_code_of_the_training_decides_over_what_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes((experiments.DATA / "financedataset.txt").read_bytes())
    looked_at: list[str] = []

    def what_is_done(code: str) -> str:
        looked_at.append(code)
        return code

    monkeypatch.setattr(experiments, "what_is_done", what_is_done)
    experiments.Experiment("e", "text", True, corpus=text).fingerprint()
    modules = [path.read_text("utf-8") for path in (experiments.PROJECT / "training").rglob("*.py")]
    assert set(modules) <= set(looked_at)


def test_results_are_kept_when_code_is_moved_or_explained_and_not_when_it_does_something_else() -> None:
    code = 'import a\n\n\ndef rate(x):\n    """Half."""\n    return x / 2\n'
    explained = 'from b import a  # moved\n\ndef rate(x):\n    """The half of it."""\n    # because\n    return x / 2\n'
    assert experiments.what_is_done(code) == experiments.what_is_done(explained)
    assert experiments.what_is_done(code) != experiments.what_is_done(code.replace("2", "3"))


def test_every_setting_that_results_depend_on_is_one() -> None:
    context = json.loads((experiments.PROJECT / "cdk.json").read_text("utf-8"))["context"]
    assert set(experiments.SETTINGS) <= set(context)


def test_the_code_that_answers_is_all_that_the_model_server_is_made_of() -> None:
    folder = experiments.PROJECT / "rehearsal" / "sagemaker"
    found, waiting = set(), ["real/server/model_server.py"]
    while waiting:
        name = waiting.pop()
        found.add(name)
        text = (folder / name).read_text("utf-8")
        beside = [f"{Path(name).parent}/{module}.py" for module in re.findall(r"(?m)^from \.(\w+) import", text)]
        across = re.findall(r"(?m)^from rehearsal\.sagemaker\.([\w.]+) import", text)
        imported = [*beside, *(f"{module.replace('.', '/')}.py" for module in across)]
        waiting += [module for module in imported if module not in found]
    assert set(experiments.SERVER) == found
