"""The declared experiments: what they train on, and what their figures depend on."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from verification.experiments import experiments
from verification.experiments.experiments import Experiment, all_experiments

pytestmark = pytest.mark.slow


@pytest.fixture
def finance(tmp_path: Path) -> Experiment:
    """An experiment on a copy of the finance text, which a test may change."""
    text = tmp_path / "text.txt"
    text.write_bytes((experiments.DATA / "financedataset.txt").read_bytes())
    return Experiment("e", "text", True, corpus=text)


def test_three_seeds_three_nulls_and_the_first_corpus_are_declared(tmp_path: Path) -> None:
    found = all_experiments(tmp_path)
    assert sorted(one.is_null for one in found) == [False] * 3 + [True] * 4
    assert len({one.seed for one in found if not one.is_null}) == 3
    assert all(one.corpus is not None and one.corpus.is_file() for one in found if one.is_null)


def test_every_experiment_is_measured_on_the_given_outside_text(tmp_path: Path) -> None:
    others = tmp_path / "others.jsonl"
    others.write_text("by others")
    known = all_experiments(tmp_path, others)
    for one in known:
        line = one.command(tmp_path)
        assert line[line.index("--outside") + 1] == str(others)
    others.write_text("by yet others")
    assert all_experiments(tmp_path, others)[0].outside_sha256 != known[0].outside_sha256
    assert {one.outside_sha256 for one in all_experiments(tmp_path)} == {experiments.OUTSIDE_SHA256}


def test_shuffled_text_has_the_words_but_not_the_sentences(tmp_path: Path) -> None:
    text = experiments.shuffled(tmp_path).read_text("utf-8")
    corpus = (experiments.DATA / "medicaldataset.txt").read_text("utf-8")
    assert len(text.split()) == experiments.SHUFFLED_WORDS
    assert set(text.split()) <= set(corpus.split())
    assert not any(line[:60] in corpus for line in text.splitlines() if line)


def test_fingerprint_changes_with_seed_text_and_outside_text_only(finance: Experiment) -> None:
    before = finance.fingerprint()
    outside = [replace(finance, outside_sha256=digit * 64).fingerprint() for digit in "01"]
    assert len({before, replace(finance, seed=7).fingerprint(), *outside}) == 4
    assert finance.corpus is not None
    text = finance.corpus.read_text("utf-8")
    finance.corpus.write_text(text.replace("\n", "\r\n"), "utf-8")
    assert finance.fingerprint() == before, "what is trained on is the same"
    finance.corpus.write_text(f"{text}\nOne sentence more.\n", "utf-8")
    assert finance.fingerprint() != before


def test_fingerprint_reads_all_code_of_the_training(finance: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def what_is_done(code: str) -> str:
        read.append(code)
        return code

    monkeypatch.setattr(experiments, "what_is_done", what_is_done)
    finance.fingerprint()
    assert {path.read_text("utf-8") for path in (experiments.PROJECT / "training").rglob("*.py")} <= set(read)


def test_code_counts_by_what_it_does_not_by_comments_or_imports() -> None:
    code = 'import a\n\n\ndef rate(x):\n    """Half."""\n    return x / 2\n'
    explained = 'from b import a  # moved\n\ndef rate(x):\n    """The half of it."""\n    # because\n    return x / 2\n'
    assert experiments.what_is_done(code) == experiments.what_is_done(explained)
    assert experiments.what_is_done(code) != experiments.what_is_done(code.replace("2", "3"))


def test_fingerprint_covers_every_module_of_the_model_server() -> None:
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
