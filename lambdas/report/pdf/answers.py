"""The answers of both models in two columns of a PDF, key facts shaded, copied runs underlined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from report.content.blocks import AnswerList
from report.fonts import line_spans, wrap
from report.formatting import tidy
from report.pdf.flow import BODY, BOTTOM, INKS, ITALIC, LEFT, MUTED, ROOM, SANS, SANS_BOLD, TOP, Flow

SIZE = 8.6
GAP = 18.0
COLUMN = (ROOM - GAP) / 2
INDENT = 8.0
_PAGE = BOTTOM - TOP - 10  # what is kept together is never higher


def answer_list(flow: Flow, block: AnswerList) -> None:
    """All prompts of one kind; a title, a question and the first answers to it stand on one page."""
    flow.space(6)
    opening = 0.0
    if block.rows:
        row = block.rows[0]
        opening = _opening_height(row, _height(row, _pairs(row)[0], block.notable_words))
    flow.text(block.title, SANS_BOLD, 10, after=2, keep=min(opening, _PAGE - 30), tag="H3")
    for row in block.rows:
        _prompt(flow, row, block.notable_words)
    flow.y += 8


def _prompt(flow: Flow, row: Mapping[str, Any], notable_words: int) -> None:
    pairs = _pairs(row)
    heights = [_height(row, items, notable_words) for items in pairs]
    flow.need(_opening_height(row, heights[0]))
    flow.rule(before=5, after=3)
    flow.text(row["prompt"], ITALIC, 9.6, leading=1.3, after=1, tag="H4")
    if row.get("reference"):
        flow.text(_reference(row), SANS, 7.6, leading=1.3, after=1)
    for place, (items, height) in enumerate(zip(pairs, heights, strict=True)):
        _pair(flow, row, items, height, place, notable_words)


def _opening_height(row: Mapping[str, Any], first_pair: float) -> float:
    """What a question takes with the first answer of each model, which is `first_pair` high; at most a page."""
    lines = len(wrap(tidy(row["prompt"]), ITALIC, 9.6, ROOM)) * 9.6 * 1.3
    reference = len(wrap(tidy(_reference(row)), SANS, 7.6, ROOM)) * 7.6 * 1.3 + 1 if row.get("reference") else 0.0
    return min(8 + lines + 1 + reference + first_pair, _PAGE)


def _reference(row: Mapping[str, Any]) -> str:
    return f"The record's own answer: {row['reference']}"


def _pairs(row: Mapping[str, Any]) -> list[list[dict[str, Any] | None]]:
    """The greedy answers of both models, then their samples; None where one has fewer than the other."""
    answers = [row.get("base"), row.get("tuned")]
    most = max(1 + len(answer["samples"]) if answer else 1 for answer in answers)
    return [[_item(answer, place) for answer in answers] for place in range(most)]


def _height(row: Mapping[str, Any], items: list[dict[str, Any] | None], notable_words: int) -> float:
    """What two answers beside one another take."""
    heights = []
    for item in items:
        lines = len(line_spans(item["text"], BODY, SIZE, COLUMN - INDENT)) if item else 1
        notes = len(wrap(_note(item, row, notable_words), SANS, 7.2, COLUMN - INDENT)) if item else 1
        heights.append(12 + lines * SIZE * 1.3 + notes * 9.4)
    return max(heights) + 5


def _pair(
    flow: Flow,
    row: Mapping[str, Any],
    items: list[dict[str, Any] | None],
    height: float,
    place: int,
    notable_words: int,
) -> None:
    """One answer of each model beside the other, kept on one page."""
    flow.need(min(height, _PAGE))
    top = flow.y
    kind = "greedy" if place == 0 else f"sample {place}"
    for side, (name, item) in enumerate(zip(("base", "tuned"), items, strict=True)):
        x = LEFT + side * (COLUMN + GAP)
        flow.page.lines([(x, top + 3), (x, top + height - 4)], INKS[name], 1.4)
        with flow.tagged("P"):
            flow.page.text(x + INDENT, top + 9, f"{name}, {kind}", SANS_BOLD, 7.2, INKS[name])
            if item:
                _answer(flow, item, _note(item, row, notable_words), notable_words, x + INDENT, top + 10)
            else:
                flow.page.text(x + INDENT, top + 20, "No answer was recorded.", SANS, 7.2, MUTED)
    flow.y = top + height


def _answer(flow: Flow, item: Mapping[str, Any], note: str, notable_words: int, x: float, y: float) -> None:
    spans = [(start, end, "mark") for start, end in item["marks"]]
    copied = item.get("copied") or {}
    if copied.get("words", 0) >= notable_words:
        spans.append((copied["start"], copied["end"], "copied"))
    y = flow.marked(item["text"], spans, x, y, COLUMN - INDENT, SIZE)
    for line in wrap(note, SANS, 7.2, COLUMN - INDENT):
        y += 9.4
        flow.page.text(x, y, line, SANS, 7.2, MUTED)


def _item(answer: Mapping[str, Any] | None, place: int) -> dict[str, Any] | None:
    """The greedy answer (0) or a sample, with the spans moved to where its trimmed text starts."""
    if not answer or place > len(answer["samples"]):
        return None
    item = answer["greedy"] if place == 0 else answer["samples"][place - 1]
    text = item["text"].strip() or "(nothing)"  # marks keep their places: only the ends are cut
    shift = len(item["text"]) - len(item["text"].lstrip())
    moved = [(max(0, start - shift), end - shift) for start, end in item.get("marks") or []]
    copied = dict(item["copied"]) if item.get("copied") else None
    if copied:
        copied["start"], copied["end"] = copied["start"] - shift, copied["end"] - shift
    return {**item, "text": text, "marks": moved, "copied": copied}


def _note(item: Mapping[str, Any], row: Mapping[str, Any], notable_words: int) -> str:
    parts = []
    if row["facts"]:
        parts.append(f"Key facts: {len(item['found'])} of {len(row['facts'])}.")
        if item["missing"]:
            parts.append(f"Missing: {', '.join(item['missing'])}.")
    words = (item.get("copied") or {}).get("words", 0)
    if words >= notable_words:
        parts.append(f"{words} words in a row stand in the corpus.")
    return " ".join(parts)
