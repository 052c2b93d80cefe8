"""The prompts that come with the project: each asks what its kind says, and no answer is given away."""

from __future__ import annotations

import json
import re
from itertools import permutations
from typing import Any

import pytest

from preflight.prompts.prompt_file import parse
from preflight.texts.overlap import Overlap
from tests.unit.data.prompt_support import DATA, as_lines, lacking, prompts_of, spoiled

CORPUS = (DATA / "medicaldataset.txt").read_text("utf-8")
PROMPTS = prompts_of("medical")
ALL = [*PROMPTS, *prompts_of("finance")]


def kind(*names: str) -> list[dict[str, Any]]:
    return [prompt for prompt in PROMPTS if prompt["kind"] in names]


def states(fact: dict[str, str], text: str) -> bool:
    return re.search(fact["pattern"], text, re.IGNORECASE) is not None


@pytest.mark.parametrize("domain", ["medical", "finance"])
def test_preflight_accepts_the_prompts_of_every_domain(domain: str) -> None:
    parse((DATA / f"{domain}prompts.jsonl").read_bytes(), f"{domain}prompts.jsonl")


def test_there_are_prompts_of_every_kind_and_enough_to_judge() -> None:
    assert len(kind("starter")) == 4
    assert len(kind("central", "completion", "question")) >= 80
    assert all(kind(name) for name in ("outside", "control"))


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["medical", "finance"])
def test_the_corpus_states_central_facts_four_times_and_every_other_fact_that_it_should_teach(domain: str) -> None:
    rows = lacking(prompts_of(domain), (DATA / f"{domain}dataset.txt").read_text("utf-8"))
    assert rows == [], as_lines(rows)


def test_a_text_that_lacks_facts_is_told_every_prompt_that_misses_one_rarest_first() -> None:
    asked = [
        {"id": "a", "kind": "central", "facts": [{"name": "NPM1", "pattern": r"\bNPM1\b"}]},
        {"id": "b", "kind": "question", "facts": [{"name": "TET2", "pattern": r"\bTET2\b"}]},
        {"id": "c", "kind": "central", "facts": [{"name": "KIT", "pattern": r"\bKIT\b"}]},
        {"id": "d", "kind": "outside", "facts": [{"name": "RPE65", "pattern": r"\bRPE65\b"}]},
    ]
    text = "NPM1, NPM1 and NPM1; RPE65. " + "KIT " * 4
    assert as_lines(lacking(asked, text)).splitlines()[1:] == [
        "a (central): NPM1, stated 3 times, needed 4",
        "b (question): TET2, stated 0 times, needed 1",
    ]
    assert [row.prompt for row in spoiled(asked, text)] == ["d"]


def test_facts_from_outside_are_not_in_the_corpus() -> None:
    rows = spoiled(PROMPTS, CORPUS)
    assert rows == [], as_lines(rows)


def test_no_prompt_gives_its_answer_away() -> None:
    assert [prompt["id"] for prompt in ALL for fact in prompt["facts"] if states(fact, prompt["prompt"])] == []


def test_no_pattern_is_satisfied_by_words_of_its_prompt_in_another_order() -> None:
    def said_again(prompt: dict[str, Any]) -> str:
        words = {word.strip(".,:") for word in prompt["prompt"].split()}
        return "\n".join(
            joint.join(pair) for length in (1, 2) for pair in permutations(words, length) for joint in " -"
        )

    assert [p["id"] for p in ALL for fact in p["facts"] if states(fact, said_again(p))] == []


def test_prompts_with_the_same_answer_are_one_cluster() -> None:
    """Starters ask for open lists, and their answers may be those of any other prompt."""
    closed = [(prompt, fact) for prompt in kind("central", "completion", "question") for fact in prompt["facts"]]
    apart = [
        (first["id"], second["id"])
        for place, (first, fact) in enumerate(closed)
        for second, other in closed[place + 1 :]
        if states(fact, other["name"]) and states(other, fact["name"])
        if first.get("cluster", first["id"]) != second.get("cluster", second["id"])
    ]
    assert apart == []


def test_a_cluster_of_the_project_holds_two_prompts_or_more() -> None:
    named = [prompt["cluster"] for prompt in ALL if "cluster" in prompt]
    assert [name for name in named if named.count(name) == 1] == []
    assert len(named) >= 30


def test_central_facts_and_questions_are_asked_in_words_of_their_own() -> None:
    overlap = Overlap(CORPUS)
    assert [prompt["id"] for prompt in kind("central", "question") if overlap.first(prompt["prompt"])] == []


def test_what_each_prompt_of_the_field_expects_has_the_address_of_a_text_that_states_it() -> None:
    lines = (DATA / "medicalpromptsources.jsonl").read_text("utf-8").splitlines()
    sources = {row["id"]: row["source"] for row in map(json.loads, lines)}
    assert len(sources) == len(lines)
    assert sources.keys() == {prompt["id"] for prompt in PROMPTS if prompt["facts"] and prompt["kind"] != "control"}
    assert [one for one in sources.values() if not re.fullmatch(r"(https?://[^/\s]+\.[^\s]+)?", one)] == []
    assert sum(not one for one in sources.values()) <= len(sources) // 25
