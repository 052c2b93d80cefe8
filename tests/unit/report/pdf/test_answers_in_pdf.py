"""Answers in a PDF: nobody turns a page between a question and the first answers to it."""

from __future__ import annotations

from typing import Any

import pytest

from report.content.blocks import AnswerList
from report.pdf.answers import answer_list
from report.pdf.file import File
from report.pdf.flow import Flow
from report.pdf.structure import Element


def row(number: int, words: int, reference: str = "") -> dict[str, Any]:
    answer = {"text": "gene " * words, "marks": [], "found": [], "missing": []}
    sides = {name: {"greedy": answer, "samples": [answer]} for name in ("base", "tuned")}
    return {"prompt": f"Question {number} on a variant", "facts": [], "reference": reference, **sides}


def elements(lists: list[AnswerList]) -> tuple[list[Element], File]:
    file = File("Answers", "Captune", "a test")
    flow = Flow(file)
    for block in lists:
        answer_list(flow, block)
    return [child for child in file.structure.root.children if isinstance(child, Element)], file


def pages_of(element: Element) -> list[int]:
    return [child[0] for child in element.children if isinstance(child, tuple)]


@pytest.mark.parametrize("words", [5, 60, 200])
@pytest.mark.parametrize("reference", ["", "the splice donor " * 60])
def test_a_title_and_a_question_stand_on_the_page_of_the_first_answers(words: int, reference: str) -> None:
    lists = [AnswerList(f"Kind {n}", tuple(row(m, words, reference) for m in range(4)), 8) for n in range(6)]
    found, file = elements(lists)
    for one, after in zip(found, found[1:], strict=False):
        if one.kind in ("H3", "H4"):
            assert pages_of(one)[-1] == pages_of(after)[0], (words, len(file.pages))


def test_wherever_on_a_page_a_question_comes_its_first_answers_are_with_it() -> None:
    rows = tuple(row(number, 20 + 37 * number % 190) for number in range(150))
    found, file = elements([AnswerList("Kind", rows, 8)])
    apart = [
        pages_of(one)
        for one, after in zip(found, found[1:], strict=False)
        if one.kind == "H4" and pages_of(one)[-1] != pages_of(after)[0]
    ]
    assert (apart, len(file.pages) > 30) == ([], True)


def test_questions_share_pages_where_there_is_room() -> None:
    _, file = elements([AnswerList("Kind", tuple(row(n, 20) for n in range(40)), 8)])
    assert len(file.pages) < 20
