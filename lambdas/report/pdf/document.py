"""report.pdf: the content of the page set for paper, written with the standard library."""

from __future__ import annotations

import re

from report.content.blocks import AnswerList, Block, Bullets, Code, Figure, Headline, Notice, Pairs, Para, Table
from report.content.headline import document_title, headline
from report.content.sections import sections
from report.fonts import lacks, shorten, width, wrap
from report.formatting import printable
from report.pdf.answers import answer_list
from report.pdf.file import PAGE, File
from report.pdf.flow import BODY, BOLD, INK, INKS, LEFT, MONO, MUTED, ROOM, SANS, SANS_BOLD, Flow
from report.summary_types import Summary


def render(summary: Summary) -> bytes:
    """The PDF for a summary of any status. The same summary gives the same bytes."""
    started = re.sub(r"\D", "", str(summary.get("started_at") or ""))[:14]
    file = File(
        title=printable(document_title(summary)),
        author="Captune",
        subject="A language model before and after fine-tuning",
        created=f"D:{started}Z" if len(started) == 14 else "",
    )
    flow = Flow(file)
    _head(flow, headline(summary))
    if any(map(lacks, _characters(summary))):
        note = "Letters that the fonts of this file lack are shown as ?. They are in report.html."
        flow.text(note, SANS, 8.4, ink=MUTED, after=4)
    for part in sections(summary):
        flow.heading(part.title, 15, before=20, bookmark=True)
        for block in part.blocks:
            _block(flow, block)
    _number_pages(file, summary)
    return file.save()


def _characters(summary: Summary) -> set[str]:
    """Those of the prompts and of all answers, which may be in any language."""
    found: set[str] = set()
    for row in summary.get("prompts") or []:
        found.update(row["prompt"], row.get("reference") or "")
        for answer in filter(None, (row["base"], row["tuned"])):
            found.update(answer["greedy"]["text"], *(sample["text"] for sample in answer["samples"]))
    return found


def _head(flow: Flow, head: Headline) -> None:
    flow.text(head.kicker.upper(), SANS_BOLD, 7.5, ink=MUTED, after=12)
    flow.page.box(LEFT, flow.y, 34, 4, INKS[head.tone])
    flow.y += 14
    flow.text(head.title, BOLD, 27, leading=1.12, after=7, room=ROOM * 0.74, tag="H1")
    flow.text(head.reason, BODY, 12.5, leading=1.4, after=12)
    if head.figures:
        flow.rule()
        room, top, lowest = ROOM / max(4, len(head.figures)), flow.y + 16, flow.y
        for place, (name, value, note) in enumerate(head.figures):
            x = LEFT + place * room
            with flow.tagged("P"):
                flow.page.text(x, top, name, SANS_BOLD, 7.5, MUTED)
                size = min(16.0, 16.0 * (room - 8) / width(value, SANS_BOLD, 16))
                flow.page.text(x, top + 20, value, SANS_BOLD, size, INK)
                y = top + 22
                for line in wrap(note, SANS, 7.6, room - 8):
                    y += 10
                    flow.page.text(x, y, line, SANS, 7.6, MUTED)
            lowest = max(lowest, y)
        flow.y = lowest + 10
        flow.rule(after=6)
    flow.text("   ".join(f"{name}: {value}" for name, value in head.facts), SANS, 8.4, ink=MUTED, after=4)


