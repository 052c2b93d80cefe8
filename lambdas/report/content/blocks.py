"""What a report is made of. The modules beside this one write these; html/ and pdf/ set them for their medium."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from report.charts.drawing import NARROW, WIDE, Drawing


@dataclass(frozen=True)
class Para:
    """A paragraph; `tone` is "", "lead", "small" or "strong"."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Notice:
    """A paragraph that must not be missed; `tone` is "warn", "bad" or "calm"."""

    title: str
    text: str
    tone: str = "calm"


@dataclass(frozen=True)
class Bullets:
    """An unordered list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Preformatted text, for a command or a message."""

    text: str
    label: str


@dataclass(frozen=True)
class Table:
    """A table whose first column heads its rows; `folded` where only some readers want it."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False


@dataclass(frozen=True)
class Pairs:
    """Names and values."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Figure:
    """A chart, drawn for a wide and for a narrow screen, with its caption."""

    wide: Drawing
    narrow: Drawing
    caption: str


@dataclass(frozen=True)
class AnswerList:
    """The answers to the prompts of one kind, both models side by side."""

    title: str
    rows: tuple[Mapping[str, Any], ...]
    notable_words: int


Block = Para | Notice | Bullets | Code | Table | Pairs | Figure | AnswerList


@dataclass
class Section:
    """A part of the report under a heading of its own."""

    identifier: str
    title: str
    blocks: list[Block] = field(default_factory=list)
    aside: bool = False


@dataclass(frozen=True)
class Headline:
    """The first screen: what came out, why, and the figures that matter most."""

    kicker: str
    title: str
    tone: str
    reason: str
    figures: tuple[tuple[str, str, str], ...]
    facts: tuple[tuple[str, str], ...]


def figure(draw: Callable[[float], Drawing | None], caption: str) -> list[Block]:
    """The chart at both widths; nothing where there is nothing to draw."""
    wide, narrow = draw(WIDE), draw(NARROW)
    return [Figure(wide, narrow, caption)] if wide and narrow else []


def rows_of(*rows: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Table rows from any sequences of text."""
    return tuple(tuple(row) for row in rows)
