"""The charts of what a run cost and how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from report.charts.axes import legend
from report.charts.drawing import SMALL, Box, Drawing
from report.formatting import duration, money


def cost(figures: Mapping[str, Any], width: float) -> Drawing | None:
    """What was reserved, as a bar, and how much of it training, endpoint and the rest used up."""
    reserved, actual = figures.get("reserved_cents"), figures.get("actual_cents")
    if not reserved or actual is None:
        return None
    parts = [
        (name, figures.get(f"{key}_cents") or 0, style)
        for name, key, style in (
            ("training", "training", "tuned"),
            ("endpoint", "endpoint", "base"),
            ("other", "other", "muted"),
        )
    ]
    whole = max(reserved, actual)
    words = ", ".join(f"{name} {money(cents)}" for name, cents, _ in parts)
    drawing = Drawing(
        width,
        74,
        "Cost against the reservation",
        f"Reserved {money(reserved)}, used {money(actual)}: {words}.",
    )
    drawing.add(Box(0, 22, width, 22, "track"))
    x = 0.0
    for _, cents, style in parts:
        length = width * cents / whole
        drawing.add(Box(x, 22, length, 22, style))
        x += length
    drawing.label(0, 13, f"used {money(actual)}", bold=True)
    drawing.label(width, 13, f"reserved {money(reserved)}", style="muted", anchor="end")
    legend(drawing, 0, 60, [(f"{name} {money(cents)}", style, False) for name, cents, style in parts])
    return drawing


def time_by_state(seconds: Mapping[str, float], width: float) -> Drawing | None:
    """The seconds spent in each state, in the order of the run."""
    if not seconds or max(seconds.values()) <= 0:
        return None
    left = 132.0 if width < 500 else 190.0
    right = width - 74
    longest = max(seconds.values())
    words = "; ".join(f"{name}: {duration(value)}" for name, value in seconds.items())
    drawing = Drawing(width, 22.0 * len(seconds) + 4, "Time by state", f"{words}.")
    for place, (name, value) in enumerate(seconds.items()):
        y = 22.0 * place + 4
        drawing.label(0, y + 12, name, room=left - 10, size=SMALL)
        length = max(1.5, (right - left) * max(0.0, value) / longest)
        drawing.add(Box(left, y + 2, length, 13, "tuned"))
        drawing.label(left + length + 7, y + 12.5, duration(value), style="muted", size=SMALL)
    return drawing
