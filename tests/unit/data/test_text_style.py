"""`captune data --style`: figures of texts that can be counted by hand, and what a text says twice."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pytest

from captune import data, outside, text_style
from captune.text_style import Style
from tests.doubles.texts import prose

TWO = [
    "Risk fell by 12.5% (p < 0.05) because doses rose. It has 40 % more, since 2020.\n\nResults\n\n3.2% and 5% were new.",
    f"One {'long ' * 35}sentence. Short ones follow here.",
]


def test_the_figures_of_two_documents_are_those_counted_by_hand() -> None:
    found = text_style.style(TWO)
    # Sentences of 10, 7, 5, 37 and 4 words; the heading of one word is none.
    counted = (2, 32, 12.6, 12.37, 20, 3.12, 2, 50, 50)
    assert tuple(round(figure, 2) for figure in astuple(found)) == counted


def test_a_sentence_nearly_repeats_one_with_half_of_all_their_words() -> None:
    first = "The virus was found in blood of all patients."  # nine words
    assert text_style.near_repeats([first, "The virus was found in blood on 3 days."]) == 100  # six of twelve
    assert text_style.near_repeats([first, "The virus was found in plasma on 3 days."]) == 0  # five of thirteen
    assert text_style.near_repeats(["Blood was drawn again.", "Blood was drawn again."]) == 0


def test_documents_share_a_run_of_eight_words_with_another_one_and_not_with_themselves() -> None:
    run = "one two three four five six seven eight"
    assert text_style.sharing([f"So {run}.", f"{run.upper()}!", f"{run[:-6]}", f"{prose(40)} {prose(40)}"]) == 50


def test_figures_more_than_a_tenth_apart_are_told_with_those_of_others() -> None:
    theirs = Style(9, 200, 20, 10, 8, 0.05, 3, 30, 50)
    ours = Style(1, 221, 18, 11, 7.1, 0.0, 3.3, 0, 50)
    assert text_style.far_apart(ours, theirs) == [
        "words 221 (200)",
        "long 7.1 (8.0)",
        "because 0.00 (0.05)",
        "tenths 0 (30)",
    ]
    assert text_style.far_apart(theirs, theirs) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a domain of two abstracts and a report."""
    rows = [("One", "abstract"), ("Two", "abstract"), ("Three", "report")]
    form = (
        '{{"title": "{}", "area": "a", "register": "{}", "split": "train", "topic": "t", "part": "p", "number": {}}}\n'
    )
    (tmp_path / "medicalindex.jsonl").write_text("".join(form.format(*row, n) for n, row in enumerate(rows, 1)))
    text = "".join(f"# {title}\n\n{body}\n\n" for (title, _), body in zip(rows, [*TWO, prose(60)], strict=True))
    (tmp_path / "medicaldataset.txt").write_text(text)
    (tmp_path / "medicalheldout.txt").write_text("")
    return tmp_path


def test_registers_stand_beside_a_text_by_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "TARGET", folder / "others.txt")
    alone = "\n".join(data.styles(folder))
    assert "others.txt" not in alone and "captune outside" in alone
    outside.TARGET.write_text("".join(f"# {n}\n\n{prose(60, 100 + n)}\n" for n in range(5)))
    for given in (None, outside.TARGET):
        printed = "\n".join(data.styles(folder, given))
        table = printed.partition("medicaldataset.txt")[2]
        cells = {line.split()[0]: line.split()[1:] for line in table.splitlines()[1:4]}
        assert cells["abstract"] == ["2", "32", "12.6", "12.4", "20.0", "3.12", "2.0", "50", "50"]
        assert list(cells) == ["abstract", "report", "others.txt"]
        assert "Abstracts more than a tenth from others.txt (its figures in brackets): words 32 (6" in printed
        assert "others.txt: 0.0 % of sentences share half" in printed
