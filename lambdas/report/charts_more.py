"""Charts of recall, copied runs, cost and time. See charts.py for the widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from report.charts import axis, row_bands
from report.drawing import SMALL, Box, Dot, Drawing, Line, Scale, scale, text_width
from report.text import duration, money, number, percent

KIND_NAMES = {
    "starter": "Starters",
    "central": "Central facts",
    "completion": "Statements to complete",
    "question": "Questions",
    "outside": "Facts not in the corpus",
    "control": "General knowledge",
}
COPY_BINS = ((0, 3), (4, 7), (8, 11), (12, 15), (16, 10**9))


def kind_name(kind: str) -> str:
    """The kind of a prompt as a reader knows it."""
    return KIND_NAMES.get(kind, kind or "Unnamed kind")


def recall(kinds: Sequence[Mapping[str, Any]], width: float) -> Drawing:
    """Recall of base (ring) and tuned (disc) for each kind of prompt, from 0 to 100 %."""
    narrow = width < 500
    left, right = (8.0, width - 16) if narrow else (172.0, width - 112)
    pitch = 46.0 if narrow else 34.0
    top, bottom = 26.0, 26 + pitch * len(kinds)
    shares = [row["all"][side]["estimate"] for row in kinds for side in ("base", "tuned")]
    most = 100 if max(shares) > 0.5 else 50 if max(shares) > 0.25 else 25
    across = Scale(0, most, left, right, tuple(most * part / 5 for part in range(6)), 0)
    words = "; ".join(
        f"{kind_name(row['kind'])}: {percent(row['all']['base']['estimate'])} to "
        f"{percent(row['all']['tuned']['estimate'])} ({row['all']['prompts']} prompts)"
        for row in kinds
    )
    drawing = Drawing(width, bottom + 40, "Key-fact recall by kind of prompt, base to tuned", f"{words}.")
    axis(drawing, across, top, bottom, zero=False, bands=row_bands(narrow, top, pitch, len(kinds)))
    legend(drawing, left, 11, (("base", "base", True), ("tuned", "tuned", False)))
    for place, row in enumerate(kinds):
        y = top + pitch * (place + (0.72 if narrow else 0.5))
        base, tuned = row["all"]["base"], row["all"]["tuned"]
        errors = [figure["standard_error"] for figure in (base, tuned)]
        both = " \u2192 ".join(
            percent(figure["estimate"], error) for figure, error in zip((base, tuned), errors, strict=True)
        )
        name = kind_name(row["kind"])
        if narrow:
            drawing.label(0, y - 14, name, room=width * 0.6, size=SMALL)
            drawing.label(width, y - 14, both, style="muted", anchor="end", size=SMALL)
        else:
            drawing.label(0, y + 4, name, room=left - 14)
            drawing.label(width, y + 4, both, anchor="end")
        start, end = (across.place(100 * figure["estimate"]) for figure in (base, tuned))
        drawing.add(Line(start, y, end, y, "stem"), Dot(start, y, 5, "base", hollow=True), Dot(end, y, 5, "tuned"))
    sampled = any(row.get("sampled") for row in kinds)
    always = all(row.get("sampled") for row in kinds)
    answers = "greedy and sampled answers" if always else "greedy answers" + ", and sampled where taken" * sampled
    unit = "key facts stated, per cent" if narrow else f"key facts stated, per cent, over {answers}"
    drawing.label((left + right) / 2, bottom + 33, unit, style="muted", anchor="middle", size=SMALL)
    return drawing


def legend(drawing: Drawing, x: float, y: float, entries: Sequence[tuple[str, str, bool]]) -> None:
    """(words, style, hollow) side by side, with a mark before each."""
    for words, style, hollow in entries:
        drawing.add(Dot(x + 5, y, 4.5, style, hollow))
        drawing.label(x + 15, y + 4, words, style="muted", size=SMALL)
        x += 15 + text_width(words, SMALL) + 18


def copied_runs(prompts: Sequence[Mapping[str, Any]], width: float) -> Drawing | None:
    """How many answers of each model copy a run of how many words from the corpus."""
    counts = {side: [0] * len(COPY_BINS) for side in ("base", "tuned")}
    for row in prompts:
        for side, bins in counts.items():
            answer = row.get(side) or {}
            for item in [answer.get("greedy") or {}, *(answer.get("samples") or [])]:
                if item.get("copied"):
                    words = item["copied"]["words"]
                    bins[next(n for n, (low, high) in enumerate(COPY_BINS) if low <= words <= high)] += 1
    if not any(map(sum, counts.values())):
        return None
    left, right, top, bottom = 34.0, width - 4, 38.0, 178.0
    up = scale([0, *counts["base"], *counts["tuned"]], bottom, top, zero=True, ticks=4)
    names = [f"{low}+" if high > 10**6 else f"{low}\u2013{high}" for low, high in COPY_BINS]
    words = "; ".join(
        f"{name} words: base {base}, tuned {tuned}"
        for name, base, tuned in zip(names, counts["base"], counts["tuned"], strict=True)
    )
    drawing = Drawing(width, bottom + 38, "Longest run copied from the corpus, answers of each model", f"{words}.")
    for tick in up.ticks:
        drawing.add(Line(left, up.place(tick), right, up.place(tick), "grid"))
        value = number(tick, up.decimals)
        drawing.label(left - 6, up.place(tick) + 4, value, style="muted", anchor="end", size=SMALL)
    legend(drawing, left, 11, (("base", "base", False), ("tuned", "memory", False)))
    room = (right - left) / len(COPY_BINS)
    bar = min(34.0, room * 0.3)
    for place, name in enumerate(names):
        middle = left + room * (place + 0.5)
        for side, style, x in (("base", "base", middle - bar - 1), ("tuned", "memory", middle + 1)):
            y = up.place(counts[side][place])
            drawing.add(Box(x, y, bar, bottom - y, style))
            if counts[side][place]:
                value = str(counts[side][place])
                drawing.label(x + bar / 2, y - 4, value, style="muted", anchor="middle", size=10.0)
        drawing.label(middle, bottom + 15, name, style="muted", anchor="middle", size=SMALL)
    unit = "words in a row that stand in the corpus"
    drawing.label((left + right) / 2, bottom + 32, unit, style="muted", anchor="middle", size=SMALL)
    return drawing


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
