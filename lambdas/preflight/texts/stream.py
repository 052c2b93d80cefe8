"""A text that is too large to be held: read piece by piece, and cut into documents or stretches with the lines that they begin at."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from preflight.texts.text_file import no_text, not_utf8, with_line_ends

# A document longer than this comes in parts, so that no more of a text is ever held; in characters.
LONGEST_PART = 2**20
# What a text with few titles is cut into, some 600 words: a document of usual length.
STRETCH = 4_000
_TITLE = re.compile(rb"(?:^|[\r\n])# ")


@dataclass(frozen=True)
class Unit:
    """A piece of a text: a document, a part of a long one, or a stretch. `number` tells which, `part` is 0 for its beginning."""

    number: int
    part: int
    line: int  # that it begins at
    text: str


def count_titles(pieces: Iterable[bytes], name: str) -> int:
    """How many `# Title` lines a file has. Raises DatasetRejected for a file that holds a zero byte, which no text does."""
    titles, before, kept = 0, 0, b"\n"
    for piece in pieces:
        zero = piece.find(0)
        if zero >= 0:
            raise no_text(name, before + zero)
        # A title may begin in one piece and end in the next one: two bytes of it are in the former at most.
        seen = kept + (piece.removeprefix(codecs.BOM_UTF8) if before == 0 else piece)
        titles += len(_TITLE.findall(seen)) - len(_TITLE.findall(kept))
        kept = seen[-2:]
        before += len(piece)
    return titles


def decoded(pieces: Iterable[bytes], name: str) -> Iterator[str]:
    """The text of a file in pieces, without a byte order mark and with the line ends of this system.

    Raises DatasetRejected naming the line of the first byte that is not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    read, line, held = 0, 1, ""
    for number, piece in enumerate(pieces):
        waiting = len(decoder.getstate()[0])
        content = piece
        if number == 0 and piece.startswith(codecs.BOM_UTF8):
            content, read = piece[len(codecs.BOM_UTF8) :], len(codecs.BOM_UTF8)
        try:
            text = held + decoder.decode(content)
        except UnicodeDecodeError as error:
            good = held + error.object[: error.start].decode("utf-8")
            raise not_utf8(name, read - waiting + error.start, line + with_line_ends(good).count("\n")) from None
        read += len(content)
        # Half of a line's end that is of two characters.
        held = "\r" if text.endswith("\r") else ""
        text = with_line_ends(text.removesuffix("\r"))
        line += text.count("\n")
        yield text
    if left := decoder.getstate()[0]:
        raise not_utf8(name, read - len(left), line + len(held))
    if held:
        yield "\n"


def units(texts: Iterable[str], *, titled: bool) -> Iterator[Unit]:
    """The documents of a text that has titles, long ones in parts; or stretches of one that has few or none."""
    longest = LONGEST_PART if titled else STRETCH
    rest, line, number, part = "", 1, 0, 0
    for text, is_last in _with_last(texts):
        rest += text
        start = 0
        while (place := _end(rest, start, longest, titled, is_last)) is not None:
            end, closes = place
            piece = rest[start:end]
            yield Unit(number, part, line, piece)
            line += piece.count("\n")
            number, part = (number + 1, 0) if closes else (number, part + 1)
            start = end
        rest = rest[start:]


def _end(rest: str, start: int, longest: int, titled: bool, is_last: bool) -> tuple[int, bool] | None:
    """Where the unit that begins at `start` ends, and whether the next one is another document or stretch; None until more is read."""
    most = start + 2 * longest
    title = rest.find("\n# ", start, most) if titled else -1
    if title >= 0 and title + 1 - start <= longest:
        return title + 1, True
    if len(rest) > most or title >= 0:
        limit = title + 1 if title >= 0 else most
        cut = _cut(rest, start + longest, limit)
        return cut, cut == title + 1 or not titled
    if is_last and start < len(rest):
        return len(rest), True
    return None


def _cut(rest: str, low: int, limit: int) -> int:
    """A place to end a part at: after a paragraph, else after a line, else after a word, else at the limit."""
    for mark in ("\n\n", "\n", " "):
        place = rest.find(mark, low, limit)
        if place >= 0:
            return place + len(mark)
    return limit


def _with_last(texts: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Each text with whether it is the last one."""
    iterator = iter(texts)
    current = next(iterator, None)
    while current is not None:
        following = next(iterator, None)
        yield current, following is None
        current = following
