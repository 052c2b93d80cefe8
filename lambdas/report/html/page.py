"""report.html: one file without scripts or requests, from a summary alone. Every text in it is escaped.

Where a text should break out all the same, the page's own Content-Security-Policy lets nothing of it run, load or send: it
allows this one style sheet, by its hash, and the empty icon.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from pathlib import Path

from report.content.blocks import (
    AnswerList,
    Block,
    Bullets,
    Code,
    Figure,
    Headline,
    Notice,
    Pairs,
    Para,
    Section,
    Table,
)
from report.content.headline import document_title, headline
from report.content.sections import sections
from report.formatting import printable, tidy
from report.html.answers import answer_list
from report.html.svg import svg
from report.summary_types import Summary

_HERE = Path(__file__).parent


def render(summary: Summary) -> str:
    """The whole page for a summary of any status."""
    template = (_HERE / "page.html").read_text(encoding="utf-8")
    parts = sections(summary)
    # As it will stand in the page, for the policy holds its hash.
    style = printable((_HERE / "page.css").read_text(encoding="utf-8"))
    # Replaced in this order and only once each: no text of a run is ever read as a placeholder.
    filled = {
        "{policy}": escape(policy(style)),
        "{title}": escape(document_title(summary)),
        "{style}": style,
        "{header}": _header(headline(summary)),
        "{contents}": _contents(parts),
        "{sections}": "\n".join(_section(part) for part in parts),
        "{footer}": _footer(summary),
    }
    page = []
    for line in template.splitlines(keepends=True):
        name = next((name for name in filled if name in line), None)
        page.append(line.replace(name, filled[name], 1) if name else line)
    return printable("".join(page))


def policy(style: str) -> str:
    """The Content-Security-Policy of a page with one style sheet: everything that it does not need is forbidden."""
    digest = b64encode(sha256(style.encode("utf-8")).digest()).decode("ascii")
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def text(words: str) -> str:
    """Escaped prose, with a figure and its sign kept on one line."""
    return escape(tidy(words))


def _header(head: Headline) -> str:
    figures = "".join(
        f'<div><dt>{text(name)}</dt><dd><span class="value">{text(value)}</span> '
        f'<span class="note">{text(note)}</span></dd></div>'
        for name, value, note in head.figures
    )
    facts = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in head.facts)
    title = text(head.title).replace("held-out", '<span class="whole">held-out</span>')  # no line ends inside it
    strip = f'<dl class="strip">{figures}</dl>' if figures else ""
    return (
        f'<header class="{head.tone}"><p class="kicker">{text(head.kicker)}</p><h1>{title}</h1>'
        f'<p class="reason">{text(head.reason)}</p>{strip}<dl class="about">{facts}</dl></header>'
    )


def _contents(parts: list[Section]) -> str:
    links = "".join(f'<li><a href="#{part.identifier}">{text(part.title)}</a></li>' for part in parts)
    return f'<nav aria-label="Contents"><ol>{links}</ol></nav>'


def _section(part: Section) -> str:
    body = "\n".join(_block(block, f"{part.identifier}-{place}") for place, block in enumerate(part.blocks))
    css = ' class="apart"' if part.aside else ""
    heading = f'<h2 id="{part.identifier}-title">{text(part.title)}</h2>'
    return (
        f'<section id="{part.identifier}" aria-labelledby="{part.identifier}-title"{css}>{heading}\n{body}\n</section>'
    )


def _block(block: Block, identifier: str) -> str:
    match block:
        case Para(words, "subhead"):
            return f"<h3>{text(words)}</h3>"
        case Para(words, tone):
            return f'<p class="{tone}">{text(words)}</p>' if tone else f"<p>{text(words)}</p>"
        case Notice(title, words, tone):
            return f'<div class="notice {tone}" role="note"><p><strong>{text(title)}</strong></p><p>{text(words)}</p></div>'
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{text(item)}</li>" for item in items) + "</ul>"
        case Code(code, label):
            return (
                f'<p class="label" id="{identifier}">{text(label)}</p>'
                f'<pre tabindex="0" role="region" aria-labelledby="{identifier}"><code>{_linked(code)}</code></pre>'
            )
        case Pairs(items):
            rows = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in items)
            return f'<dl class="pairs">{rows}</dl>'
        case Table():
            return _table(block, identifier)
        case Figure(wide, narrow, caption):
            charts = svg(wide, f"{identifier}-wide", css_class="wide") + svg(
                narrow, f"{identifier}-narrow", css_class="narrow"
            )
            return f"<figure>{charts}<figcaption>{text(caption)}</figcaption></figure>"
        case AnswerList():
            return answer_list(block)


def _linked(code: str) -> str:
    """The text; a link where it is a web address and nothing else."""
    shown = escape(code)
    return f'<a href="{shown}" rel="noreferrer">{shown}</a>' if re.fullmatch(r"https://[^\s\"'<>]+", code) else shown


def _table(table: Table, identifier: str) -> str:
    """A table; on a phone the style sheet stacks its cells, so the roles are spelled out and each cell has its label."""
    head = "".join(f'<th scope="col" role="columnheader">{text(name)}</th>' for name in table.head)
    rows = "".join(
        f'<tr role="row"><th scope="row" role="rowheader">{text(row[0])}</th>'
        + "".join(
            f'<td role="cell" data-label="{text(name)}">{text(cell)}</td>'
            for name, cell in zip(table.head[1:], row[1:], strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    css = ' class="pair"' if len(table.head) == 2 else ""
    made = (
        f'<div class="scroll"><table role="table"{css}><caption id="{identifier}">{text(table.caption)}</caption>'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead><tbody role="rowgroup">{rows}</tbody></table></div>'
    )
    if not table.folded:
        return made
    return f'<details class="folded"><summary>Table: {text(table.caption)}</summary>{made}</details>'


def _footer(summary: Summary) -> str:
    return (
        f"<footer><p>Made by Captune from summary.json of the run {escape(summary['run'])}. No figure on this page was "
        "typed by hand. For research and teaching; not a medical device, not medical advice.</p></footer>"
    )
