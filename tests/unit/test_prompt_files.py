"""The prompts that come with the project: each asks what its kind says, and no answer is given away."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from preflight.overlap import Overlap
from preflight.prompts import parse

DATA = Path(__file__).resolve().parents[2] / "data"
CORPUS = (DATA / "medicaldataset.txt").read_text("utf-8")
PROMPTS = [json.loads(line) for line in (DATA / "medicalprompts.jsonl").read_text("utf-8").splitlines()]
CENTRAL_MENTIONS = 4  # data/README.md: what makes a fact central


def kind(*names: str) -> list[dict]:
    return [prompt for prompt in PROMPTS if prompt["kind"] in names]


def mentions(fact: dict) -> int:
    return len(re.findall(fact["pattern"], CORPUS, re.IGNORECASE))


@pytest.mark.parametrize("domain", ["medical", "finance"])
def test_preflight_accepts_the_prompts_of_every_domain(domain):
    parse((DATA / f"{domain}prompts.jsonl").read_bytes(), f"{domain}prompts.jsonl")


def test_there_are_prompts_of_every_kind_and_enough_to_judge():
    assert len(kind("starter")) == 4
    assert len(kind("central", "completion", "question")) >= 80
    assert all(kind(name) for name in ("outside", "control"))


@pytest.mark.parametrize("prompt", kind("central"), ids=lambda prompt: prompt["id"])
def test_a_central_fact_is_stated_in_several_places_of_the_corpus(prompt):
    assert [mentions(fact) >= CENTRAL_MENTIONS for fact in prompt["facts"]] == [True]


def test_every_fact_that_the_corpus_should_teach_is_in_it():
    asked = kind("central", "completion", "question")
    assert [prompt["id"] for prompt in asked if not all(mentions(fact) for fact in prompt["facts"])] == []


def test_facts_from_outside_are_not_in_the_corpus():
    # A bare number is no fact: the corpus may well hold it in another sentence.
    facts = [(prompt["id"], fact) for prompt in kind("outside") for fact in prompt["facts"]]
    worded = [(identifier, fact) for identifier, fact in facts if re.search("[A-Za-z]{2}", fact["pattern"])]
    assert worded
    assert [identifier for identifier, fact in worded if mentions(fact)] == []


def test_no_prompt_gives_its_answer_away():
    given = [p["id"] for p in PROMPTS for fact in p["facts"] if re.search(fact["pattern"], p["prompt"], re.IGNORECASE)]
    assert given == []


def test_central_facts_and_questions_are_asked_in_words_of_their_own():
    overlap = Overlap(CORPUS)
    assert [prompt["id"] for prompt in kind("central", "question") if overlap.first(prompt["prompt"])] == []
