"""A chart as a short list of primitives, so that the page (SVG) and the PDF draw the same geometry.

Units are CSS pixels, y grows downward. A `style` names a role ("base", "tuned", "zero"); html/page.css and pdf/flow.py
give it a colour for their medium.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from report.fonts import shorten, width

FONT = "Helvetica"
SIZE = 12.0
SMALL = 11.0
# Every chart takes a width and is drawn twice: for page and PDF, and for a phone.
WIDE, NARROW = 720.0, 340.0
# The page uses the reader's own sans serif, which may be this much wider than the Helvetica that is measured.
WIDEST_FONT = 1.18


@dataclass(frozen=True)
class Line:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    style: str


@dataclass(frozen=True)
class Curve:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    style: str


@dataclass(frozen=True)
class Box:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    style: str


@dataclass(frozen=True)
class Dot:
    """A disc, or a ring where `hollow`."""

    x: float
    y: float
    radius: float
    style: str
    hollow: bool = False


@dataclass(frozen=True)
class Label:
    """A line of text; `anchor` is start, middle or end. The y is that of the baseline."""

    x: float
    y: float
    text: str
    style: str = "ink"
    anchor: str = "start"
    size: float = SIZE
    bold: bool = False


Primitive = Line | Curve | Box | Dot | Label


@dataclass
class Drawing:
    """A chart: its size, what it shows in words, and its primitives in the order they are painted."""

    width: float
    height: float
    title: str
    description: str
    items: list[Primitive] = field(default_factory=list)

    def add(self, *items: Primitive) -> None:
        """Paint on top of what is there."""
        self.items.extend(items)

    def label(
        self, x: float, y: float, text: str, *, room: float | None = None, style: str = "ink", anchor: str = "start",
        size: float = SIZE, bold: bool = False,
    ) -> None:  # fmt: skip
        """Text, cut with an ellipsis where it is wider than `room`."""
        font = f"{FONT}-Bold" if bold else FONT
        self.add(
            Label(
                x,
                y,
                text if room is None else shorten(text, font, size, room / WIDEST_FONT),
                style,
                anchor,
                size,
                bold,
            )
        )


@dataclass(frozen=True)
class Scale:
    """Maps values to places, with round ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    decimals: int

    def place(self, value: float) -> float:
        """Where a value lies, kept on the scale."""
        inside = min(max(value, self.low), self.high)
        return self.start + (inside - self.low) / (self.high - self.low) * (self.end - self.start)


def scale(
    values: Sequence[float],
    start: float,
    end: float,
    *,
    zero: bool = False,
    ticks: int = 5,
    tight: bool = False,
) -> Scale:
    """A scale over the values with ticks at a distance of 1, 2 or 5 times a power of ten.

    It is widened to the next ticks, unless `tight`: then it ends where the values end.
    """
    low, high = min(values), max(values)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / max(1, ticks)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    marks = tuple(count * step for count in range(first, last + 1))
    if tight:
        marks = tuple(mark for mark in marks if low <= mark <= high)
    ends = (low, high) if tight else (marks[0], marks[-1])
    return Scale(*ends, start, end, marks, max(0, -math.floor(math.log10(step) + 1e-9)))


def text_width(text: str, size: float = SIZE, *, bold: bool = False) -> float:
    """How wide a label can be, whatever font the reader has."""
    return WIDEST_FONT * width(text, f"{FONT}-Bold" if bold else FONT, size)
