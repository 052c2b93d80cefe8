"""Two trainings with different libraries are held beside each other document by document."""

from __future__ import annotations

from typing import Any

import pytest

from verification.conformance.training_image import compare


def metrics(base: float, tuned: float) -> dict[str, Any]:
    """What a training measured on two texts of ten tokens; the losses are those of the second."""
    first, second = ({"id": name, "tokens": 10, "base_nll": 40.0, "tuned_nll": 35.0} for name in ("one", "two"))
    second |= {"base_nll": 10 * base, "tuned_nll": 10 * tuned}
    return {"evaluation": {"heldout": {"documents": [first, second], "base_loss": base, "tuned_loss": tuned}}}


@pytest.mark.parametrize(
    ("base", "tuned", "problems"),
    [
        (4.0, 3.5, []),
        (4.009, 3.549, []),
        (4.02, 3.5, ["heldout two, base model: the losses are 0.020 apart"]),
        (4.0, 3.4, ["heldout two, tuned model: the losses are 0.100 apart"]),
        (float("nan"), 3.5, ["heldout two, base model: the losses are nan apart"]),
    ],
)
def test_losses_that_differ_break_the_contract(base: float, tuned: float, problems: list[str]) -> None:
    found = compare(metrics(base, tuned), metrics(4.0, 3.5), "torch 2.9.0")
    assert (found.count, list(found.problems)) == (4, problems)
