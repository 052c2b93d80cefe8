"""What the content of a PDF is, for those who have it read out: headings, paragraphs, tables and charts in the order to read.

A tagged PDF marks each piece of a page's content with a number, and a tree beside the pages says which element it is a piece of. What
is only decoration, such as rules, shades and page numbers, is marked as that and is not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Element:
    """A piece of the document; `children` are elements, and what it has on the pages: (page from 0, mark on that page)."""

    kind: str
    alt: str = ""
    scope: str = ""
    children: list[Element | tuple[int, int]] = field(default_factory=list)


class Structure:
    """The tree of elements, with the one that content is now added to."""

    def __init__(self) -> None:
        self.root = Element("Document")
        self._open: list[Element | None] = [self.root]

    @property
    def current(self) -> Element | None:
        """The element that text belongs to; None for what is not read."""
        return self._open[-1] if len(self._open) > 1 else None

    @contextmanager
    def tagged(self, kind: str, *, alt: str = "", scope: str = "") -> Iterator[None]:
        """What is written inside is an element of a kind, such as P, H2 or TH of a "Row" or "Column"; `alt` tells what a chart shows."""
        element, above = Element(kind, alt, scope), self._open[-1]
        if above is not None:
            above.children.append(element)
        self._open.append(None if above is None else element)
        yield
        self._open.pop()

    @contextmanager
    def decoration(self) -> Iterator[None]:
        """What is written inside is not read."""
        self._open.append(None)
        yield
        self._open.pop()

    def objects(self, first: int, pages: Sequence[int], marks: Sequence[Sequence[Element]]) -> list[bytes]:
        """The tree's objects, of which the first has the number `first`; `pages` are the pages' own, `marks` each page's elements."""
        elements = list(_all(self.root))
        numbers = {id(element): first + 2 + place for place, element in enumerate(elements)}
        parents = {id(child): one for one in elements for child in one.children if isinstance(child, Element)}
        of_pages = " ".join(
            f"{place} [{' '.join(f'{numbers[id(element)]} 0 R' for element in on_page)}]"
            for place, on_page in enumerate(marks)
        )
        made = [
            f"<< /Type /StructTreeRoot /K {first + 2} 0 R /ParentTree {first + 1} 0 R >>".encode(),
            f"<< /Nums [{of_pages}] >>".encode(),
        ]
        for element in elements:
            parent = numbers[id(parents[id(element)])] if id(element) in parents else first
            # The page of its pieces, where nothing else is told: most lie on one, and a large report has many thousands of them.
            own = next((child[0] for child in element.children if isinstance(child, tuple)), None)
            kids = " ".join(
                f"{numbers[id(child)]} 0 R"
                if isinstance(child, Element)
                else str(child[1])
                if child[0] == own
                else f"<< /Type /MCR /Pg {pages[child[0]]} 0 R /MCID {child[1]} >>"
                for child in element.children
            )
            page = "" if own is None else f" /Pg {pages[own]} 0 R"
            scope = f" /A << /O /Table /Scope /{element.scope} >>" if element.scope else ""
            alt = b" /Alt " + string(element.alt) if element.alt else b""
            made.append(f"<< /S /{element.kind} /P {parent} 0 R{page} /K [{kids}]{scope}".encode() + alt + b" >>")
        return made


def _all(element: Element) -> Iterator[Element]:
    """An element and all below it, in the order to read."""
    yield element
    for child in element.children:
        if isinstance(child, Element):
            yield from _all(child)


def string(text: str) -> bytes:
    """A text string object in UTF-16, which holds any character."""
    return b"<" + b"\xfe\xff".hex().encode() + text.encode("utf-16-be", "replace").hex().encode() + b">"
