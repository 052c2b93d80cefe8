"""AdapterNotServed: the losses say that the model changed, and the answers say that it did not."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import pytest

from common.errors import AdapterNotServed
from report.findings.adapter_applied import ENOUGH_PROMPTS, loss_moved, refuse_base_answers

NATS = 0.2  # as far as a rehearsal of minutes moves the loss


def measured(*changes: float, tokens: int = 400) -> dict[str, Any]:
    """metrics.json with one held-out document for each change of the loss, in nats per token."""
    rows = [{"tokens": tokens, "base_nll": 3.0 * tokens, "tuned_nll": (3.0 + change) * tokens} for change in changes]
    return {"evaluation": {"heldout": {"documents": rows}}}


def answers(count: int, *, greedy: str = " a cell", sample: str = " a virus") -> list[dict[str, Any]]:
    return [{"id": f"p{place}", "greedy": greedy, "samples": [sample]} for place in range(count)]


@pytest.mark.parametrize(
    ("changes", "prompts", "refused"),
    [
        ((NATS, NATS), 30, True),  # a loss that rose or went both ways has moved as well
        ((NATS, -NATS), 30, True),
        ((0.0, 0.0), 230, False),  # a model that learned nothing answers as before
        ((-0.001,), 230, False),  # the fewer the prompts, the further apart the losses must lie
        ((-0.0015,), 230, True),
        ((-0.03,), 8, False),
        ((-0.045,), 8, True),
        ((-NATS,), ENOUGH_PROMPTS, True),
        ((-NATS,), ENOUGH_PROMPTS - 1, False),
    ],
)
def test_losses_that_clearly_moved_beside_equal_answers_are_refused(
    changes: tuple[float, ...], prompts: int, refused: bool
) -> None:
    with pytest.raises(AdapterNotServed) if refused else nullcontext():
        refuse_base_answers(measured(*changes), answers(prompts), answers(prompts))


SILENT = answers(230, greedy="", sample=" \n")
LAST = {"greedy": answers(1, greedy=" a gene"), "sample": answers(1, sample=" a gene")}


@pytest.mark.parametrize(
    ("metrics", "base", "tuned"),
    [
        # One answer that differs shows that the adapter was applied.
        *((measured(-NATS), answers(30), [*one, *answers(30)[1:]]) for one in LAST.values()),
        (measured(-NATS), SILENT, SILENT),  # no word tells nothing
        # Losses that are missing have not moved.
        *((metrics, answers(230), answers(230)) for metrics in ({}, {"evaluation": None}, measured(math.nan))),
    ],
)
def test_nothing_is_refused_without_equal_words_and_losses(
    metrics: dict[str, Any], base: list[dict[str, Any]], tuned: list[dict[str, Any]]
) -> None:
    refuse_base_answers(metrics, base, tuned)


def test_long_documents_weigh_more_than_short_ones() -> None:
    rows = measured(0.3, tokens=100)["evaluation"]["heldout"]["documents"]
    rows += measured(0.0, tokens=200)["evaluation"]["heldout"]["documents"]
    assert loss_moved({"evaluation": {"heldout": {"documents": rows}}}) == pytest.approx(0.1)
