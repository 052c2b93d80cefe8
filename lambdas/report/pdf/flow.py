"""Sets text, tables and charts down the pages of a PDF, opening a new page where one is full."""

from __future__ import annotations

from report.charts.drawing import Box, Curve, Dot, Drawing, Label, Line
from report.fonts import encode, line_spans, width, wrap
from report.formatting import tidy
from report.pdf.file import PAGE, Colour, File, Page, colour

LEFT, TOP, BOTTOM = 62.0, 64.0, PAGE[1] - 66.0
ROOM = PAGE[0] - 2 * LEFT
BODY, BOLD, ITALIC, SANS, SANS_BOLD, MONO = (
    "Times-Roman", "Times-Bold", "Times-Italic", "Helvetica", "Helvetica-Bold", "Courier",
)  # fmt: skip
# The light palette of html/page.css.
INK, MUTED, RULE, GRID, PAPER = (colour(c) for c in ("#1c2126", "#59616a", "#dcd8cd", "#e6e2d8", "#ffffff"))
INKS: dict[str, Colour] = {
    "ink": INK, "muted": MUTED, "grid": GRID, "zero": INK, "stem": RULE, "track": colour("#e4e0d5"),
    "tuned": colour("#0a6b68"), "base": colour("#8a5a1c"), "memory": colour("#6d4aa0"), "bad": colour("#a8321f"),
    "band": colour("#d3e9e4"), "faint": colour("#9cc4c2"), "mark": colour("#c5e8de"), "shade": colour("#f3f0e8"),
    "good": colour("#0a6b68"), "neutral": colour("#4c5661"), "warn": colour("#b97a10"), "calm": MUTED,
}  # fmt: skip
_THIN = {"grid": 0.5, "zero": 0.7, "stem": 0.8, "faint": 0.5}


