"""The charts of what stands in the answers: key facts, and words copied from the corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.text.prompt_kinds import kind_name
from report.charts.axes import axis, legend, row_bands
from report.charts.drawing import SMALL, Box, Dot, Drawing, Line, Scale, scale
from report.formatting import number, percent

COPY_BINS = ((0, 3), (4, 7), (8, 11), (12, 15), (16, 10**9))


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
