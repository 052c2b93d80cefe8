"""A drawing as an inline SVG image. The style sheet of the page gives each style its colour."""

from __future__ import annotations

from html import escape

from report.charts.drawing import Box, Curve, Dot, Drawing, Line, Primitive


def svg(drawing: Drawing, identifier: str, *, css_class: str = "") -> str:
    """The drawing as an inline SVG image with a title and a description for screen readers."""
    body = "".join(_element(item) for item in drawing.items)
    return (
        f'<svg class="chart {css_class}" viewBox="0 0 {_n(drawing.width)} {_n(drawing.height)}" role="img" '
        f'aria-labelledby="{identifier}-title {identifier}-desc" preserveAspectRatio="xMidYMid meet">'
        f'<title id="{identifier}-title">{escape(drawing.title)}</title>'
        f'<desc id="{identifier}-desc">{escape(drawing.description)}</desc>{body}</svg>'
    )


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _element(item: Primitive) -> str:
    if isinstance(item, Line):
        place = f'x1="{_n(item.x1)}" y1="{_n(item.y1)}" x2="{_n(item.x2)}" y2="{_n(item.y2)}"'
        return f'<line class="s-{item.style}" {place}/>'
    if isinstance(item, Curve):
        points = " ".join(f"{_n(x)},{_n(y)}" for x, y in item.points)
        return f'<polyline class="s-{item.style}" points="{points}"/>'
    if isinstance(item, Box):
        place = f'x="{_n(item.x)}" y="{_n(item.y)}" width="{_n(item.width)}" height="{_n(item.height)}"'
        return f'<rect class="f-{item.style}" {place}/>'
    if isinstance(item, Dot):
        kind = f"s-{item.style} hollow" if item.hollow else f"f-{item.style}"
        return f'<circle class="{kind}" cx="{_n(item.x)}" cy="{_n(item.y)}" r="{_n(item.radius)}"/>'
    weight = ' font-weight="700"' if item.bold else ""
    anchor = "" if item.anchor == "start" else f' text-anchor="{item.anchor}"'
    return (
        f'<text class="f-{item.style}" x="{_n(item.x)}" y="{_n(item.y)}" font-size="{_n(item.size)}"{anchor}{weight}>'
        f"{escape(item.text)}</text>"
    )
