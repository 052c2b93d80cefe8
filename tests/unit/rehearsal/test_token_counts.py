"""Tokens a word: the figures that estimates use, and the command that counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.text.tokens import MOST_PER_WORD, TOKENS_PER_WORD, estimated_tokens
from rehearsal import token_counts
from rehearsal.models.weights import WeightsMissing
from rehearsal.token_counts import Count, count, differences, documents, main, table
from text import split_documents

PROJECT = Path(__file__).parents[3]


class Letters:
    """A tokenizer that makes a token of every letter."""

    def __call__(self, texts: list[str], *, add_special_tokens: bool) -> dict[str, Any]:
        assert not add_special_tokens
        return {"input_ids": [list(text) for text in texts]}


@pytest.mark.parametrize("name", TOKENS_PER_WORD)
def test_a_text_is_counted_as_the_training_job_reads_it(name: str) -> None:
    text = (PROJECT / "data" / f"{name}.txt").read_text(encoding="utf-8")
    assert documents(text) == [document.text for document in split_documents(text)]


def test_words_and_tokens_are_counted_titles_included(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("# A title\n\nTwo words\n", encoding="utf-8")
    assert count(path, Letters(), Letters()) == Count("short", words=4, llama=18, stand_in=18)


def test_every_text_of_data_is_counted() -> None:
    assert set(TOKENS_PER_WORD) == {path.stem for path in (PROJECT / "data").glob("*.txt")}


def test_a_figure_that_no_longer_holds_is_told() -> None:
    words = 10_000
    right = Count("control", words, round(words * TOKENS_PER_WORD["control"]), 0)
    assert differences([right]) == []
    (told,) = differences([Count("control", words, right.llama + 100, 0)])
    assert "control has 1.451 tokens a word; lambdas/common/text/tokens.py says 1.441" in told
    assert len(differences([Count("unknown", 10, 20, 0)])) == 1


def test_an_estimate_is_at_the_rate_of_the_densest_text() -> None:
    assert max(TOKENS_PER_WORD.values()) == MOST_PER_WORD == 1.897
    assert estimated_tokens(60_034) == 113_885
    assert estimated_tokens(1) == 2


def test_the_table_names_its_sources() -> None:
    assert "llama-tokenizer-js 1.2.2" in table([Count("control", 100, 144, 127)])
    assert "1.440" in table([Count("control", 100, 144, 127)])


def test_from_another_folder_the_texts_of_this_checkout_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(cache: Path) -> Path:
        raise WeightsMissing(str(cache))

    monkeypatch.setattr(token_counts, "ensure_vocabulary", asked)
    monkeypatch.chdir(tmp_path)

    assert main([]) == 1
    assert capsys.readouterr().err.strip() == str(PROJECT / ".rehearsal" / "weights")
