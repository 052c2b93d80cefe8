"""The prompts that come with the project: what they ask the corpus teaches, no answer is given away, and each pattern finds right answers only."""

import json
import re
from collections import Counter
from functools import cache
from itertools import combinations, islice, permutations
from typing import Any

import pytest

from captune.data import DATA
from common.key_facts import own_answer, readings, stated
from preflight.texts.held_out import Overlap
from preflight.texts.prompts import parse
from verification.experiments.agreement import Verdict, figures, verdicts


def text(name: str) -> str:
    return (DATA / name).read_text("utf-8")


def prompts_of(domain: str) -> list[dict[str, Any]]:
    """The prompts that are asked."""
    return [row for line in text(f"{domain}prompts.jsonl").splitlines() if "choices" not in (row := json.loads(line))]


MEDICAL = prompts_of("medical")
ITEMS = [row for line in text("medicalprompts.jsonl").splitlines() if "choices" in (row := json.loads(line))]
ALL = {prompt["id"]: prompt for prompt in [*MEDICAL, *prompts_of("finance")]}
CORPUS = text("medicaldataset.txt")
# data/README.md: what makes a fact central, and that every other fact of the corpus stands in it.
KINDS = ("starter", "central", "completion", "question", "outside", "control")
NEEDED = {"central": 4, "completion": 1, "question": 1}


@cache
def spelled(text: str) -> str:
    """A text in the spelling that patterns are made for."""
    return readings(text)[-1].text


def mentions(fact: dict[str, str], text: str, most: int = 1) -> int:
    """How often a text has the words of a fact; the search ends at `most`."""
    return sum(1 for _ in islice(re.finditer(fact["pattern"], spelled(text), re.IGNORECASE), most))


def found(identifier: str, answer: str) -> list[str]:
    """The names of the facts of a prompt that an answer states."""
    texts = readings(own_answer(answer))
    facts = ALL[identifier]["facts"]
    return [fact["name"] for fact in facts if stated(re.compile(fact["pattern"], re.IGNORECASE), texts)]


def facts(*kinds: str, prompts: list[dict[str, Any]] = MEDICAL) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """The prompts of these kinds, each with each of its facts."""
    return [(prompt, fact) for prompt in prompts if prompt["kind"] in kinds for fact in prompt["facts"]]


@pytest.mark.parametrize("domain", ["medical", "finance"])
def test_preflight_accepts_the_prompts(domain: str) -> None:
    parse((DATA / f"{domain}prompts.jsonl").read_bytes(), f"{domain}prompts.jsonl")


def test_enough_prompts_of_every_kind_are_there_to_judge() -> None:
    kinds = [prompt["kind"] for prompt in MEDICAL]
    assert sum(kind in NEEDED for kind in kinds) >= 80
    assert {"starter", "outside", "control", *NEEDED} == set(kinds)


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["medical", "finance"])
def test_the_corpus_states_central_facts_four_times_and_others_once(domain: str) -> None:
    corpus = text(f"{domain}dataset.txt")
    for one, fact in facts(*NEEDED, prompts=prompts_of(domain)):
        needed = NEEDED[one["kind"]]
        assert mentions(fact, corpus, needed) == needed, (one["id"], fact["name"])


def test_items_to_choose_from_come_in_sets_in_which_each_end_is_right_once() -> None:
    sets: dict[str, list[dict[str, Any]]] = {}
    for item in ITEMS:
        sets.setdefault(item["cluster"], []).append(item)
    for name, items in sets.items():
        ends = {item["choices"][0] for item in items}
        assert len(items) == 4 and all(len(item["choices"]) == 4 and set(item["choices"]) == ends for item in items)
        assert max(map(len, ends)) <= 1.6 * min(map(len, ends)), f"{name}: no end is told by its length"
        words = {word for end in ends for word in re.findall(r"\w{4,}", end.lower())}
        assert not any(words & set(re.findall(r"\w{4,}", item["prompt"].lower())) for item in items), name
    kinds = Counter(re.sub(r"-\d+$", "", item["id"]) for item in ITEMS)
    assert min(kinds[f"choice-{area}"] for area in ("genomics", "viruses", "medicine")) >= 90
    assert sum(kinds.values()) - kinds["vignette"] >= 300 and kinds["vignette"] >= 40


def test_no_item_to_choose_from_stands_in_the_corpus() -> None:
    overlap = Overlap([CORPUS, text("medicalheldout.txt")])
    assert [item["id"] for item in ITEMS if overlap.first(f"{item['prompt']} {item['choices'][0]}")] == []


