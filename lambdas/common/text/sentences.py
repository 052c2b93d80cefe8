"""The sentences of a text, how hard the beginning of one is to read, and where it may be cut for somebody else to go on.

What needs to know a language knows English and German. In any other, a sentence is cut by its length and punctuation alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from common.text import words

SHORTEST_WORDS = 10  # a shorter sentence leaves nothing to go on with
_CUT_WORDS = (6, 12)
_LIKED_WORDS = 8
_LEFT_WORDS = 4
_LONG_WORDS = 60
_NEAR = 40  # characters


def _listed(written: str) -> frozenset[str]:
    return frozenset(written.split())


_STOP = re.compile(
    "(?<![.!?\u2026])[.!?\u2026]+[\"'\u201c\u201d\u2019\u00ab\u00bb)\\]]*(?=\\s|$)|[\u3002\uff01\uff1f\u0964]+[\u300d\u300f\uff09]*"
)
_ENDS = re.compile(f"(?:{_STOP.pattern})$")
_ABBREVIATIONS = _listed(
    "e.g i.e etc cf vs al approx ca no nos fig figs eq eqs ref refs tab sec ch vol ed eds pp resp incl max min dept inc ltd co st mr "
    "mrs ms dr prof jr sr art abs nr bzw usw vgl evtl ggf sog bspw inkl exkl abb kap bd hrsg mio mrd str allg jan feb apr jun jul "
    "aug sept sep oct okt nov dec dez"
)
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]|\d{1,2}")
# What stands before a sentence without being of it: a bullet, the number of a clause, a label such as "RESULTS:".
_MARK = re.compile(
    r"(?:[-*+\u2022\u2013\u2014\u00b7\u25aa\u25cf\u2023]|\(?(?:\d{1,3}|[a-z]|[ivx]{1,4})[.)]|#{1,6}|>|\d+(?:\.\d+)+\.?)\s+"
)
_LABEL = re.compile(r"(?:[^\W\d_][\w/&-]*\s+)?[^\W\d_][\w/&-]*:\s+(?=[\"\u201c\u201e\u00ab]?[^\W\d_])")
_LIST_LINE = re.compile(rf"\s*{_MARK.pattern}")
_TABLE_LINE = re.compile(r"\t|\S {3,}\S|\|.*\||^\s*[-=+| ]{4,}$")

_GOES_ON = _listed(
    "is are was were be been being has have had can may might must should will would could of in on at by to from with for into "
    "between among against during after before through that which who whose because than as and or such including called "
    "ist sind war waren wird werden wurde wurden hat haben kann muss soll darf von mit zu bei durch auf aus nach vor zwischen "
    "gegen dass weil als wie und oder im am zum zur"
)
_ARTICLES = _listed("the a an its their this these der die das den dem des ein eine einen einem einer eines")
_LEANS = _listed(
    "it this these that those they he she we i you his her its their such here there then thus hence however therefore moreover "
    "furthermore instead otherwise and but or so also both er sie es dies diese dieser dieses jedoch daher deshalb und aber denn "
    "oder auch dann dort hier ihr ihre sein seine"
)
_SMALL = _GOES_ON | _ARTICLES | _LEANS
# One of these with a capital inside a sentence, and no mark before it: a heading or a cell of a table has run into it.
_BEGINS = re.compile(
    r"(?<![.!?:;,\u2013\u2014)\"\u201c\u201d])\s(?:The|An?|We|This|These|It|There|They|Our|In|For|To|When|If|"
    r"Der|Die|Das|Wir|Es|Eine?|Im|Bei|Wenn)\s(?=\S*[a-z])"
)
_ODD = re.compile(r"[|\t\u2022\u25aa\u25cf=_<>@\\^~{}]|https?:|\s[-*\u00b7+]\s")
_NOISE = re.compile(r"[()\[\]/;:\u2013\u2014\"\u201c\u201d\u201e\u00ab\u00bb]")
_PAIRS = (("(", ")"), ("[", "]"), ("\u00ab", "\u00bb"))


def prose(text: str) -> Iterator[str]:
    """What reads as running text, paragraph by paragraph on one line each: items of a list apart, rows of tables left out."""
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.splitlines() if not _TABLE_LINE.search(line)]
        parts: list[list[str]] = [[]]
        for line in lines:
            if _LIST_LINE.match(line):
                parts.append([])
            parts[-1].append(line)
        yield from (joined for part in parts if (joined := " ".join(" ".join(part).split())))


def split(paragraph: str) -> Iterator[str]:
    """The sentences of a paragraph on one line, without what stands before them; what has no end of its own is none."""
    start = 0
    for stop in _STOP.finditer(paragraph):
        if _goes_on_after(paragraph, start, stop):
            continue
        yield _unmarked(paragraph[start : stop.end()].strip())
        start = stop.end()


def _goes_on_after(paragraph: str, start: int, stop: re.Match[str]) -> bool:
    """Whether a full stop belongs to an abbreviation, an initial or a number, or a lower-case letter comes after it."""
    # Near the stop only: a text may be one paragraph of a million stops.
    following = paragraph[stop.end() : stop.end() + _NEAR].lstrip()[:1]
    if following.islower():
        return True
    if stop[0] != ".":
        return False
    before = paragraph[max(start, stop.start() - _NEAR) : stop.start()].rpartition(" ")[2].lstrip("(\"'[\u201e\u201c")
    return bool(before.lower() in _ABBREVIATIONS or (following and _INITIALS.fullmatch(before)))


def _unmarked(sentence: str) -> str:
    while mark := _MARK.match(sentence) or _LABEL.match(sentence):
        sentence = sentence[mark.end() :]
    return sentence


def reading_difficulty(opening: str) -> float:
    """How hard a prompt is to read: 0 for plain words; figures, brackets, capitals and what leans on an earlier sentence add to it."""
    parts = opening.split()
    if not parts:
        return 100.0
    inner = [part for part in parts[1:] if part[0].isalpha()]
    capitals = sum(part[0].isupper() for part in inner)
    found = 5.0 * len(_ODD.findall(opening)) + 5.0 * len(_BEGINS.findall(opening)) + 1.0 * len(_NOISE.findall(opening))
    found += sum(0.7 for part in parts if any(character.isdigit() for character in part))
    found += sum(0.5 for part in parts if sum(character.isupper() for character in part) > 1)
    found += 2.0 if parts[0].strip("\"'\u201c\u201e,").lower() in _LEANS else 0.0
    found += 4.0 if opening[0].islower() else 2.0 if not opening[0].isalpha() else 0.0
    found += 3.0 if len(inner) > 2 and capitals > 0.6 * len(inner) else 0.0
    # A row of a table has none of the small words. So has a language that is not known here: alone it is no reason to leave a text out.
    small = any(part.lower().strip(",;:") in _SMALL for part in parts)
    found += 1.5 if len(parts) >= _CUT_WORDS[0] and not small else 0.0
    return found + 0.05 * max(0, words.count(opening) - 2 * _CUT_WORDS[1])


def opening(sentence: str) -> str | None:
    """The beginning of a sentence, up to where it is plain that something comes; None for one that has no such place."""
    if not SHORTEST_WORDS <= words.count(sentence) <= _LONG_WORDS or not _ENDS.search(sentence):
        return None
    parts = sentence.split()
    low, high = _CUT_WORDS
    if len(parts) < low + _LEFT_WORDS:  # a script without spaces
        return words.opening(sentence, _LIKED_WORDS - 1)
    places = [place for place in range(low, min(high, len(parts) - _LEFT_WORDS) + 1) if _closed(parts[:place])]
    best = min(places, key=lambda place: _harshness(parts, place), default=None)
    return None if best is None else " ".join(parts[:best]).rstrip(",;:\u2013\u2014- ")


def _closed(parts: list[str]) -> bool:
    """Whether no bracket and no quotation is left open."""
    text = " ".join(parts)
    low = text.count("\u201e")
    # The mark that opens in English closes in German.
    quoted = low > text.count("\u201c") if low else text.count("\u201c") > text.count("\u201d")
    return (
        not quoted and text.count('"') % 2 == 0 and all(text.count(first) <= text.count(last) for first, last in _PAIRS)
    )


def _harshness(parts: list[str], place: int) -> float:
    """How badly a cut before the word at `place` reads."""
    last, following = parts[place - 1], parts[place]
    word, after = last.lower(), following.lower()
    found = 0.15 * abs(place - _LIKED_WORDS)
    found += 3.0 if last.endswith(".") or not any(character.isalnum() for character in last) else 0.0
    found += 0.5 if last.endswith((",", ";", ":")) else 0.0
    found += 2.0 if not any(character.isalpha() for character in last) else 0.0
    found += 2.0 if not any(character.isalpha() for character in following) else 0.0
    if word in _GOES_ON:
        found -= 1.5
    elif word in _ARTICLES:
        found -= 0.5
    elif after in _GOES_ON:
        found -= 0.2
    return found
