"""The charts of losses: figures with their intervals, every document, and the loss while training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from report.charts.axes import axis, row_bands, whisker
from report.charts.drawing import SIZE, SMALL, Box, Curve, Dot, Drawing, Line, scale, text_width
from report.formatting import decimals_for, interval_text, number, range_text

ROWS_WITH_NAMES = 30  # more documents than this are drawn without their names


@dataclass(frozen=True)
class Row:
    """One figure with its interval: a line of a forest plot."""

    label: str
    figure: Mapping[str, Any]
    style: str = "tuned"

    @property
    def values(self) -> dict[str, float | None]:
        """The figure, with None for all of it where nothing was measured."""
        return {key: self.figure.get(key) for key in ("estimate", "standard_error", "low", "high")}


def forest(rows: Sequence[Row], width: float, *, title: str, unit: str, better: str, worse: str) -> Drawing:
    """Estimates with 95 % intervals against a line at zero; `better` and `worse` name the left and right side."""
    narrow = width < 500
    figures = [row.values for row in rows]
    values = [value for figure in figures for key in ("estimate", "low", "high") if (value := figure[key]) is not None]
    height_of_row = 46.0 if narrow else 34.0
    left, right = (8.0, width - 8) if narrow else (172.0, width - 200)
    top, bottom = 26.0, 26 + height_of_row * len(rows)
    across = scale([*values, 0.0], left, right, zero=True, ticks=4 if narrow else 5)
    described = "; ".join(f"{row.label}: {interval_text(figure)}" for row, figure in zip(rows, figures, strict=True))
    drawing = Drawing(width, bottom + 40, title, f"{described}. In {unit}.")
    axis(drawing, across, top, bottom, signed=True, bands=row_bands(narrow, top, height_of_row, len(rows)))
    middle = across.place(0.0)
    # A side too thin for its words is left without them.
    if middle - left > text_width("\u2190 " + better, SMALL) + 6:
        drawing.label(middle - 6, 15, f"\u2190 {better}", style="muted", anchor="end", size=SMALL)
    if right - middle > text_width(worse + " \u2192", SMALL) + 6:
        drawing.label(middle + 6, 15, f"{worse} \u2192", style="muted", size=SMALL)
    for place, (row, figure) in enumerate(zip(rows, figures, strict=True)):
        y = top + height_of_row * (place + (0.72 if narrow else 0.5))
        words = y - 14 if narrow else y + 4
        drawing.label(0, words, row.label, room=width * 0.5 if narrow else left - 14, size=SMALL if narrow else SIZE)
        if figure["estimate"] is None:
            drawing.label(width, words, "not measured", style="muted", anchor="end", size=SMALL)
            continue
        shown = number(figure["estimate"], decimals_for(figure["standard_error"]), signed=True)
        if not narrow:
            drawing.label(right + 62, words, shown, anchor="end", bold=True)
        told = f"{shown} ({range_text(figure)})" if narrow else range_text(figure)
        drawing.label(width, words, told, style="muted", anchor="end", size=SMALL)
        whisker(drawing, across, y, figure, figure["estimate"], row.style)
    drawing.label((left + right) / 2, bottom + 33, unit, style="muted", anchor="middle", size=SMALL)
    return drawing


def documents(block: Mapping[str, Any], width: float, one: str) -> Drawing:
    """Every document's difference as a dot, ordered, with the mean and its interval as a band; `one` names such a document."""
    rows = sorted(block["documents"], key=lambda row: row["difference"])
    named, narrow, mean = len(rows) <= ROWS_WITH_NAMES, width < 500, block["difference"]
    left = 262.0 if named and not narrow else 8.0
    pitch = (34.0 if narrow else 21.0) if named else max(3.0, 420 / len(rows))
    top, bottom, right = 26.0, 26 + pitch * len(rows) + 4, width - 14
    values = [row["difference"] for row in rows] + [v for v in (mean.get("low"), mean.get("high")) if v is not None]
    across = scale(values, left, right, zero=True, ticks=3 if narrow else 6)
    lower = block["lower_documents"]
    drawing = Drawing(
        width,
        bottom + 40,
        f"Loss difference of every {one}",
        f"{lower} of {len(rows)} documents have a lower loss after fine-tuning. Differences from "
        f"{number(rows[0]['difference'], 2, signed=True)} to {number(rows[-1]['difference'], 2, signed=True)} nats "
        f"per token; weighted mean {interval_text(mean)}.",
    )
    bands = row_bands(narrow and named, top + 3, pitch, len(rows))
    if mean.get("low") is not None:
        low, high = across.place(mean["low"]), across.place(mean["high"])
        for start, end in bands or [(top, bottom)]:
            drawing.add(Box(low, start, high - low, end - start, "band"))
    axis(drawing, across, top, bottom, signed=True, bands=bands)
    centre = across.place(mean["estimate"])
    for start, end in bands or [(top, bottom)]:
        drawing.add(Line(centre, start, centre, end, "tuned-dash"))
    drawing.label(min(max(centre, left + 26), right - 26), 15, "mean", style="tuned", anchor="middle", size=SMALL)
    biggest = max(row["tokens"] for row in rows)
    for place, row in enumerate(rows):
        y, x = (
            top + pitch * (place + (0.75 if narrow and named else 0.5)) + 2,
            across.place(row["difference"]),
        )
        if named and narrow:
            drawing.label(0, y - 11, row["title"], room=width, size=SMALL)
        elif named:
            drawing.label(0, y + 4, row["title"], room=left - 12, size=SMALL)
            drawing.add(Line(min(x, across.place(0)), y, max(x, across.place(0)), y, "stem"))
        radius = 2.5 + 3 * (row["tokens"] / biggest) ** 0.5 if named else 2.5
        drawing.add(Dot(x, y, radius, "tuned" if row["difference"] < 0 else "bad"))
    unit = "nats per token, tuned minus base" + ("; dot area grows with the document" if named and not narrow else "")
    drawing.label((left + right) / 2, bottom + 33, unit, style="muted", anchor="middle", size=SMALL)
    return drawing


