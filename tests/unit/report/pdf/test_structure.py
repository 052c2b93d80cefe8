"""The PDF can be read out: whatever it shows is an element in the order to read, or marked as decoration."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any

import pytest

from verification.experiments.reports.examples import KINDS
from report.content.blocks import Figure, Table
from report.content.headline import headline
from report.content.sections import sections
from report.pdf import document
from report.pdf.file import File
from report.pdf.flow import Flow

SHOWN = re.compile(r"<([0-9a-f]*)> Tj")


@dataclass
class Read:
    """An element as the file has it."""

    kind: str
    parent: int
    words: str
    entry: str
    children: list[int]


class Reader:
    """A PDF of ours from its bytes: the tree of its elements, and what the pages show of each."""

    def __init__(self, made: bytes) -> None:
        self.objects: dict[int, bytes] = {
            int(number): content
            for number, content in re.findall(rb"^(\d+) 0 obj\n(.*?)\nendobj$", made, re.DOTALL | re.MULTILINE)
        }
        self.root = self.text(1)
        self.pages = [n for n in self.objects if self.text(n).startswith("<< /Type /Page /")]
        self.pieces: dict[tuple[int, int], str] = {}
        self.owners: dict[tuple[int, int], int] = {}
        self.decoration: list[str] = []
        self.unmarked: list[str] = []
        for page in self.pages:
            self._read_page(page)
        self.top = self._number("StructTreeRoot", self.root)
        self.elements = {n: self._element(n) for n, content in self.objects.items() if content.startswith(b"<< /S /")}

    def text(self, number: int) -> str:
        return self.objects[number].decode("latin-1")

    @staticmethod
    def _number(name: str, entry: str) -> int:
        found = re.search(rf"/{name} (\d+)", entry)
        assert found is not None, (name, entry[:80])
        return int(found[1])

    def _read_page(self, page: int) -> None:
        content = self.objects[self._number("Contents", self.text(page))]
        stream = zlib.decompress(content.partition(b"\nstream\n")[2].rpartition(b"\nendstream")[0]).decode("ascii")
        inside: int | str | None = None
        for line in stream.split("\n"):
            if opened := re.fullmatch(r"/\w+ << /MCID (\d+) >> BDC", line):
                assert inside is None
                inside = int(opened[1])
                self.pieces[page, inside] = ""
            elif line == "/Artifact BMC":
                assert inside is None
                inside = "decoration"
            elif line == "EMC":
                assert inside is not None
                inside = None
            else:
                words = "".join(bytes.fromhex(code).decode("cp1252", "replace") for code in SHOWN.findall(line))
                if isinstance(inside, int):
                    self.pieces[page, inside] += f"{words} " if words else ""
                else:
                    (self.decoration if inside else self.unmarked).append(words)
        assert inside is None

    def _element(self, number: int) -> Read:
        entry = self.text(number)
        kids = re.search(r"/K \[(.*?)\]", entry)
        assert kids is not None
        page, words, children = re.search(r"/Pg (\d+)", entry), "", []
        for child, other_page, other_mark, mark in re.findall(
            r"(\d+) 0 R(?! /MCID)|<< /Type /MCR /Pg (\d+) 0 R /MCID (\d+) >>|(\d+)", kids[1]
        ):
            if child:
                children.append(int(child))
                continue
            place = int(other_page or (page[1] if page else -1)), int(other_mark or mark)
            assert place not in self.owners
            self.owners[place] = number
            words += self.pieces[place]
        return Read(entry.split("/S /")[1].split()[0], self._number("P", entry), words.strip(), entry, children)

    def all(self, kind: str) -> list[Read]:
        return [element for element in self.elements.values() if element.kind == kind]

    def words_of(self, number: int) -> list[str]:
        element = self.elements[number]
        return [element.words] * bool(element.words) + [w for child in element.children for w in self.words_of(child)]


@pytest.fixture(scope="module")
def read(made: dict[str, Any]) -> dict[str, Reader]:
    return {name: Reader(document.render(summary)) for name, summary in made.items()}


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_shown_that_is_neither_read_nor_decoration(read: dict[str, Reader], name: str) -> None:
    reader = read[name]
    assert reader.unmarked == []
    numbers = [words for words in reader.decoration if re.fullmatch(r"\d+ of \d+", words)]
    assert numbers == [f"{page} of {len(reader.pages)}" for page in range(1, len(reader.pages) + 1)]


@pytest.mark.parametrize("name", KINDS)
def test_the_tree_holds_every_piece_once_and_the_pages_lead_back_to_it(read: dict[str, Reader], name: str) -> None:
    reader = read[name]
    assert "/MarkInfo << /Marked true >>" in reader.root and "/Lang (en)" in reader.root
    assert re.search(r"/DisplayDocTitle true", reader.root)
    tree = reader.text(reader.top)
    (top,) = [number for number, element in reader.elements.items() if element.parent == reader.top]
    assert f"/K {top} 0 R" in tree and reader.elements[top].kind == "Document"
    for number, element in reader.elements.items():
        assert all(reader.elements[child].parent == number for child in element.children)
    back = reader.text(Reader._number("ParentTree", tree))
    rows = re.findall(r"(\d+) \[([^\]]*)\]", back.split("/Nums")[1].strip(" [").removesuffix("] >>"))
    assert [int(key) for key, _ in rows] == list(range(len(reader.pages)))
    for page, (_, owners) in zip(reader.pages, rows, strict=True):
        marks = range(sum(place == page for place, _ in reader.pieces))
        assert [int(owner) for owner in re.findall(r"(\d+) 0 R", owners)] == [
            reader.owners[page, mark] for mark in marks
        ]
    assert reader.owners.keys() == reader.pieces.keys()


@pytest.mark.parametrize("name", KINDS)
def test_headings_are_the_pages_in_its_order(made: dict[str, Any], read: dict[str, Reader], name: str) -> None:
    reader = read[name]
    (title,) = reader.all("H1")
    assert title.words.split() == headline(made[name]).title.split()
    assert [" ".join(one.words.split()) for one in reader.all("H2")] == [part.title for part in sections(made[name])]


def test_a_chart_is_told_in_words(made: dict[str, Any], read: dict[str, Reader]) -> None:
    blocks = [block for part in sections(made["improved"]) for block in part.blocks]
    charts = [f"{block.wide.title}. {block.wide.description}" for block in blocks if isinstance(block, Figure)]
    told = [re.search(r"/Alt <feff([0-9a-f]*)>", one.entry) for one in read["improved"].all("Figure")]
    assert charts
    assert [bytes.fromhex(one[1]).decode("utf-16-be") for one in told if one] == charts


def test_a_tables_cells_have_their_heads_and_each_row_is_read_once(
    made: dict[str, Any], read: dict[str, Reader]
) -> None:
    tables = [
        block for part in sections(made["improved"]) for block in part.blocks
        if isinstance(block, Table) and len(block.head) > 2
    ]  # fmt: skip
    reader = read["improved"]
    found = [one for one in reader.all("Table") if reader.elements[one.children[0]].kind == "Caption"]
    assert len(found) == len(tables) > 0
    for table, one in zip(tables, found, strict=True):
        head, *rows = [reader.elements[row] for row in one.children[1:]]
        assert len(rows) == len(table.rows)
        assert [reader.elements[cell].entry.split("/Scope /")[1].split()[0] for cell in head.children] == [
            "Column"
        ] * len(table.head)
        for row in rows:
            kinds = [reader.elements[cell].kind for cell in row.children]
            assert kinds == ["TH", *["TD"] * (len(table.head) - 1)]


def test_a_head_that_comes_again_on_the_next_page_is_not_read_again() -> None:
    file = File("A title", "Captune", "Tables")
    Flow(file).table("Long", ("Name", "Left", "Right"), tuple((f"row {n}", "1", "2") for n in range(120)))
    reader = Reader(file.save())
    assert len(reader.pages) > 1
    assert [row.words for row in reader.all("TH")].count("Name") == 1
    assert reader.decoration.count("Name") == len(reader.pages) - 1


def test_a_paragraph_over_two_pages_is_one_element() -> None:
    file = File("A title", "Captune", "Paragraphs")
    text = " ".join(f"word{n}" for n in range(900))
    Flow(file).text(text)
    reader = Reader(file.save())
    (paragraph,) = reader.all("P")
    assert len(reader.pages) == 2
    assert " ".join(paragraph.words.split()) == text
