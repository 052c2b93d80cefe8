"""Tokens a word: the figures that estimates use, and the command that counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.text.tokens import MOST_PER_WORD, TOKENS_PER_WORD, estimated_tokens
from rehearsal import token_counts
from rehearsal.models.weights import WeightsMissing
from rehearsal.token_counts import Count, count, differences, main, table
from text import split_documents

PROJECT = Path(__file__).parents[3]


class Letters:
    """A tokenizer that makes a token of every letter."""

    def __call__(self, texts: list[str], *, add_special_tokens: bool) -> dict[str, Any]:
        assert not add_special_tokens
        return {"input_ids": [list(text) for text in texts]}


def test_every_text_of_data_is_counted_as_the_training_job_reads_it() -> None:
    texts = {path.stem: path for path in (PROJECT / "data").glob("*.txt")}
    assert set(TOKENS_PER_WORD) == set(texts)
    for path in texts.values():
        read = [document.text for document in split_documents(path.read_text(encoding="utf-8"))]
        words, letters = sum(len(text.split()) for text in read), sum(map(len, read))
        assert count(path, Letters(), Letters()) == Count(path.stem, words, letters, letters)


def test_a_figure_that_no_longer_holds_is_named() -> None:
    words = 10_000
    right = Count("control", words, round(words * TOKENS_PER_WORD["control"]), 0)
    wrong = Count("control", words, right.llama + 100, 0)
    assert differences([right]) == []
    assert "control has 1.451 tokens a word" in differences([wrong])[0]
    assert len(differences([Count("unknown", 10, 20, 0)])) == 1
    assert "1.441" in table([right]) and "1.451" in table([wrong])


def test_an_estimate_is_at_the_rate_of_the_densest_text() -> None:
    assert max(TOKENS_PER_WORD.values()) == MOST_PER_WORD == 1.897
    assert estimated_tokens(60_034) == 113_885
    assert estimated_tokens(1) == 2


def test_from_another_folder_the_texts_of_this_checkout_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(cache: Path) -> Path:
        raise WeightsMissing(str(cache))

    monkeypatch.setattr(token_counts, "ensure_vocabulary", asked)
    monkeypatch.chdir(tmp_path)

    assert main([]) == 1
    assert capsys.readouterr().err.strip() == str(PROJECT / ".rehearsal" / "weights")
