"""AdapterNotServed: the losses say that the model changed, and the answers say that it did not."""

from __future__ import annotations

from contextlib import nullcontext
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


def test_base_answers_beside_tuned_losses_are_refused_with_the_way_out() -> None:
    with pytest.raises(AdapterNotServed) as refused:
        refuse_base_answers(measured(-NATS, -NATS), answers(230), answers(230))
    assert all(fact in str(refused.value) for fact in ("230 prompts", "0.200 nats per token", "hosting_image"))


@pytest.mark.parametrize(
    ("changes", "prompts", "refused"),
    [
        ((NATS, NATS), 30, True),  # a loss that rose or went both ways has moved as well
        ((NATS, -NATS), 30, True),
        ((0.0, 0.0), 230, False),  # a model that learned nothing answers as before
        ((0.001, -0.001), 230, False),
        ((-0.001,), 230, False),  # the fewer the prompts, the further apart the losses must lie
        ((-0.0015,), 230, True),
        ((-0.009,), 30, False),
        ((-0.0135,), 30, True),
        ((-0.03,), 8, False),
        ((-0.045,), 8, True),
        ((-0.02,), 4, False),  # a smoke run of one step and four prompts
        ((-NATS,), ENOUGH_PROMPTS, True),
        ((-NATS,), ENOUGH_PROMPTS - 1, False),
    ],
)
def test_losses_that_clearly_moved_beside_equal_answers_are_refused(
    changes: tuple[float, ...], prompts: int, refused: bool
) -> None:
    with pytest.raises(AdapterNotServed) if refused else nullcontext():
        refuse_base_answers(measured(*changes), answers(prompts), answers(prompts))


@pytest.mark.parametrize("changed", ["greedy", "sample"])
def test_one_answer_that_differs_shows_that_the_adapter_was_applied(changed: str) -> None:
    tuned = [*answers(29), {**answers(30, **{changed: " a gene"})[-1]}]
    refuse_base_answers(measured(-NATS), answers(30), tuned)


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
