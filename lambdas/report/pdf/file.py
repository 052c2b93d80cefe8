"""A tagged PDF file from pages of drawing operators: objects, cross-reference table, outline and metadata (PDF 1.7).

Uses the standard fonts that every reader has, so no font is embedded. Lengths are points, y grows downward here and is
turned over when written.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from report.fonts import encode
from report.formatting import printable
from report.pdf.structure import Element, Structure, string

PAGE = (595.28, 841.89)  # A4
FONTS = ("Helvetica", "Helvetica-Bold", "Times-Roman", "Times-Bold", "Times-Italic", "Courier", "Symbol")
Colour = tuple[float, float, float]


def colour(hexadecimal: str) -> Colour:
    """`#0a6b68` as red, green and blue from 0 to 1."""
    red, green, blue = (int(hexadecimal[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue


def _n(*values: float) -> str:
    return " ".join(f"{value:.2f}".rstrip("0").rstrip(".") for value in values)


class Page:
    """The operators of one page, each marked as a piece of the element that is being written, or as decoration.

    Args:
        structure: the document's.
        number: this page's, from 0.

    Attributes:
        marks: the elements that have a piece here, each as often as it has pieces.
    """

    def __init__(self, structure: Structure, number: int) -> None:
        self._structure, self._number = structure, number
        self._operators: list[str] = []
        self._marked: Element | None = None
        self.marks: list[Element] = []

    def content(self) -> str:
        """All operators."""
        return "\n".join([*self._operators, "EMC"] if self._operators else [])

    def _add(self, operators: str, element: Element | None) -> None:
        if not self._operators or element is not self._marked:
            if self._operators:
                self._operators.append("EMC")
            if element is None:
                self._operators.append("/Artifact BMC")
            else:
                self._operators.append(f"/{element.kind} << /MCID {len(self.marks)} >> BDC")
                element.children.append((self._number, len(self.marks)))
                self.marks.append(element)
            self._marked = element
        self._operators.append(operators)

    def _draw(self, operators: str) -> None:
        """A shape, which is read as a part of a chart, and is decoration anywhere else."""
        element = self._structure.current
        self._add(operators, element if element is not None and element.kind == "Figure" else None)

    def text(self, x: float, y: float, words: str, font: str, size: float, ink: Colour) -> float:
        """Text with its baseline at y; returns where it ends."""
        words = printable(words)
        parts = [f"BT {_n(*ink)} rg {_n(x, PAGE[1] - y)} Td"]
        for name, codes, advance in encode(words, font):
            parts.append(f"/F{FONTS.index(name)} {_n(size)} Tf <{codes.hex()}> Tj")
            x += advance * size / 1000
        self._add(" ".join([*parts, "ET"]), self._structure.current)
        return x

    def box(self, x: float, y: float, width: float, height: float, fill: Colour) -> None:
        """A filled rectangle whose upper left corner is (x, y)."""
        self._draw(f"{_n(*fill)} rg {_n(x, PAGE[1] - y - height, width, height)} re f")

    def lines(
        self, points: list[tuple[float, float]], ink: Colour, width: float, *, dash: tuple[float, ...] = ()
    ) -> None:
        """A line through points."""
        path = " ".join(f"{_n(x, PAGE[1] - y)} {'l' if place else 'm'}" for place, (x, y) in enumerate(points))
        self._draw(f"{_n(*ink)} RG {_n(width)} w [{_n(*dash)}] 0 d 1 j {path} S")

    def dot(self, x: float, y: float, radius: float, ink: Colour, *, hollow: Colour | None = None) -> None:
        """A disc; a ring filled with `hollow` where that is given."""
        k, y = radius * 0.5523, PAGE[1] - y
        path = (
            f"{_n(x + radius, y)} m {_n(x + radius, y + k, x + k, y + radius, x, y + radius)} c "
            f"{_n(x - k, y + radius, x - radius, y + k, x - radius, y)} c "
            f"{_n(x - radius, y - k, x - k, y - radius, x, y - radius)} c "
            f"{_n(x + k, y - radius, x + radius, y - k, x + radius, y)} c h"
        )
        if hollow:
            self._draw(f"{_n(*hollow)} rg {_n(*ink)} RG 1.3 w [] 0 d {path} B")
        else:
            self._draw(f"{_n(*ink)} rg {path} f")


@dataclass
class File:
    """Pages, bookmarks (title, page number from 0, y), structure and metadata of one PDF."""

    title: str
    author: str
    subject: str
    created: str = ""  # D:YYYYMMDDHHmmSSZ
    pages: list[Page] = field(default_factory=list)
    bookmarks: list[tuple[str, int, float]] = field(default_factory=list)
    structure: Structure = field(default_factory=Structure)

    def add_page(self) -> Page:
        """A new page at the end."""
        self.pages.append(Page(self.structure, len(self.pages)))
        return self.pages[-1]

    def save(self) -> bytes:
        """The file. The same content gives the same bytes."""
        objects: list[bytes] = [b""] * 4  # catalog, pages, resources, outline; filled in below
        fonts = []
        for place, name in enumerate(FONTS):
            encoding = b"" if name == "Symbol" else b" /Encoding /WinAnsiEncoding"
            objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /" + name.encode() + encoding + b" >>")
            fonts.append(f"/F{place} {len(objects)} 0 R")
        numbers = []
        for place, page in enumerate(self.pages):
            stream = zlib.compress(page.content().encode("ascii"), 9)
            objects.append(
                f"<< /Length {len(stream)} /Filter /FlateDecode >>\nstream\n".encode() + stream + b"\nendstream"
            )
            objects.append(
                f"<< /Type /Page /Parent 2 0 R /Resources 3 0 R /MediaBox [0 0 {_n(*PAGE)}] "
                f"/Contents {len(objects)} 0 R /StructParents {place} /Tabs /S >>".encode()
            )
            numbers.append(len(objects))
        first = len(objects) + 1
        for place, (title, page_number, y) in enumerate(self.bookmarks):
            links = f" /Prev {first + place - 1} 0 R" if place else ""
            links += f" /Next {first + place + 1} 0 R" if place + 1 < len(self.bookmarks) else ""
            target = f"/Dest [{numbers[page_number]} 0 R /XYZ 0 {_n(PAGE[1] - y)} 0]"
            objects.append(b"<< /Title " + string(title) + f" /Parent 4 0 R {target}{links} >>".encode())
        kids = " ".join(f"{number} 0 R" for number in numbers)
        outline = f" /First {first} 0 R /Last {len(objects)} 0 R /Count {len(self.bookmarks)}" if self.bookmarks else ""
        tree = len(objects) + 1
        objects += self.structure.objects(tree, numbers, [page.marks for page in self.pages])
        objects[0] = (
            "<< /Type /Catalog /Pages 2 0 R /Outlines 4 0 R /PageMode /UseOutlines /Lang (en) /MarkInfo << /Marked true >> "
            f"/StructTreeRoot {tree} 0 R /ViewerPreferences << /DisplayDocTitle true >> >>"
        ).encode()
        objects[1] = f"<< /Type /Pages /Kids [{kids}] /Count {len(numbers)} >>".encode()
        objects[2] = f"<< /Font << {' '.join(fonts)} >> >>".encode()
        objects[3] = f"<< /Type /Outlines{outline} >>".encode()
        info = b"<< /Title " + string(self.title) + b" /Author " + string(self.author)
        info += b" /Subject " + string(self.subject) + b" /Producer " + string("Captune")
        info += b" /CreationDate (" + self.created.encode("ascii", "ignore") + b") >>" if self.created else b" >>"
        objects.append(info)
        return _assemble(objects)


def _assemble(objects: list[bytes]) -> bytes:
    """Objects, cross-reference table and trailer; the last object is the document information."""
    made = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(made))
        made += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    start = len(made)
    made += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    made += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    trailer = (
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\nstartxref\n{start}\n%%EOF\n"
    )
    return bytes(made + trailer.encode())
