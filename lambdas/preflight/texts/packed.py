"""Documents kept as the bytes of one buffer: tens of thousands of them take no more memory than their text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from common.text.utf8 import encoded
from preflight.texts.text_file import Document


class Packed(Sequence[Document]):
    """A sequence of documents of running text; each is made anew when it is looked at.

    A `str` takes up to four times as many bytes as its text in UTF-8, when one of its characters is outside the usual.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        # Of each document: where its id, its title and its text begin.
        self._places: list[tuple[int, int, int]] = []

    def add(self, part: Document) -> None:
        """Appends a document."""
        starts = []
        for field in (part.id, part.title, part.text):
            starts.append(len(self._bytes))
            self._bytes += encoded(field)
        self._places.append((starts[0], starts[1], starts[2]))

    @property
    def size(self) -> int:
        """How many bytes it holds."""
        return len(self._bytes)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Document: ...
    @overload
    def __getitem__(self, place: slice) -> list[Document]: ...
    def __getitem__(self, place: int | slice) -> Document | list[Document]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        number = range(len(self))[place]
        start, title, text = self._places[number]
        end = self._places[number + 1][0] if number + 1 < len(self) else len(self._bytes)
        return Document(self._text(start, title), self._text(title, text), self._text(text, end))

    def _text(self, start: int, end: int) -> str:
        return self._bytes[start:end].decode("utf-8")
