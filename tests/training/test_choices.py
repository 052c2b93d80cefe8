"""Items to choose from: which pairs of prompt and end are scored, and that their figures are those of the model itself."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from choices import FROM_PROMPTS, FROM_RECORDS, LIKE_LENGTH, MOST_ANSWER_TOKENS, Item, choices_of, items_of, read_items
from common.records import Record
from failure import TrainingFailure
from tests.doubles.rehearsal.toy_container import Container, items
from tests.doubles.rehearsal.toy_models import bytes_without_a_start, prose
from text import of_records


def test_a_run_scores_each_end_as_the_model_itself_does_after_its_own_prompt_and_after_the_others(
    finished: tuple[Container, list[str]], tiny_model: Path
) -> None:
    container, _ = finished
    measured, asked = container.metrics["choices"], items(4)
    model = AutoModelForCausalLM.from_pretrained(tiny_model).float()
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)

    def likelihood(prompt: str, end: str) -> float:
        before, whole = (tokenizer(text)["input_ids"] for text in (prompt, f"{prompt} {end}"))
        with torch.no_grad():
            ahead = model(torch.tensor([whole])).logits[0].log_softmax(-1)
        return sum(float(ahead[place - 1, whole[place]]) for place in range(len(before), len(whole)))

    assert measured["source"] == FROM_PROMPTS
    for item, told in zip(asked, measured["items"], strict=True):
        assert (told["prompt"], told["correct"]) == (item["prompt"], item["choices"][0])
        own = [likelihood(item["prompt"], end) for end in item["choices"]]
        others = [one["prompt"] for one in asked if one is not item]
        other = [sum(likelihood(prompt, end) for prompt in others) / 3 for end in item["choices"]]
        assert told["base"]["own"] == pytest.approx(own, rel=0.01)
        assert told["base"]["other"] == pytest.approx(other, rel=0.01)
        assert own != pytest.approx(other, rel=0.01)
        assert told["tuned"]["own"] != told["base"]["own"]
    assert "choices" not in container.metrics["evaluation"], "no loss of a text is made of them"


def test_items_that_share_no_ends_are_compared_with_the_next_ones(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "kind": "choice", "prompt": prose(n, 4), "choices": [prose(n, 2), prose(n + 50, 2)]}
        for n in range(6)
    ]
    path = tmp_path / "choices.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    choices = choices_of(read_items(path), FROM_PROMPTS, bytes_without_a_start())
    assert [len(pairs) for ends in choices.others for pairs in ends] == [3] * 12
    told = {place: choices.pairs[pair].id.split()[0] for place, ends in enumerate(choices.others) for pair in ends[0]}
    assert all(name != str(place) for place, name in told.items())
    assert len(choices.pairs) == len({(one.id.split()[0], one.text) for one in choices.pairs}), "each pair once"
    alone = choices_of(read_items(path)[:1], FROM_PROMPTS, bytes_without_a_start())
    assert alone.items == (), "it has no control"


def cases(answers: Sequence[str]) -> list[Item]:
    """What becomes of held-out records with these answers, each in a group of its own."""
    records = [Record(f"r{n}", f"g{n}", prompt=f"Case {n}:", completion=f" {one}") for n, one in enumerate(answers)]
    return items_of([of_records([record]) for record in records])


def test_held_out_records_of_like_length_are_each_others_distractors() -> None:
    words = [n // 4 + 3 for n in range(32)]
    random.shuffle(words)
    answers = [f"{prose(place, count)} {place}" for place, count in enumerate(words)]
    made = cases(answers)
    assert len(made) >= 24
    for item in made:
        right, *misses = (end.reference for end in item.ends)
        assert right == answers[int(item.id[1:])] and right not in misses and 1 <= len(misses) <= 3
        lengths = [len(end) for end in (right, *misses)]
        assert max(lengths) <= LIKE_LENGTH * min(lengths)
        assert {end.prompt for end in item.ends} == {f"Case {item.id[1:]}:"}
    choices = choices_of(made, FROM_RECORDS, bytes_without_a_start())
    sizes = Counter(item.cluster for item in made)
    assert len(choices.pairs) == sum(size * size for size in sizes.values()), "each prompt of a set with each answer"
    assert cases(answers[:1]) == [], "one finds no other"


def test_answers_of_other_lengths_are_no_distractors_and_of_long_ones_the_opening_counts() -> None:
    made = cases([prose(1, 3), prose(2, 12), prose(3, 3), prose(4, 12), prose(5, 90), prose(7, 85)])
    sets: dict[str, set[str]] = {}
    for item in made:
        sets.setdefault(item.cluster, set()).add(item.id)
    assert sorted(map(sorted, sets.values())) == [["r0", "r2"], ["r1", "r3"], ["r4", "r5"]]
    choices = choices_of(made, FROM_RECORDS, bytes_without_a_start())
    assert max(len(one.tokens) for one in choices.pairs) == MOST_ANSWER_TOKENS


def test_of_answers_that_are_labels_each_record_meets_the_other_ones() -> None:
    made = cases(["benign", "benign", "pathogen", "benign", "pathogen", "benign"])
    assert Counter(item.cluster for item in made) == {"records 1": 2, "records 2": 2}


def test_conversations_with_one_answer_keep_their_question() -> None:
    talks = [Record(f"r{n}", f"g{n}", turns=(("user", f"Case {n}?"), ("assistant", prose(n, 3)))) for n in range(4)]
    more = Record("r9", "g9", turns=(*talks[0].turns, ("user", "Why?"), ("assistant", prose(9, 3))))
    made = items_of([of_records([record]) for record in (*talks, more)])
    assert sorted(item.id for item in made) == ["r0", "r1", "r2", "r3"]
    assert all(end.turns[0] == item.ends[0].turns[0] for item in made for end in item.ends)


@pytest.mark.parametrize("line", ["[", '{"id": "a"}', '{"id": "a", "kind": "choice", "prompt": "x", "choices": 7}'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "choices.jsonl"
    path.write_text(f"\n{line}\n", encoding="utf-8")
    with pytest.raises(TrainingFailure, match="Line 2 of choices.jsonl"):
        read_items(path)
    assert read_items(tmp_path / "none.jsonl") == []
