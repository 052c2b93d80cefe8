"""Asking one model of the endpoint: the same questions and seeds for both, and no answer lost."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest

from ask.questions import MARGIN_SECONDS, SAVE_EVERY_PROMPTS, Settings, _ask, ask_all
from common.errors import EndpointAnsweredBadly
from tests.doubles.ask_site import SETTINGS, Runtime, Shelf, ask, completion, prompts


def test_each_prompt_gets_a_greedy_answer_and_seeded_samples() -> None:
    shelf = Shelf()
    ask(Runtime(), 1, shelf)
    assert shelf[-1] == [
        {"id": "p0", "kind": "question", "prompt": "Prompt 0", "model": "medical", "greedy": "Prompt 0|0.0|7",
         "samples": ["Prompt 0|0.6|7", "Prompt 0|0.6|8"], "seeds": [7, 8], "max_tokens": 64, "temperature": 0.6, "top_p": 0.9,
         "seconds": shelf[-1][0]["seconds"]}
    ]  # fmt: skip


def test_a_request_is_what_the_server_takes() -> None:
    runtime = Runtime()
    ask(runtime, 1, Shelf())
    greedy, sampled = runtime.bodies[:2]
    assert greedy == {
        "model": "medical",
        "prompt": "Prompt 0",
        "max_tokens": 64,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": 7,
    }
    assert sampled == {
        "model": "medical",
        "prompt": "Prompt 0",
        "max_tokens": 64,
        "temperature": 0.6,
        "top_p": 0.9,
        "seed": 7,
    }
    asked = runtime.calls[0][1]
    assert (asked["EndpointName"], asked["CustomAttributes"]) == ("captune-abc", "route=/v1/completions")


def test_answers_come_in_the_order_of_the_prompts_however_late_each_is() -> None:
    late, others = threading.Event(), []

    def slow_first(body: dict[str, Any]) -> None:
        if body["prompt"] == "Prompt 0":
            late.wait(10)
        else:
            others.append(1)
            if len(others) == 3 * 9:
                late.set()

    shelf = Shelf()
    assert ask(Runtime(slow_first), 10, shelf) == shelf.ids == [f"p{n}" for n in range(10)]


def test_only_what_is_not_answered_yet_is_asked() -> None:
    runtime, shelf = Runtime(), Shelf()
    ask(Runtime(), 3, shelf)
    assert ask(runtime, 5, shelf, done=shelf[-1]) == ["p0", "p1", "p2", "p3", "p4"]
    assert {body["prompt"] for body in runtime.bodies} == {"Prompt 3", "Prompt 4"}


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    barrier = threading.Barrier(4)

    def meet(body: dict[str, Any]) -> None:
        barrier.wait(10)

    runtime = Runtime(meet)
    ask(runtime, 12, Shelf(), settings=Settings("e", "base", samples=0, seed=1, concurrency=4))
    assert runtime.busiest == 4


def test_nothing_more_is_asked_when_time_is_over_and_the_rest_remains() -> None:
    ticks = iter(range(10_000))
    runtime, shelf = Runtime(), Shelf()
    one_by_one = Settings("e", "base", samples=0, seed=1, concurrency=1)
    answered = ask(runtime, 50, shelf, settings=one_by_one, seconds=12.0, clock=lambda: float(next(ticks)))
    assert 1 <= len(answered) < 12
    assert shelf.ids == answered == [f"p{n}" for n in range(len(answered))]


def test_where_a_prompt_has_taken_longer_than_the_margin_the_asking_ends_so_much_earlier() -> None:
    (done,) = ask_all(Runtime(), prompts(1), [], SETTINGS, 60.0, lambda lines: None)

    def answered(longest: float, seconds: float) -> int:
        ticks = itertools.count()
        one_by_one, before = Settings("e", "base", samples=0, seed=1, concurrency=1), [{**done, "seconds": longest}]
        passing = {"seconds": seconds, "clock": lambda: float(next(ticks))}
        return len(ask(Runtime(), 50, Shelf(), done=before, settings=one_by_one, **passing))

    assert answered(0, 12) == answered(MARGIN_SECONDS, 12) > answered(MARGIN_SECONDS + 4, 12) == answered(0, 8) > 1


@pytest.mark.parametrize("already", [0, 3])
def test_at_least_one_prompt_is_asked_however_little_time_there_is(already: int) -> None:
    shelf = Shelf([[]])
    if already:
        ask(Runtime(), already, shelf)
    answered = ask(Runtime(), 10, shelf, done=shelf[-1], seconds=-5.0)
    assert len(answered) == already + 1


def test_what_is_answered_is_saved_when_time_is_over_even_if_a_request_still_hangs() -> None:
    hanging, shelf = threading.Event(), Shelf()

    def save(answers: list[dict[str, Any]]) -> None:
        shelf.append(answers)
        hanging.set()

    def hang(body: dict[str, Any]) -> None:
        if body["prompt"] == "Prompt 1":
            assert hanging.wait(10), "nothing was saved while a request hung"

    two = Settings("e", "base", samples=0, seed=1, concurrency=2)
    ask_all(Runtime(hang), prompts(2), [], two, 0.2, save)
    assert [answer["id"] for answer in shelf[0]] == ["p0"]
    assert shelf.ids == ["p0", "p1"]


def test_long_lists_are_saved_on_the_way() -> None:
    shelf = Shelf()
    ask(Runtime(), SAVE_EVERY_PROMPTS + 20, shelf)
    assert len(shelf) == 2
    assert len(shelf[0]) >= SAVE_EVERY_PROMPTS


def test_a_starter_is_always_sampled_once_beside_its_greedy_answer() -> None:
    prompt = {"id": "s", "kind": "starter", "prompt": "Certain germline disorders", "facts": []}
    settings = Settings("e", "base", samples=0, seed=7, concurrency=1)
    answer = _ask(Runtime(), prompt, settings)
    assert (len(answer["samples"]), answer["seeds"]) == (1, [7])


TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


def test_a_conversation_goes_where_the_server_writes_it_by_the_models_template() -> None:
    runtime = Runtime()
    prompt = {"id": "r", "kind": "record", "prompt": "Why?", "messages": TALK, "reference": "So.", "facts": []}
    answer = _ask(runtime, prompt, Settings("e", "medical", samples=1, seed=7, concurrency=1))
    assert (answer["greedy"], answer["samples"]) == ("system+user|0.0|7", ["system+user|0.6|7"])
    assert answer["prompt"] == "Why?" and "messages" not in answer
    assert runtime.bodies[0] == {
        "model": "medical", "messages": TALK, "max_tokens": 64, "temperature": 0.0, "top_p": 1.0, "seed": 7,
    }  # fmt: skip
    assert {call[1]["CustomAttributes"] for call in runtime.calls} == {"route=/v1/chat/completions"}


def test_a_conversation_answered_in_the_form_of_a_completion_is_answered_badly() -> None:
    runtime = Runtime(lambda body: completion("So.", "medical"))
    prompt = {"id": "r", "kind": "record", "prompt": "Why?", "messages": TALK, "facts": []}
    with pytest.raises(EndpointAnsweredBadly, match="did not answer as an OpenAI completion"):
        _ask(runtime, prompt, Settings("e", "medical", samples=0, seed=7, concurrency=1))
