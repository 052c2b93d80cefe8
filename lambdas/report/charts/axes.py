"""What several charts share: the axis with its grid, the marks of a figure with its interval, and the legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from report.charts.drawing import SMALL, Dot, Drawing, Line, Scale, text_width
from report.formatting import number


def axis(
    drawing: Drawing, across: Scale, top: float, bottom: float, *, signed: bool = False, zero: bool = True,
    bands: Sequence[tuple[float, float]] = (),
) -> None:  # fmt: skip
    """Vertical grid lines (only within `bands`, if given) with their values below, and a stronger line at zero."""
    shown = across.ticks
    widest = max(text_width(number(tick, across.decimals, signed=signed), SMALL) for tick in shown) + 8
    while len(shown) > 2 and widest * (len(shown) - 1) > across.end - across.start:
        shown = shown[::2]
    for tick in shown:
        x, is_zero = across.place(tick), zero and abs(tick) < 1e-12
        for start, end in bands or [(top, bottom)]:
            drawing.add(Line(x, start, x, end, "zero" if is_zero else "grid"))
        value = number(0.0 if is_zero else tick, across.decimals, signed=signed)
        half = text_width(value, SMALL) / 2
        inside = min(max(x, half), drawing.width - half)
        drawing.label(inside, bottom + 15, value, style="muted", anchor="middle", size=SMALL)


def row_bands(narrow: bool, top: float, pitch: float, count: int) -> list[tuple[float, float]]:
    """On a narrow chart the labels stand above each row, so grid lines are drawn beside the marks only."""
    if not narrow:
        return []
    return [(top + pitch * (place + 0.72) - 9, top + pitch * (place + 0.72) + 9) for place in range(count)]


def whisker(
    drawing: Drawing, across: Scale, y: float, figure: Mapping[str, float | None], estimate: float, style: str
) -> None:
    """A dot at a figure's estimate with its interval, where it has one."""
    if figure["low"] is not None and figure["high"] is not None:
        low, high = across.place(figure["low"]), across.place(figure["high"])
        drawing.add(Line(low, y, high, y, f"{style}-thick"))
        drawing.add(Line(low, y - 4, low, y + 4, style), Line(high, y - 4, high, y + 4, style))
    drawing.add(Dot(across.place(estimate), y, 5, style))


def legend(drawing: Drawing, x: float, y: float, entries: Sequence[tuple[str, str, bool]]) -> None:
    """(words, style, hollow) side by side, with a mark before each."""
    for words, style, hollow in entries:
        drawing.add(Dot(x + 5, y, 4.5, style, hollow))
        drawing.label(x + 15, y + 4, words, style="muted", size=SMALL)
        x += 15 + text_width(words, SMALL) + 18
