"""Losses that say the model changed beside answers that say it did not: the adapter was not served."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import AdapterNotServed
from report.findings.served import ENOUGH_PROMPTS, loss_moved, refuse_base_answers

NATS = 0.2  # as far as a rehearsal of minutes moves the loss


def measured(*changes: float, tokens: int = 400) -> dict[str, Any]:
    """metrics.json with one held-out document for each change of the loss, in nats per token."""
    rows = [{"tokens": tokens, "base_nll": 3.0 * tokens, "tuned_nll": (3.0 + change) * tokens} for change in changes]
    return {"evaluation": {"heldout": {"documents": rows}}}


def answers(count: int, *, greedy: str = " a cell", sample: str = " a virus") -> list[dict[str, Any]]:
    return [{"id": f"p{place}", "greedy": greedy, "samples": [sample]} for place in range(count)]


def test_answers_of_the_base_model_under_losses_of_another_are_refused_with_the_way_to_serve_again() -> None:
    with pytest.raises(AdapterNotServed) as refused:
        refuse_base_answers(measured(-NATS, -NATS), answers(230), answers(230))
    message = str(refused.value)
    assert "answered all 230 prompts word for word as the base model did" in message
    assert "lie 0.200 nats per token apart" in message
    assert "hosting_image" in message


@pytest.mark.parametrize("changes", [(NATS, NATS), (NATS, -NATS)])
def test_a_loss_that_rose_or_went_both_ways_has_moved_as_well(changes: tuple[float, ...]) -> None:
    with pytest.raises(AdapterNotServed):
        refuse_base_answers(measured(*changes), answers(30), answers(30))


@pytest.mark.parametrize("changed", ["greedy", "sample"])
def test_one_answer_that_differs_shows_that_the_adapter_was_applied(changed: str) -> None:
    tuned = [*answers(29), {**answers(30, **{changed: " a gene"})[-1]}]
    refuse_base_answers(measured(-NATS), answers(30), tuned)


@pytest.mark.parametrize("changes", [(0.0, 0.0), (1e-9, -1e-9), (0.001, -0.001)])
def test_a_model_that_learned_nothing_answers_as_before_and_is_not_refused(changes: tuple[float, ...]) -> None:
    refuse_base_answers(measured(*changes), answers(230), answers(230))


@pytest.mark.parametrize(("prompts", "unnoticed"), [(230, 0.001), (30, 0.009), (8, 0.03)])
def test_the_fewer_the_prompts_the_further_apart_the_losses_must_lie(prompts: int, unnoticed: float) -> None:
    refuse_base_answers(measured(-unnoticed), answers(prompts), answers(prompts))
    with pytest.raises(AdapterNotServed):
        refuse_base_answers(measured(-1.5 * unnoticed), answers(prompts), answers(prompts))


def test_a_smoke_run_of_one_step_and_four_prompts_is_not_refused() -> None:
    refuse_base_answers(measured(-0.02), answers(4), answers(4))


def test_a_run_with_one_prompt_is_not_refused() -> None:
    refuse_base_answers(measured(-3 * NATS), answers(1), answers(1))


def test_the_smallest_number_of_prompts_that_can_tell_is_kept() -> None:
    refuse_base_answers(measured(-NATS), answers(ENOUGH_PROMPTS - 1), answers(ENOUGH_PROMPTS - 1))
    with pytest.raises(AdapterNotServed):
        refuse_base_answers(measured(-NATS), answers(ENOUGH_PROMPTS), answers(ENOUGH_PROMPTS))


def test_prompts_that_neither_model_answers_with_a_word_tell_nothing() -> None:
    silent = answers(230, greedy="", sample=" \n")
    refuse_base_answers(measured(-NATS), silent, silent)


@pytest.mark.parametrize(
    "metrics",
    [{}, {"evaluation": None}, {"evaluation": {"heldout": {"documents": []}}}, measured(float("nan"), tokens=400)],
)
def test_losses_that_are_missing_have_not_moved(metrics: dict[str, Any]) -> None:
    assert loss_moved(metrics) == 0.0
    refuse_base_answers(metrics, answers(230), answers(230))


def test_long_documents_weigh_more_than_short_ones() -> None:
    rows = measured(0.3, tokens=100)["evaluation"]["heldout"]["documents"]
    rows += measured(0.0, tokens=200)["evaluation"]["heldout"]["documents"]
    assert loss_moved({"evaluation": {"heldout": {"documents": rows}}}) == pytest.approx(0.1)