def loss_curve(points: Sequence[Mapping[str, Any]], width: float) -> Drawing:
    """The training loss by optimizer step: each step faint, a running mean over a twentieth of the run on top."""
    steps, losses = [point["step"] for point in points], [point["loss"] for point in points]
    left, right, top, bottom = 40.0, width - 8, 10.0, 190.0
    across, up = scale([0, *steps], left, right, ticks=5, tight=True), scale(losses, bottom, top, ticks=4)
    drawing = Drawing(
        width,
        bottom + 38,
        "Training loss by step",
        f"{len(points)} points from step {steps[0]} to {steps[-1]}; loss from {number(losses[0], 2)} at the first "
        f"to {number(losses[-1], 2)} nats per token at the last.",
    )
    for tick in up.ticks:
        drawing.add(Line(left, up.place(tick), right, up.place(tick), "grid"))
        value = number(tick, up.decimals)
        drawing.label(left - 6, up.place(tick) + 4, value, style="muted", anchor="end", size=SMALL)
    for tick in across.ticks:
        half = text_width(number(tick, 0), SMALL) / 2
        x = min(across.place(tick), width - half)
        drawing.label(x, bottom + 15, number(tick, 0), style="muted", anchor="middle", size=SMALL)
    raw = tuple((across.place(step), up.place(loss)) for step, loss in zip(steps, losses, strict=True))
    reach = max(1, len(points) // 40)
    smooth = []
    for place, step in enumerate(steps):
        near = losses[max(0, place - reach) : place + reach + 1]
        smooth.append((across.place(step), up.place(sum(near) / len(near))))
    drawing.add(Curve(raw, "faint"), Curve(tuple(smooth), "tuned-thick"))
    unit = "optimizer step; training loss in nats per token"
    drawing.label((left + right) / 2, bottom + 32, unit, style="muted", anchor="middle", size=SMALL)
    return drawing