def test_facts_from_outside_are_not_in_the_corpus() -> None:
    assert [(prompt["id"], fact["name"]) for prompt, fact in facts("outside") if mentions(fact, CORPUS)] == []


def test_no_prompt_gives_its_answer_away_in_any_order_of_words() -> None:
    def said_again(prompt: str) -> str:
        words = {word.strip(".,:") for word in prompt.split()}
        pairs = (joint.join(pair) for length in (1, 2) for pair in permutations(words, length) for joint in " -")
        return "\n".join([prompt, *pairs])

    for one, fact in facts(*KINDS, prompts=[*ALL.values()]):
        assert not mentions(fact, said_again(one["prompt"])), one["id"]


def test_prompts_with_the_same_answer_are_one_cluster() -> None:
    """Starters ask for open lists, and their answers may be those of any other prompt."""
    for (first, fact), (second, other) in combinations(facts(*NEEDED), 2):
        if mentions(fact, other["name"]) and mentions(other, fact["name"]):
            assert first.get("cluster", first["id"]) == second.get("cluster", second["id"])
    assert 1 not in Counter(prompt["cluster"] for prompt in ALL.values() if "cluster" in prompt).values()


def test_central_facts_and_questions_are_not_asked_in_words_of_the_corpus() -> None:
    overlap = Overlap([CORPUS])
    asked = [prompt for prompt in MEDICAL if prompt["kind"] in ("central", "question")]
    assert [prompt["id"] for prompt in asked if overlap.first(prompt["prompt"])] == []


def test_what_a_prompt_expects_has_the_address_of_a_text_that_states_it() -> None:
    lines = [json.loads(line) for line in text("medicalpromptsources.jsonl").splitlines()]
    sources = {row["id"]: row["source"] for row in lines}
    assert sources.keys() == {one["id"] for one in MEDICAL if one["facts"] and one["kind"] != "control"}
    assert [one for one in sources.values() if not re.fullmatch(r"(https?://[^/\s]+\.[^\s]+)?", one)] == []
    assert sum(not one for one in sources.values()) <= len(sources) // 25


CASES = {
    row["id"]: {fact["name"]: fact for fact in row["facts"]}
    for domain in ("medical", "finance")
    for row in map(json.loads, text(f"{domain}promptcases.jsonl").splitlines())
}


@pytest.mark.parametrize("identifier", CASES)
def test_each_case_of_a_prompt_is_judged_as_written(identifier: str) -> None:
    for name, cases in CASES[identifier].items():
        assert [answer for answer in cases["accepted"] if name not in found(identifier, answer)] == []
        assert [answer for answer in cases["refused"] if name in found(identifier, answer)] == []


def test_every_fact_has_six_answers_of_each_kind() -> None:
    """Three in the small second domain."""
    for one, fact in facts(*KINDS, prompts=[*ALL.values()]):
        cases = CASES[one["id"]][fact["name"]]
        assert min(len(set(cases[kind])) for kind in ("accepted", "refused")) >= (6 if one in MEDICAL else 3), one["id"]


def test_a_denied_answer_is_a_case_of_every_closed_prompt() -> None:
    denial = re.compile(r"\b(?:not|never|rather than|instead of|unlike|no)\b", re.IGNORECASE)
    for one in (one["id"] for one in MEDICAL if one["kind"] != "starter"):
        assert any(denial.search(answer) for cases in CASES[one].values() for answer in cases["refused"]), one


def test_a_fact_is_named_by_an_answer_to_its_prompt() -> None:
    """A starter's facts are named by what they have in common."""
    closed = [(one, fact) for one in ALL.values() if one["kind"] != "starter" for fact in one["facts"]]
    assert [(one["id"], fact["name"]) for one, fact in closed if not mentions(fact, fact["name"])] == []


# The patterns beside a reader, on answers that a model gave --------------------------------------------------------------


def test_patterns_agree_with_a_reader_on_every_draw() -> None:
    least = {**dict.fromkeys(("first", "second", "third", "hard"), 0.97), "written": 0.77, "written, unseen": 0.69}
    found = figures(verdicts())
    assert list(found) == list(least)
    assert [draw for draw, (facts, agreed, *_) in found.items() if agreed / facts < least[draw]] == []


def test_wrongly_taken_and_wrongly_rejected_facts_are_counted_apart() -> None:
    kinds = Counter({(True, True): 3, (False, False): 4, (False, True): 2, (True, False): 1})
    found = [Verdict("d", "p", "f", "a", read, judged) for read, judged in kinds.elements()]
    assert figures(found) == {"d": (10, 7, 4, 2, 1)}