class Flow:
    """A cursor that moves down the page."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.tagged = file.structure.tagged
        self.page: Page = file.add_page()
        self.y = TOP

    def need(self, height: float) -> None:
        """A new page, unless this much is left on the current one."""
        if self.y + height > BOTTOM and self.y > TOP:
            self.page = self.file.add_page()
            self.y = TOP

    def space(self, height: float) -> None:
        """Empty room, except at the head of a page."""
        if self.y > TOP:
            self.y += height

    def text(
        self, words: str, font: str = BODY, size: float = 10.5, *, ink: Colour = INK, leading: float = 1.42,
        x: float = LEFT, room: float = ROOM, after: float = 0.0, keep: float = 0.0, tag: str = "P",
    ) -> None:  # fmt: skip
        """A wrapped paragraph, or what else `tag` names; `keep` points must follow on the same page."""
        lines = wrap(tidy(words), font, size, room)
        self.need(min(len(lines), 2) * size * leading + keep)
        with self.tagged(tag):
            for line in lines:
                self.need(size * leading)
                self.y += size * leading
                self.page.text(x, self.y - size * 0.32, line, font, size, ink)
        self.y += after

    def heading(self, words: str, size: float, *, before: float, after: float = 5.0, bookmark: bool = False) -> None:
        """A heading that stays with what follows it."""
        self.space(before)
        self.need(size * 1.3 + 70)
        if bookmark:
            self.file.bookmarks.append((words, len(self.file.pages) - 1, self.y))
        self.text(words, BOLD, size, leading=1.22, after=after, tag="H2")

    def rule(
        self,
        ink: Colour = RULE,
        weight: float = 0.6,
        *,
        before: float = 0.0,
        after: float = 0.0,
        room: float = ROOM,
    ) -> None:
        """A line across the page, or as long as `room`."""
        self.y += before
        self.page.lines([(LEFT, self.y), (LEFT + room, self.y)], ink, weight)
        self.y += after

    def table(self, caption: str, head: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> None:
        """A table; its head comes again on each page."""
        size, gap = 8.4, 11.0
        columns = list(zip(head, *rows, strict=True))
        natural = [max(width(cell, SANS_BOLD, size) for cell in column) + 1 for column in columns]
        spare = ROOM - gap * (len(natural) - 1) - sum(natural)
        for place in sorted(range(len(natural)), key=lambda column: -natural[column]):
            if spare >= 0:
                break
            cut = min(-spare, max(0.0, natural[place] - 90))
            natural[place] -= cut
            spare += cut
        whole = sum(natural) + gap * (len(natural) - 1)
        self.need(64)
        with self.tagged("Table"):
            self.text(caption, SANS, 8.4, ink=MUTED, after=2, keep=40, tag="Caption")
            self._row(head, natural, size, gap, SANS_BOLD)
            self.rule(INK, 0.8, room=whole)
            for row in rows:
                height = self._height(row, natural, size)
                if self.y + height > BOTTOM:
                    self.need(height + 40)
                    with self.file.structure.decoration():  # it was read at the head of the table
                        self._row(head, natural, size, gap, SANS_BOLD)
                    self.rule(INK, 0.8, room=whole)
                self._row(row, natural, size, gap, SANS)
                self.rule(room=whole)
        self.y += 12

    def _height(self, row: tuple[str, ...], widths: list[float], size: float) -> float:
        lines = max(len(wrap(cell, SANS, size, room)) for cell, room in zip(row, widths, strict=True))
        return lines * size * 1.3 + 6

    def _row(self, row: tuple[str, ...], widths: list[float], size: float, gap: float, font: str) -> None:
        x, top, lowest = LEFT, self.y + 3, self.y
        with self.tagged("TR"):
            for place, (cell, room) in enumerate(zip(row, widths, strict=True)):
                y, scope = top, "Column" if font == SANS_BOLD else "" if place else "Row"
                with self.tagged("TH" if scope else "TD", scope=scope):
                    for line in wrap(cell, font, size, room):
                        y += size * 1.3
                        start = x if place == 0 else x + room - width(line, font, size)
                        self.page.text(start, y - 2.5, line, font, size, INK)
                lowest = max(lowest, y)
                x += room + gap
        self.y = lowest + 3

    def chart(self, drawing: Drawing) -> None:
        """A chart across the page, from the same primitives as on the page in HTML."""
        # One of hundreds of documents is higher than a page.
        factor = min(ROOM / drawing.width, (BOTTOM - TOP - 30) / drawing.height)
        self.need(drawing.height * factor + 30)
        with self.tagged("Figure", alt=f"{drawing.title}. {drawing.description}"):
            self._draw(drawing, LEFT, self.y, factor)
        self.y += drawing.height * factor

    def _draw(self, drawing: Drawing, x0: float, y0: float, factor: float) -> None:
        page = self.page

        def ink(style: str) -> Colour:
            return INKS[style.removesuffix("-thick").removesuffix("-dash")]

        for item in drawing.items:
            if isinstance(item, Line | Curve):
                ends = item.points if isinstance(item, Curve) else ((item.x1, item.y1), (item.x2, item.y2))
                weight = 1.6 if item.style.endswith("-thick") else _THIN.get(item.style, 1.0)
                dash = (2.5, 2.5) if item.style.endswith("-dash") else ()
                points = [(x0 + x * factor, y0 + y * factor) for x, y in ends]
                page.lines(points, ink(item.style), weight, dash=dash)
            elif isinstance(item, Box):
                place = (x0 + item.x * factor, y0 + item.y * factor)
                page.box(*place, item.width * factor, item.height * factor, ink(item.style))
            elif isinstance(item, Dot):
                centre = (x0 + item.x * factor, y0 + item.y * factor)
                page.dot(*centre, item.radius * factor, ink(item.style), hollow=PAPER if item.hollow else None)
            else:
                self._label(item, x0, y0, factor)

    def _label(self, item: Label, x0: float, y0: float, factor: float) -> None:
        font, size = (SANS_BOLD if item.bold else SANS), item.size * factor
        wide = sum(run[2] for run in encode(item.text, font)) * size / 1000
        shift = {"start": 0.0, "middle": wide / 2, "end": wide}[item.anchor]
        self.page.text(x0 + item.x * factor - shift, y0 + item.y * factor, item.text, font, size, INKS[item.style])

    def marked(
        self, text: str, spans: list[tuple[int, int, str]], x: float, y: float, room: float, size: float
    ) -> float:
        """Text with spans marked ("mark": shaded, "copied": underlined) on the current page; returns its lower end."""
        for start, end in line_spans(text, BODY, size, room):
            y += size * 1.3
            for low, high, kind in spans:
                first, last = max(low, start), min(high, end)
                if first >= last:
                    continue
                from_x = x + width(text[start:first], BODY, size)
                long = width(text[first:last], BODY, size)
                if kind == "mark":
                    self.page.box(from_x - 0.8, y - size * 0.98, long + 1.6, size * 1.22, INKS["mark"])
                else:
                    self.page.lines([(from_x, y + 0.4), (from_x + long, y + 0.4)], INKS["memory"], 0.8, dash=(1, 1.5))
            self.page.text(x, y - size * 0.2, text[start:end], BODY, size, INK)
        return y
