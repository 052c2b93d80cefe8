"""A text in pieces is the text that it is as a whole: the same characters, lines, titles and documents, wherever a piece ends."""

from __future__ import annotations

import re

import pytest

from common.errors import DatasetRejected
from preflight.texts import stream, text_file
from preflight.texts.packed import Packed
from preflight.texts.text_file import Document

TEXT = (
    "Before any title.\r\n# One\r\n\r\nÄpfel, 中文 and 🧬.\rA line of old.\n\n# Two\n\n#no title\n ## none\n\n# Three\n\n"
    + "Words of a long document. " * 3
    + "\n\nIts second paragraph,\nof two lines.\r\n\r\n# Four\r# Five\n\nThe end\r"
)
WHOLE = text_file.as_utf8(TEXT.encode(), "a", DatasetRejected)


def pieces(size: int, content: bytes = b"\xef\xbb\xbf" + TEXT.encode()) -> list[bytes]:
    # The mark of the byte order is in the first piece, which in a file has millions of bytes.
    return [content[: 3 + size], *(content[start : start + size] for start in range(3 + size, len(content), size))]


@pytest.mark.parametrize("size", range(1, 12))
class TestWhereverAPieceEnds:
    def test_the_text_and_its_titles_are_the_same(self, size: int) -> None:
        assert "".join(stream.decoded(pieces(size), "a")) == WHOLE
        assert stream.count_titles(pieces(size), "a") == len(re.findall(r"(?m)^# ", WHOLE)) == 5

    def test_its_documents_are_those_of_the_whole_with_the_lines_that_they_begin_at(self, size: int) -> None:
        units = list(stream.units(stream.decoded(pieces(size), "a"), titled=True))
        assert [unit.text for unit in units] == re.split(r"(?m)^(?=# )", WHOLE)
        assert [unit.number for unit in units] == list(range(6))
        lines = WHOLE.split("\n")
        assert all(unit.text.startswith(lines[unit.line - 1]) for unit in units)

    def test_long_documents_and_texts_without_titles_are_cut_at_paragraphs_and_nothing_is_lost(
        self, size: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stream, "LONGEST_PART", 40)
        monkeypatch.setattr(stream, "STRETCH", 40)
        for titled in (True, False):
            units = list(stream.units(stream.decoded(pieces(size), "a"), titled=titled))
            assert "".join(unit.text for unit in units) == WHOLE
            assert max(len(unit.text) for unit in units) <= 80
            line = 1
            for unit in units:
                assert unit.line == line
                line += unit.text.count("\n")
        # The last list is of the stretches: each is a unit of its own. Of the documents, the third is in parts.
        assert {unit.part for unit in units} == {0}
        documents = list(stream.units(stream.decoded(pieces(size), "a"), titled=True))
        assert max(unit.part for unit in documents if unit.number == 3) >= 1
        assert [unit.number for unit in documents if unit.part == 0] == list(range(6))

    def test_what_is_not_utf8_is_named_by_its_byte_and_line_as_in_the_whole(self, size: int) -> None:
        content = b"\xef\xbb\xbf" + TEXT.encode()
        for place in (10, 60, len(content)):
            broken = content[:place] + b"\xc3" + content[place:]
            with pytest.raises(DatasetRejected) as at_once:
                text_file.as_utf8(broken, "a", DatasetRejected)
            with pytest.raises(DatasetRejected) as in_pieces:
                list(stream.decoded(pieces(size, broken), "a"))
            assert str(in_pieces.value) == str(at_once.value)


def test_packed_documents_are_the_documents_that_were_packed() -> None:
    documents = [Document(f"d-{n}", f"Title {n} Ä", f"Text {n} 🧬") for n in range(5)]
    packed = Packed()
    for document in documents:
        packed.add(document)
    assert list(packed) == documents
    assert (packed[-1], packed[1:3], len(packed)) == (documents[-1], documents[1:3], 5)
    assert text_file.as_text(packed) == text_file.as_text(documents)
    with pytest.raises(IndexError):
        packed[5]
