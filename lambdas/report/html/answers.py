"""The answers of both models as HTML. They are untrusted text: escaped, and never read as markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from report.content.blocks import AnswerList

Span = tuple[int, int, str]


def segments(text: str, item: Mapping[str, Any], notable_words: int) -> list[tuple[str, bool, bool]]:
    """The text in pieces: (piece, states a key fact, stands in the corpus as part of a long run)."""
    marks = [(start, end) for start, end in item.get("marks") or []]
    copied = item.get("copied") or {}
    run = (copied["start"], copied["end"]) if copied.get("words", 0) >= notable_words else (0, 0)
    cuts = sorted({0, len(text), *run, *(place for span in marks for place in span)})
    pieces = []
    for start, end in zip(cuts, cuts[1:], strict=False):
        if text[start:end]:
            marked = any(low <= start < high for low, high in marks)
            pieces.append((text[start:end], marked, run[0] <= start < run[1]))
    return pieces


def answer_list(block: AnswerList) -> str:
    """One foldable list for each kind of prompt; long lists start folded."""
    opened = " open" if len(block.rows) <= 6 else ""
    rows = "".join(_prompt(row, block.notable_words) for row in block.rows)
    return f'<details class="kind"{opened}><summary><h3>{escape(block.title)}</h3></summary>{rows}</details>'


def _prompt(row: Mapping[str, Any], notable_words: int) -> str:
    sides = "".join(_side(name, row, notable_words) for name in ("base", "tuned"))
    own = (
        f'<p class="facts">The record\'s own answer: <bdi>{escape(row["reference"])}</bdi></p>'
        if row.get("reference")
        else ""
    )
    return f'<article class="prompt"><h4 dir="auto">{escape(row["prompt"])}</h4>{own}<div class="sides">{sides}</div></article>'


def _side(name: str, row: Mapping[str, Any], notable_words: int) -> str:
    answer = row.get(name)
    heading = f"<h5>{'Base model' if name == 'base' else 'Fine-tuned model'}</h5>"
    if not answer:
        return f'<div class="side {name}">{heading}<p class="facts">No answer was recorded.</p></div>'
    body = _text(answer["greedy"], row["facts"], notable_words)
    samples: Sequence[Mapping[str, Any]] = answer["samples"]
    if samples:
        seeds = answer.get("seeds") or []
        inner = "".join(
            f'<p class="facts">Sample {place + 1}{f", seed {seeds[place]}" if place < len(seeds) else ""}</p>'
            + _text(sample, row["facts"], notable_words)
            for place, sample in enumerate(samples)
        )
        words = f"{len(samples)} sampled answer" + ("s" if len(samples) > 1 else "")
        body += f"<details><summary>{words}</summary>{inner}</details>"
    return f'<div class="side {name}">{heading}{body}</div>'


def _text(item: Mapping[str, Any], facts: Sequence[str], notable_words: int) -> str:
    pieces = []
    # Leading and trailing space says nothing, yet would show as an indent.
    for piece, marked, copied in segments(item["text"], item, notable_words):
        html = escape(piece)
        html = f'<span class="copied">{html}</span>' if copied else html
        pieces.append(f"<mark>{html}</mark>" if marked else html)
    shown = "".join(pieces).strip() or "(nothing)"
    return f'<p class="answer" dir="auto">{shown}</p>{_facts(item, facts)}{_copied(item, notable_words)}'


def _facts(item: Mapping[str, Any], facts: Sequence[str]) -> str:
    if not facts:
        return ""
    missing = item.get("missing") or []
    words = f"Key facts: {len(item.get('found') or [])} of {len(facts)}"
    return f'<p class="facts">{words}{". Missing: " + escape(", ".join(missing)) if missing else ""}</p>'


def _copied(item: Mapping[str, Any], notable_words: int) -> str:
    words = (item.get("copied") or {}).get("words", 0)
    return f'<p class="facts">{words} words in a row stand in the corpus.</p>' if words >= notable_words else ""
