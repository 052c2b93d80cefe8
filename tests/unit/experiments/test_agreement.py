"""The patterns judge answers that a model gave as a reader did."""

from __future__ import annotations

from collections import Counter

from verification.experiments.agreement import READ, Verdict, figures, verdicts


def test_patterns_agree_with_a_reader_on_every_draw() -> None:
    found = figures(verdicts())
    assert list(found) == ["first", "second", "third", "hard"]
    assert {draw: agreed / facts >= 0.97 for draw, (facts, agreed, *_) in found.items()} == dict.fromkeys(found, True)


def test_draws_are_of_many_prompts_and_hold_facts_that_are_stated() -> None:
    found = list(verdicts())
    assert all(len({one.prompt for one in found if one.draw == draw}) == 200 for draw in ("first", "second", "third"))
    assert sum(one.read for one in found) > 100
    assert READ.read_text("utf-8").count('"model": "base"') > 200


def test_wrongly_taken_and_wrongly_refused_facts_are_counted_apart() -> None:
    kinds = Counter({(True, True): 3, (False, False): 4, (False, True): 2, (True, False): 1})
    found = [Verdict("d", "p", "f", "a", read, judged) for read, judged in kinds.elements()]
    assert figures(found) == {"d": (10, 7, 4, 2, 1)}
