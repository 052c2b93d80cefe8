"""Held-out text that the training text gives away."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, strategies

from common.errors import HeldOutLeaks
from common.text import words
from preflight.texts.overlap import Overlap, refuse_leakage
from tests.doubles.texts.made_up_prose import prose

SENTENCE = "Clonal haematopoiesis precedes myeloid neoplasms by many quiet years"
TRAINING = f"# A\n\n{prose(500, 1)}\n\n{SENTENCE}.\n\n{prose(500, 2)}"


def test_eight_shared_words_are_refused_with_file_line_and_words() -> None:
    held_out = f"# B\n\n{prose(300, 3)}\n\nAs was said, {SENTENCE.lower()}!"
    line = held_out.count("\n") + 1
    with pytest.raises(HeldOutLeaks) as refused:
        refuse_leakage(TRAINING, [("heldout.txt", held_out)])
    assert f"heldout.txt, line {line}, shares “clonal haematopoiesis precedes myeloid neoplasms by many quiet”" in str(
        refused.value
    )


def test_seven_shared_words_are_allowed() -> None:
    refuse_leakage(TRAINING, [("h", f"{prose(100, 3)} {' '.join(SENTENCE.split()[:7])} otherwise.")])


def test_punctuation_case_and_line_ends_hide_nothing() -> None:
    wrapped = SENTENCE.upper().replace(" ", ",\n")
    with pytest.raises(HeldOutLeaks, match="line 8"):
        refuse_leakage(TRAINING, [("h", wrapped)])


def test_another_form_of_the_same_letters_hides_nothing() -> None:
    sentence = "Größere Übersichtsarbeiten über die ärztliche Prüfung hämatologischer Störungen überraschten"
    for hidden in (unicodedata.normalize("NFD", sentence), sentence.replace("ogisch", "o\u00adgisch\u200b")):
        with pytest.raises(HeldOutLeaks, match="line 3"):
            refuse_leakage(f"{prose(50, 1)} {sentence}", [("h", f"\n\n{hidden}")])


def test_texts_written_apart_share_nothing() -> None:
    refuse_leakage(TRAINING, [("h", prose(2000, 9))])


@pytest.mark.parametrize(
    "sentence",
    ["Клональное кроветворение предшествует опухолям крови на многие тихие годы подряд",
     "造血干细胞的克隆性扩增常常比髓系肿瘤早许多年出现而没有任何症状",
     "क्लोनल रक्त निर्माण कई वर्षों तक बिना लक्षण के चलता रहता है",
     "Größere Übersichtsarbeiten über die ärztliche Prüfung hämatologischer Störungen überraschten"],
    ids=["Russian", "Chinese", "Hindi", "German"],
)  # fmt: skip
def test_a_shared_sentence_is_found_in_any_script(sentence: str) -> None:
    with pytest.raises(HeldOutLeaks):
        refuse_leakage(f"{prose(50, 1)} {sentence}", [("h", f"{prose(50, 2)} {sentence}")])


@pytest.mark.parametrize("term", ["急性髓系白血病的基因组特征", "रक्त निर्माण की प्रक्रिया"])
def test_a_shared_term_of_another_script_is_no_leak(term: str) -> None:
    refuse_leakage(f"{prose(50, 1)} {term} {prose(50, 2)}", [("h", f"{prose(50, 3)} {term} {prose(50, 4)}")])


def test_the_overlap_of_many_texts_is_looked_up_one_by_one() -> None:
    overlap = Overlap(TRAINING)
    assert overlap.first(prose(100, 7)) is None
    assert overlap.first(f"x\n{SENTENCE}") == (2, "clonal haematopoiesis precedes myeloid neoplasms by many quiet")


@pytest.mark.parametrize("domain", ["medical", "finance"])
def test_the_held_out_and_control_texts_of_the_project_do_not_leak(domain: str, request: pytest.FixtureRequest) -> None:
    data: Path = request.config.rootpath / "data"
    names = (f"{domain}heldout.txt", "control.txt")
    refuse_leakage(
        (data / f"{domain}dataset.txt").read_text("utf-8"), [(name, (data / name).read_text("utf-8")) for name in names]
    )


@given(
    pieces=strategies.lists(
        strategies.sampled_from([*"ab1_-'’ \n中あก", "é", "e\u0301", "ein ", "two ", "\u0e31"]), max_size=80
    ).map("".join)
)
def test_the_runs_of_a_text_are_the_same_without_their_places(pieces: str) -> None:
    assert list(words.runs(pieces)) == [run for run, _ in words.placed_runs(pieces)]
