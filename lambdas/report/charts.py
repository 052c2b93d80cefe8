"""The charts of a report, drawn once as SVG: the page shows them in its own colours, the PDF in those of paper.

Lengths are CSS pixels, y grows downward. A `style` names a role ("base", "tuned", "zero") that templates/charts.css gives its look. Every
chart takes a width: `WIDE` for page and paper, `NARROW` for a phone, where the words of a row stand above it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup, escape

from common.text import kind_name
from report.formatting import decimals_for, duration, interval_text, money, number, percent, range_text

WIDE, NARROW, NARROW_BELOW = 720.0, 340.0, 500.0
SIZE, SMALL = 12.0, 11.0
TOP = 26.0  # of what is drawn against an axis
ROWS_WITH_NAMES = 30  # more documents than this are drawn without their names
# Of narrow and wide letters, in font sizes.
_WIDTHS = {**dict.fromkeys(" .,:;'|!()[]ijlft", 0.35), **dict.fromkeys("mwMW@%", 1.05)}
SIDES = ("base", "tuned")
COPY_BINS = ((0, 3), (4, 7), (8, 11), (12, 15), (16, 10**9))

Bands = Sequence[tuple[float, float]]


def text_width(text: str, size: float = SIZE) -> float:
    """How wide a label can be, whichever font its reader has: an estimate on the safe side."""
    return size * sum(
        _WIDTHS.get(letter, 1.1 if letter > "\u2e80" else 0.78 if letter.isupper() else 0.64) for letter in text
    )


def shorten(text: str, size: float, room: float) -> str:
    """The text, cut with an ellipsis where it is wider than `room`."""
    if text_width(text, size) <= room:
        return text
    while text and text_width(text + "\u2026", size) > room:
        text = text[:-1]
    return text.rstrip(" ,;-") + "\u2026"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


@dataclass
class Drawing:
    """A chart: its size, what it shows in words, and its elements in the order in which they are painted."""

    width: float
    height: float
    title: str
    description: str
    elements: list[str] = field(default_factory=list)

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        """A straight line."""
        self.elements.append(f'<line class="s-{style}" x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}"/>')

    def curve(self, points: Sequence[tuple[float, float]], style: str) -> None:
        """A line through points."""
        places = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self.elements.append(f'<polyline class="s-{style}" points="{places}"/>')

    def box(self, x: float, y: float, width: float, height: float, style: str) -> None:
        """A filled rectangle."""
        place = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
        self.elements.append(f'<rect class="f-{style}" {place}/>')

    def dot(self, x: float, y: float, radius: float, style: str, *, hollow: bool = False) -> None:
        """A disc, or a ring where `hollow`."""
        kind = f"s-{style} hollow" if hollow else f"f-{style}"
        self.elements.append(f'<circle class="{kind}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"/>')

    def label(
        self, x: float, y: float, text: str, *, style: str = "muted", anchor: str = "start", size: float = SMALL,
        bold: bool = False, room: float | None = None,
    ) -> None:  # fmt: skip
        """A line of text on the baseline y; `anchor` is start, middle or end, and what is wider than `room` is cut."""
        shown = text if room is None else shorten(text, size, room)
        weight = ' font-weight="700"' if bold else ""
        place = f'x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" text-anchor="{anchor}"'
        self.elements.append(f'<text class="f-{style}" {place}{weight}>{escape(shown)}</text>')

    def svg(self, identifier: str, css_class: str, style: str = "") -> Markup:
        """The chart as an SVG element with a title and a description for screen readers; with a `style` it can be a file."""
        return Markup(
            f'<svg xmlns="http://www.w3.org/2000/svg" class="chart {css_class}" viewBox="0 0 {_n(self.width)} {_n(self.height)}" '
            f'role="img" aria-labelledby="{identifier}-title {identifier}-desc">'
            f'<title id="{identifier}-title">{escape(self.title)}</title>'
            f'<desc id="{identifier}-desc">{escape(self.description)}</desc>{style}{"".join(self.elements)}</svg>'
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
    values: Sequence[float], start: float, end: float, *, zero: bool = False, ticks: int = 5, tight: bool = False
) -> Scale:
    """A scale with ticks of 1, 2 or 5 times a power of ten. It ends at ticks or, `tight`, where the values end."""
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


def _axis(
    drawing: Drawing, across: Scale, bottom: float, unit: str, bands: Bands = (), *, changes: bool = True
) -> None:
    """Vertical grid lines (only within `bands`, if given) with their values and the unit below; `changes` have signs and a stronger line at zero."""
    shown = across.ticks
    widest = max(text_width(number(tick, across.decimals, signed=changes), SMALL) for tick in shown) + 8
    while len(shown) > 2 and widest * (len(shown) - 1) > across.end - across.start:
        shown = shown[::2]
    for tick in shown:
        x, is_zero = across.place(tick), changes and abs(tick) < 1e-12
        for start, end in bands or [(TOP, bottom)]:
            drawing.line(x, start, x, end, "zero" if is_zero else "grid")
        value = number(0.0 if is_zero else tick, across.decimals, signed=changes)
        half = text_width(value, SMALL) / 2
        drawing.label(min(max(x, half), drawing.width - half), bottom + 15, value, anchor="middle")
    drawing.label((across.start + across.end) / 2, bottom + 33, unit, anchor="middle")


def _heights(drawing: Drawing, up: Scale, left: float, right: float, *, changes: bool = False) -> None:
    for tick in up.ticks:
        style = "zero" if changes and abs(tick) < 1e-12 else "grid"
        drawing.line(left, up.place(tick), right, up.place(tick), style)
        drawing.label(left - 6, up.place(tick) + 4, number(tick, up.decimals, signed=changes), anchor="end")


def _bands(top: float, pitch: float, count: int) -> Bands:
    """Where grid lines are drawn on a narrow chart: beside the marks only, for the words stand above each row."""
    return [(top + pitch * (place + 0.72) - 9, top + pitch * (place + 0.72) + 9) for place in range(count)]


def _rows(narrow: bool, count: int) -> tuple[float, Bands, list[tuple[float, float]]]:
    """The end of `count` rows, the bands of their grid lines, and for each row the height of its marks and of its words."""
    pitch = 46.0 if narrow else 34.0
    marks = [TOP + pitch * (place + (0.72 if narrow else 0.5)) for place in range(count)]
    places = [(y, y - 14 if narrow else y + 4) for y in marks]
    return TOP + pitch * count, _bands(TOP, pitch, count) if narrow else [], places


def _legend(drawing: Drawing, x: float, y: float, entries: Sequence[tuple[str, str, bool]]) -> None:
    """(words, style, hollow) side by side, with a mark before each."""
    for words, style, hollow in entries:
        drawing.dot(x + 5, y, 4.5, style, hollow=hollow)
        drawing.label(x + 15, y + 4, words)
        x += 15 + text_width(words, SMALL) + 18


def forest(
    width: float, rows: Sequence[tuple[str, Mapping[str, Any], str]], title: str, unit: str, better: str, worse: str
) -> Drawing:
    """Rows of (name, figure, style): estimates with 95% intervals against a line at zero; `better` and `worse` name its two sides."""
    keys = ("estimate", "low", "high")
    values = [figure[key] for _, figure, _ in rows for key in keys if figure.get(key) is not None]
    narrow = width < NARROW_BELOW
    left, right = (8.0, width - 8) if narrow else (172.0, width - 200)
    bottom, bands, places = _rows(narrow, len(rows))
    across = scale([*values, 0.0], left, right, zero=True, ticks=4 if narrow else 5)
    described = "; ".join(f"{name}: {interval_text(figure)}" for name, figure, _ in rows)
    drawing = Drawing(width, bottom + 40, title, f"{described}. In {unit}.")
    _axis(drawing, across, bottom, unit, bands)
    middle = across.place(0.0)
    # A side too thin for its words is left without them.
    if middle - left > text_width("\u2190 " + better, SMALL) + 6:
        drawing.label(middle - 6, 15, f"\u2190 {better}", anchor="end")
    if right - middle > text_width(worse + " \u2192", SMALL) + 6:
        drawing.label(middle + 6, 15, f"{worse} \u2192")
    room, size = (width * 0.5, SMALL) if narrow else (left - 14, SIZE)
    for (name, figure, style), (y, words) in zip(rows, places, strict=True):
        drawing.label(0, words, name, style="ink", room=room, size=size)
        if figure.get("estimate") is None:
            drawing.label(width, words, "not measured", anchor="end")
            continue
        shown = number(figure["estimate"], decimals_for(figure.get("standard_error")), signed=True)
        if not narrow:
            drawing.label(right + 62, words, shown, style="ink", anchor="end", size=SIZE, bold=True)
        drawing.label(width, words, f"{shown} ({range_text(figure)})" if narrow else range_text(figure), anchor="end")
        if figure.get("low") is not None and figure.get("high") is not None:
            low, high = across.place(figure["low"]), across.place(figure["high"])
            drawing.line(low, y, high, y, f"{style}-thick")
            for end in (low, high):
                drawing.line(end, y - 4, end, y + 4, style)
        drawing.dot(across.place(figure["estimate"]), y, 5, style)
    return drawing


def documents(width: float, block: Mapping[str, Any], one: str) -> Drawing:
    """Every document's difference as a dot, ordered, with the mean and its interval as a band; `one` names such a document."""
    rows, mean = sorted(block["documents"], key=lambda row: row["difference"]), block["difference"]
    narrow, named = width < NARROW_BELOW, len(rows) <= ROWS_WITH_NAMES
    beside, above = named and not narrow, named and narrow  # where a document's name stands, if there is room for one
    left, right = 262.0 if beside else 8.0, width - 14
    pitch = (34.0 if narrow else 21.0) if named else max(3.0, 420 / len(rows))
    bottom = TOP + pitch * len(rows) + 4
    values = [row["difference"] for row in rows] + [v for v in (mean.get("low"), mean.get("high")) if v is not None]
    across = scale(values, left, right, zero=True, ticks=3 if narrow else 6)
    first, last = (number(rows[place]["difference"], 2, signed=True) for place in (0, -1))
    described = (
        f"{block['lower_documents']} of {len(rows)} {one}s have a lower loss after fine-tuning. Differences from "
        f"{first} to {last} nats per token; weighted mean {interval_text(mean)}."
    )
    drawing = Drawing(width, bottom + 40, f"Loss difference of every {one}", described)
    bands = _bands(TOP + 3, pitch, len(rows)) if above else []
    if mean.get("low") is not None:
        low, high = across.place(mean["low"]), across.place(mean["high"])
        for start, end in bands or [(TOP, bottom)]:
            drawing.box(low, start, high - low, end - start, "band")
    unit = "nats per token, tuned minus base" + ("; dot area grows with the text" if beside else "")
    _axis(drawing, across, bottom, unit, bands)
    centre = across.place(mean["estimate"])
    for start, end in bands or [(TOP, bottom)]:
        drawing.line(centre, start, centre, end, "tuned-dash")
    drawing.label(min(max(centre, left + 26), right - 26), 15, "mean", style="tuned", anchor="middle")
    biggest = max(row["tokens"] for row in rows)
    for place, row in enumerate(rows):
        x, y = across.place(row["difference"]), TOP + pitch * (place + (0.75 if above else 0.5)) + 2
        if above:
            drawing.label(0, y - 11, row["title"], style="ink", room=width)
        elif beside:
            drawing.label(0, y + 4, row["title"], style="ink", room=left - 12)
            drawing.line(min(x, across.place(0)), y, max(x, across.place(0)), y, "stem")
        radius = 2.5 + 3 * (row["tokens"] / biggest) ** 0.5 if named else 2.5
        drawing.dot(x, y, radius, "tuned" if row["difference"] < 0 else "bad")
    return drawing