def _block(flow: Flow, block: Block) -> None:
    match block:
        case Para(text, "subhead"):
            flow.space(4)
            flow.text(text, SANS_BOLD, 10, after=3, keep=30, tag="H3")
        case Para(text, "small"):
            flow.text(text, BODY, 9.2, ink=MUTED, after=7)
        case Para(text, tone):
            flow.text(text, BOLD if tone == "strong" else BODY, after=8)
        case Notice():
            _notice(flow, block)
        case Bullets(items):
            with flow.tagged("L"):
                for item in items:
                    flow.need(30)
                    flow.page.dot(LEFT + 4, flow.y + 8.4, 1.4, INK)
                    with flow.tagged("LI"):
                        flow.text(item, x=LEFT + 13, room=ROOM - 13, after=2, tag="LBody")
            flow.y += 6
        case Code(text, label):
            flow.text(label, SANS_BOLD, 8.4, ink=MUTED, after=2, keep=24)
            with flow.tagged("P"):
                for line in wrap(text, MONO, 8, ROOM - 16):
                    flow.need(12)
                    flow.page.box(LEFT, flow.y, ROOM, 12, INKS["shade"])
                    flow.text(line, MONO, 8, leading=1.5, x=LEFT + 8, room=ROOM, tag="Code")
            flow.y += 10
        case Pairs(items):
            _pairs(flow, items)
        case Table(caption, head, rows) if len(head) == 2:
            flow.text(caption, SANS, 8.4, ink=MUTED, keep=40)
            _pairs(flow, tuple((row[0], row[1]) for row in rows))
        case Table(caption, head, rows):
            flow.table(caption, head, rows)
        case Figure(wide, _, caption):
            flow.space(4)
            flow.chart(wide)
            flow.text(caption, SANS, 8.2, ink=MUTED, after=12, tag="Caption")
        case AnswerList():
            answer_list(flow, block)


def _notice(flow: Flow, block: Notice) -> None:
    titles, lines = wrap(block.title, SANS_BOLD, 9.4, ROOM - 22), wrap(block.text, BODY, 10, ROOM - 22)
    height = 17 + len(titles) * 13.4 + len(lines) * 14
    flow.need(min(height, 300))
    if flow.y + height < PAGE[1] - 66:  # a longer cause runs on without its box
        flow.page.box(LEFT, flow.y, ROOM, height - 4, INKS["shade"])
        flow.page.box(LEFT, flow.y, 3, height - 4, INKS[block.tone])
    flow.y += 5
    flow.text(block.title, SANS_BOLD, 9.4, x=LEFT + 12, room=ROOM - 22)
    flow.text(block.text, BODY, 10, leading=1.4, x=LEFT + 12, room=ROOM - 22, after=13)


def _pairs(flow: Flow, items: tuple[tuple[str, str], ...]) -> None:
    """Two columns of names and values; what does not fit into one goes across both, on as many lines as it takes."""
    gap = 24.0
    room = (ROOM - gap) / 2

    def fits(item: tuple[str, str]) -> bool:
        return sum(width(words, SANS, 8.6) for words in item) + 12 <= room

    rows: list[list[tuple[str, str]]] = []
    for item in items:
        if rows and len(rows[-1]) == 1 and fits(rows[-1][0]) and fits(item):
            rows[-1].append(item)
        else:
            rows.append([item])
    with flow.tagged("Table"):
        for row in rows:
            flow.need(18)
            flow.y += 15
            for place, (name, value) in enumerate(row):
                _pair(flow, name, value, LEFT + place * (room + gap), room if fits(row[0]) else ROOM)
    flow.y += 12


def _pair(flow: Flow, name: str, value: str, x: float, room: float) -> None:
    with flow.tagged("TR"):
        with flow.tagged("TH", scope="Row"):
            flow.page.text(x, flow.y - 3, name, SANS, 8.6, MUTED)
        with flow.tagged("TD"):
            for place, line in enumerate(wrap(value, SANS, 8.6, room - width(name, SANS, 8.6) - 12)):
                if place:
                    flow.need(12)
                    flow.y += 12
                flow.page.text(x + room - width(line, SANS, 8.6), flow.y - 3, line, SANS, 8.6, INK)
    flow.page.lines([(x, flow.y + 1), (x + room, flow.y + 1)], INKS["grid"], 0.6)


def _number_pages(file: File, summary: Summary) -> None:
    for number, page in enumerate(file.pages, 1):
        y = PAGE[1] - 34
        name = shorten(f"Captune \u00b7 {printable(summary['run'])}", SANS, 7.6, ROOM - 80)
        page.text(LEFT, y, name, SANS, 7.6, MUTED)
        words = f"{number} of {len(file.pages)}"
        page.text(LEFT + ROOM - width(words, SANS, 7.6), y, words, SANS, 7.6, MUTED)
        if number == len(file.pages):
            note = "For research and teaching; not a medical device, not medical advice."
            page.text(LEFT, y + 11, note, SANS, 7.6, MUTED)
