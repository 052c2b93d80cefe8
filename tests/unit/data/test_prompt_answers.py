"""Each pattern finds what an expert would answer, and not the answer beside it: prompt_answers.txt holds the answers."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.unit.data.prompt_support import prompts_of

ANSWERS = Path(__file__).with_name("prompt_answers.txt")
PROMPTS = {prompt["id"]: prompt for domain in ("medical", "finance") for prompt in prompts_of(domain)}
FEWEST = 3


@cache
def table() -> dict[str, list[tuple[str, str]]]:
    """(sign, answer) of each prompt, by its id."""
    rows: dict[str, list[tuple[str, str]]] = {}
    for line in ANSWERS.read_text("utf-8").splitlines():
        if line.startswith("== "):
            assert line[3:] not in rows, line
            answers = rows[line[3:]] = []
        elif line.strip() and not line.startswith("#"):
            sign, _, answer = line.partition(" ")
            answers.append((sign, answer))
    return rows


def expected(sign: str, facts: list[str]) -> list[str]:
    """The names of the facts that an answer with this sign states."""
    return {"+": facts, "-": []}[sign] if len(sign) == 1 else [facts[int(sign[1:]) - 1]]


def stated(identifier: str, answer: str) -> list[str]:
    facts = PROMPTS[identifier]["facts"]
    return [fact["name"] for fact in facts if re.search(fact["pattern"], answer, re.IGNORECASE)]


@pytest.mark.parametrize("identifier", table())
def test_a_pattern_finds_the_right_answers_only(identifier: str) -> None:
    names = [fact["name"] for fact in PROMPTS[identifier]["facts"]]
    found = {answer: stated(identifier, answer) for _, answer in table()[identifier]}
    assert found == {answer: expected(sign, names) for sign, answer in table()[identifier]}


def test_every_prompt_with_facts_has_three_right_and_three_wrong_answers_or_more() -> None:
    rows = table()
    assert rows.keys() == {identifier for identifier, prompt in PROMPTS.items() if prompt["facts"]}
    for identifier, answers in rows.items():
        signs = [sign for sign, _ in answers]
        assert min(signs.count("+"), signs.count("-")) >= FEWEST, identifier


def test_the_name_under_which_the_report_shows_a_fact_is_a_right_answer() -> None:
    """A starter's facts are named by what they have in common."""
    closed = [prompt for prompt in PROMPTS.values() if prompt["kind"] != "starter"]
    assert [
        (prompt["id"], fact["name"])
        for prompt in closed
        for fact in prompt["facts"]
        if not re.search(fact["pattern"], fact["name"], re.IGNORECASE)
    ] == []