def loss_curve(
    width: float, points: Sequence[Mapping[str, Any]], held_out: Sequence[Mapping[str, Any]] = ()
) -> Drawing:
    """The training loss by optimizer step: each step faint, a running mean over a twentieth of the run on top; and the held-out loss."""
    steps, losses = [point["step"] for point in points], [point["loss"] for point in points]
    left, right, top, bottom = 40.0, width - 8, 26.0 if held_out else 10.0, 190.0
    across = scale([0, *steps], left, right, ticks=5, tight=True)
    up = scale([*losses, *(point["loss"] for point in held_out)], bottom, top, ticks=4)
    also = (
        f" Held-out loss from {number(held_out[0]['loss'], 2)} to {number(held_out[-1]['loss'], 2)}."
        if held_out
        else ""
    )
    drawing = Drawing(
        width,
        bottom + 38,
        "Training loss by step",
        f"{len(points)} points from step {steps[0]} to {steps[-1]}; loss from {number(losses[0], 2)} at the first "
        f"to {number(losses[-1], 2)} nats per token at the last.{also}",
    )
    _heights(drawing, up, left, right)
    for tick in across.ticks:
        x = min(across.place(tick), width - text_width(number(tick, 0), SMALL) / 2)
        drawing.label(x, bottom + 15, number(tick, 0), anchor="middle")
    drawing.curve([(across.place(step), up.place(loss)) for step, loss in zip(steps, losses, strict=True)], "faint")
    reach, smooth = max(1, len(points) // 40), []
    for place, step in enumerate(steps):
        near = losses[max(0, place - reach) : place + reach + 1]
        smooth.append((across.place(step), up.place(sum(near) / len(near))))
    drawing.curve(smooth, "tuned-thick")
    if held_out:
        places = [(across.place(point["step"]), up.place(point["loss"])) for point in held_out]
        drawing.curve(places, "memory")
        for x, y in places:
            drawing.dot(x, y, 4, "memory")
        _legend(drawing, left, 11, (("training text", "tuned", False), ("held-out openings", "memory", False)))
    unit = f"optimizer step; {'' if held_out else 'training '}loss in nats per token"
    drawing.label((left + right) / 2, bottom + 32, unit, anchor="middle")
    return drawing


def adapter_scale(width: float, block: Mapping[str, Any]) -> Drawing:
    """The loss against the base model's by scale, with two standard errors on either side; the scale that is kept is filled."""
    points, kept = block["curve"], block["scale"]
    reach = [2 * point["standard_error"] for point in points]
    left, right, top, bottom = 48.0, width - 12, 10.0, 170.0
    ends = [point["difference"] + sign * error for point, error in zip(points, reach, strict=True) for sign in (-1, 1)]
    up = scale([0.0, *ends], bottom, top, ticks=4)
    across = Scale(0.0, 1.0, left, right, tuple(part / 5 for part in range(6)), 1)
    described = "; ".join(f"{point['scale']:g}: {number(point['difference'], 3, signed=True)}" for point in points)
    drawing = Drawing(width, bottom + 38, "Loss by adapter scale", f"{described}. Kept: {kept:g}.")
    _heights(drawing, up, left, right, changes=True)
    for tick in across.ticks:
        drawing.label(across.place(tick), bottom + 15, number(tick, 1), anchor="middle")
    places = [(across.place(point["scale"]), up.place(point["difference"])) for point in points]
    drawing.curve(places, "tuned-thick")
    for (x, y), point, error in zip(places, points, reach, strict=True):
        drawing.line(x, up.place(point["difference"] - error), x, up.place(point["difference"] + error), "tuned")
        drawing.dot(x, y, 5, "tuned", hollow=point["scale"] != kept)
    unit = "adapter scale; nats per token, tuned minus base"
    drawing.label((left + right) / 2, bottom + 32, unit, anchor="middle")
    return drawing


def recall(width: float, kinds: Sequence[Mapping[str, Any]]) -> Drawing:
    """Recall of base (ring) and tuned (disc) for each kind of prompt, in percent."""
    narrow = width < NARROW_BELOW
    left, right = (8.0, width - 16) if narrow else (172.0, width - 112)
    bottom, bands, places = _rows(narrow, len(kinds))
    highest = max(row["all"][side]["estimate"] for row in kinds for side in SIDES)
    most = 100 if highest > 0.5 else 50 if highest > 0.25 else 25
    across = Scale(0, most, left, right, tuple(most * part / 5 for part in range(6)), 0)
    words = "; ".join(
        f"{kind_name(row['kind'])}: {percent(row['all']['base']['estimate'])} to "
        f"{percent(row['all']['tuned']['estimate'])} ({row['all']['prompts']} prompts)"
        for row in kinds
    )
    drawing = Drawing(width, bottom + 40, "Key-fact recall by kind of prompt, base to tuned", f"{words}.")
    always = all(row.get("sampled") for row in kinds)
    sampled = ", and sampled where taken" if any(row.get("sampled") for row in kinds) else ""
    answers = "greedy and sampled answers" if always else f"greedy answers{sampled}"
    unit = "key facts stated, %" + ("" if narrow else f", over {answers}")
    _axis(drawing, across, bottom, unit, bands, changes=False)
    _legend(drawing, left, 11, (("base", "base", True), ("tuned", "tuned", False)))
    room, size = (width * 0.6, SMALL) if narrow else (left - 14, SIZE)
    for row, (y, height) in zip(kinds, places, strict=True):
        sides = [row["all"][side] for side in SIDES]
        both = " \u2192 ".join(percent(side["estimate"], side["standard_error"]) for side in sides)
        drawing.label(0, height, kind_name(row["kind"]), style="ink", room=room, size=size)
        drawing.label(width, height, both, style="muted" if narrow else "ink", anchor="end", size=size)
        start, end = (across.place(100 * side["estimate"]) for side in sides)
        drawing.line(start, y, end, y, "stem")
        drawing.dot(start, y, 5, "base", hollow=True)
        drawing.dot(end, y, 5, "tuned")
    return drawing


def copied_runs(width: float, prompts: Sequence[Mapping[str, Any]]) -> Drawing | None:
    """How many answers of each model copy a run of how many words from the corpus."""
    answers = [(side, row[side]) for row in prompts for side in SIDES if row.get(side)]
    copied = [
        (side, item["copied"]["words"])
        for side, answer in answers
        for item in (answer["greedy"], *answer["samples"])
        if item.get("copied")
    ]
    if not copied:
        return None
    counts = {
        side: [sum(one == side and low <= words <= high for one, words in copied) for low, high in COPY_BINS]
        for side in SIDES
    }
    left, right, top, bottom = 34.0, width - 4, 38.0, 178.0
    up = scale([0, *counts["base"], *counts["tuned"]], bottom, top, zero=True, ticks=4)
    names = [f"{low}+" if high > 10**6 else f"{low}\u2013{high}" for low, high in COPY_BINS]
    described = "; ".join(
        f"{name} words: base {base}, tuned {tuned}"
        for name, base, tuned in zip(names, counts["base"], counts["tuned"], strict=True)
    )
    title = "Longest run copied from the corpus, answers of each model"
    drawing = Drawing(width, bottom + 38, title, f"{described}.")
    _heights(drawing, up, left, right)
    _legend(drawing, left, 11, (("base", "base", False), ("tuned", "memory", False)))
    room = (right - left) / len(COPY_BINS)
    bar = min(34.0, room * 0.3)
    for place, name in enumerate(names):
        middle = left + room * (place + 0.5)
        for side, style, x in (("base", "base", middle - bar - 1), ("tuned", "memory", middle + 1)):
            y, count = up.place(counts[side][place]), counts[side][place]
            drawing.box(x, y, bar, bottom - y, style)
            if count:
                drawing.label(x + bar / 2, y - 4, str(count), anchor="middle", size=10.0)
        drawing.label(middle, bottom + 15, name, anchor="middle")
    drawing.label((left + right) / 2, bottom + 32, "consecutive words that are also in the corpus", anchor="middle")
    return drawing


def cost(width: float, figures: Mapping[str, Any], used: str = "used") -> Drawing | None:
    """The reservation as a bar, and the parts of it that training, endpoint and the rest used; `used` is the word for it."""
    reserved, actual = figures.get("reserved_cents"), figures.get("actual_cents")
    if not reserved or actual is None:
        return None
    styles = {"training": "tuned", "endpoint": "base", "other": "muted"}
    parts = [
        (f"{name} {money(cents)}", cents, style)
        for name, style in styles.items()
        for cents in [figures.get(f"{name}_cents") or 0]
    ]
    described = f"Reserved {money(reserved)}, {used} {money(actual)}: {', '.join(words for words, _, _ in parts)}."
    drawing = Drawing(width, 74, "Cost against the reservation", described)
    drawing.box(0, 22, width, 22, "track")
    x = 0.0
    for _, cents, style in parts:
        length = width * cents / max(reserved, actual)
        drawing.box(x, 22, length, 22, style)
        x += length
    drawing.label(0, 13, f"{used} {money(actual)}", style="ink", size=SIZE, bold=True)
    drawing.label(width, 13, f"reserved {money(reserved)}", anchor="end", size=SIZE)
    _legend(drawing, 0, 60, [(words, style, False) for words, _, style in parts])
    return drawing


def time_by_phase(width: float, seconds: Mapping[str, float]) -> Drawing | None:
    """The seconds of each phase, in the order of the run."""
    if not seconds:
        return None
    left, right, longest = 132.0 if width < NARROW_BELOW else 190.0, width - 74, max(seconds.values())
    described = "; ".join(f"{name}: {duration(value)}" for name, value in seconds.items())
    drawing = Drawing(width, 22.0 * len(seconds) + 4, "Time by phase", f"{described}.")
    for place, (name, value) in enumerate(seconds.items()):
        y, length = 22.0 * place + 4, max(1.5, (right - left) * value / longest)
        drawing.label(0, y + 12, name, style="ink", room=left - 10)
        drawing.box(left, y + 2, length, 13, "tuned")
        drawing.label(left + length + 7, y + 12.5, duration(value))
    return drawing
