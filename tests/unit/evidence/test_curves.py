"""Two runs' losses side by side."""

from __future__ import annotations

from typing import Any

from verification.experiments.curves import table


def summary(*losses: float, tuned: float | None = 2.5) -> dict[str, Any]:
    curve = [{"step": number, "loss": loss} for number, loss in enumerate(losses, 1)]
    return {"training": {"loss_curve": curve}, "heldout": {"base_loss": 3.0, "tuned_loss": tuned}}


def test_every_step_has_a_line_and_the_greatest_difference_is_told() -> None:
    lines = table(summary(3.0, 2.5), summary(3.0, 2.4875)).splitlines()
    assert lines[1].split() == ["1", "3.0000", "3.0000", "+0.00000"]
    assert lines[2].split() == ["2", "2.5000", "2.4875", "-0.01250"]
    assert lines[-1] == "At most 0.01250 nats a token apart in 2 steps."


def test_what_one_of_them_lacks_is_left_open() -> None:
    lines = table(summary(3.0), summary(3.0, 2.0, tuned=None)).splitlines()
    assert lines[2].split() == ["2", "-", "2.0000", "-"]
    assert lines[4].split() == ["tuned,", "held-out", "2.5000", "-", "-"]
    assert lines[-1].endswith("in 1 steps.")
