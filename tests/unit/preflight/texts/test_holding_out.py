"""Held-out text cut from a corpus that came without any: apart from what is trained on, and enough for a verdict."""

from __future__ import annotations

import pytest

from common.text import words
from preflight.texts.holding_out import MINIMUM_DOCUMENTS, PASSAGES, blocks, split
from preflight.texts.text_file import as_text, without_titles
from report.findings.verdict import MINIMUM_DOCUMENTS as LEAST_FOR_A_VERDICT
from tests.doubles.texts.made_up_prose import prose

CHINESE = "".join("。" if place % 37 == 36 else chr(0x4E00 + (place * 97) % 3000) for place in range(8000))
TEXTS = {
    "paragraphs": prose(3000),
    "one line": prose(3000).replace("\n\n", " "),
    "lines without blank lines": prose(3000).replace("\n\n", "\n"),
    "no sentence ends": prose(3000).replace(".", "").replace("\n\n", " "),
    "hard-wrapped": "\n".join(prose(3000).replace("\n\n", " ").split(". ")),
    "titles glued to their text": "\n".join(f"# Part {n}\n{prose(300, n)}" for n in range(10)),
    "many documents": "\n\n".join(f"# Part {n}\n\n{prose(120, n)}" for n in range(30)),
    "the shortest that is taken": prose(1000),
    "Chinese": CHINESE,
    "Chinese paragraphs": CHINESE.replace("。", "。\n\n"),
    "Russian": prose(2000, 5).translate({ord("a") + place: 0x430 + place for place in range(26)}),
}


def squeezed(text: str) -> str:
    return "".join(without_titles(text).split())


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_of_a_few_thousand_words_gives_enough_held_out_documents(text: str) -> None:
    training, held_out = split(text)
    assert len(held_out) >= LEAST_FOR_A_VERDICT == MINIMUM_DOCUMENTS
    assert len(training) >= len(held_out)
    assert sum(words.count(part.text) for part in training) >= sum(words.count(part.text) for part in held_out)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_nothing_is_lost_and_nothing_is_both_trained_on_and_held_out(text: str) -> None:
    training, held_out = split(text)
    assert sum(len(squeezed(part.text)) for part in training + held_out) == len(squeezed(text))
    trained = squeezed(as_text(training))
    assert not [part.id for part in held_out if squeezed(part.text) in trained]


def test_a_tenth_of_many_documents_is_held_out_spread_over_the_text() -> None:
    text = "\n\n".join(f"# Part {n}\n\n{prose(30, n)}" for n in range(200))
    _, held_out = split(text)
    places = [int(part.title.split()[1]) for part in held_out]
    assert len(places) == 20
    assert {b - a for a, b in zip(places, places[1:], strict=False)} == {10}


def test_two_equal_documents_are_told_apart_by_their_place() -> None:
    text = "\n\n".join(f"# Same\n\n{prose(30, n // 2)}" for n in range(40))
    training, held_out = split(text)
    assert len(training) + len(held_out) == 40


@pytest.mark.parametrize("text", [TEXTS["one line"], TEXTS["no sentence ends"], TEXTS["Chinese"]])
def test_long_lines_become_blocks_of_like_size(text: str) -> None:
    sizes = [words.count(block.text) for block in blocks(text)]
    size = min(150, words.count(text) // 64)
    assert max(sizes) <= 2 * size + 20
    assert min(sizes[:-1]) >= 0.6 * size


@pytest.mark.parametrize("number", [4000, 5500, 7500])
@pytest.mark.parametrize("join", ["\n\n", " "])
def test_one_article_gives_twelve_passages_from_all_over_it_and_keeps_two_thirds(number: int, join: str) -> None:
    training, held_out = split(prose(number).replace("\n\n", join))
    count = sum(words.count(part.text) for part in held_out)
    assert len(held_out) == PASSAGES == 12
    assert count <= number / 3
    places = sorted(int(part.title.split()[1]) for part in held_out)
    assert places[0] <= 4 and places[-1] >= len(training) + len(held_out) - 4


def test_blocks_break_between_sentences_where_there_are_any() -> None:
    assert all(block.text.endswith(".") for block in blocks(TEXTS["one line"]))


def test_a_split_is_the_same_every_time() -> None:
    assert split(TEXTS["paragraphs"]) == split(TEXTS["paragraphs"])
