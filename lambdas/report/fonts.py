"""Advance widths of the standard PDF fonts, in thousandths of the font size, and how text is encoded for them.

The widths are those of Adobe's published font metrics, for the 224 codes of Windows code page 1252 from 32 on. What
that code page lacks but the Symbol font has (Greek letters, arrows, comparison signs) is set in Symbol; anything else
loses its accents or becomes a question mark.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_WIDTHS = {
    "Helvetica": """
        278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556
        556 278 278 584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778
        722 667 611 722 667 944 667 667 611 278 278 278 469 556 333 556 556 500 556 556 278 556 556 222 222
        500 222 833 556 556 556 556 333 500 278 556 500 722 500 500 500 334 260 334 584 350 556 350 222 556
        333 1000 556 556 333 1000 667 333 1000 350 611 350 350 222 222 333 333 350 556 1000 333 1000 500 333
        944 350 500 667 278 333 556 556 556 556 260 556 333 737 370 556 584 333 737 333 400 584 333 333 333
        556 537 278 333 333 365 556 834 834 834 611 667 667 667 667 667 667 1000 722 667 667 667 667 278 278
        278 278 722 722 778 778 778 778 778 584 778 722 722 722 722 667 667 611 556 556 556 556 556 556 889
        500 556 556 556 556 278 278 278 278 556 556 556 556 556 556 556 584 611 556 556 556 556 500 556 500
    """,
    "Helvetica-Bold": """
        278 333 474 556 556 889 722 238 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556
        556 333 333 584 584 584 611 975 722 722 722 722 667 611 778 722 278 556 722 611 833 722 778 667 778
        722 667 611 722 667 944 667 667 611 333 278 333 584 556 333 556 611 556 611 556 333 611 611 278 278
        556 278 889 611 611 611 611 389 556 333 611 556 778 556 556 500 389 280 389 584 350 556 350 278 556
        500 1000 556 556 333 1000 667 333 1000 350 611 350 350 278 278 500 500 350 556 1000 333 1000 556 333
        944 350 500 667 278 333 556 556 556 556 280 556 333 737 370 556 584 333 737 333 400 584 333 333 333
        611 556 278 333 333 365 556 834 834 834 611 722 722 722 722 722 722 1000 722 667 667 667 667 278 278
        278 278 722 722 778 778 778 778 778 584 778 722 722 722 722 667 667 611 556 556 556 556 556 556 889
        556 556 556 556 556 278 278 278 278 611 611 611 611 611 611 611 584 611 611 611 611 611 556 611 556
    """,
    "Times-Roman": """
        250 333 408 500 500 833 778 180 333 333 500 564 250 333 250 278 500 500 500 500 500 500 500 500 500
        500 278 278 564 564 564 444 921 722 667 667 722 611 556 722 722 333 389 722 611 889 722 722 556 722
        667 556 611 722 722 944 722 722 611 333 278 333 469 500 333 444 500 444 500 444 333 500 500 278 278
        500 278 778 500 500 500 500 333 389 278 500 500 722 500 500 444 480 200 480 541 350 500 350 333 500
        444 1000 500 500 333 1000 556 333 889 350 611 350 350 333 333 444 444 350 500 1000 333 980 389 333
        722 350 444 722 250 333 500 500 500 500 200 500 333 760 276 500 564 333 760 333 400 564 300 300 333
        500 453 250 333 300 310 500 750 750 750 444 722 722 722 722 722 722 889 667 611 611 611 611 333 333
        333 333 722 722 722 722 722 722 722 564 722 722 722 722 722 722 556 500 444 444 444 444 444 444 667
        444 444 444 444 444 278 278 278 278 500 500 500 500 500 500 500 564 500 500 500 500 500 500 500 500
    """,
    "Times-Bold": """
        250 333 555 500 500 1000 833 278 333 333 500 570 250 333 250 278 500 500 500 500 500 500 500 500 500
        500 333 333 570 570 570 500 930 722 667 722 722 667 611 778 778 389 500 778 667 944 722 778 611 778
        722 556 667 722 722 1000 722 722 667 333 278 333 581 500 333 500 556 444 556 444 333 500 556 278 333
        556 278 833 556 500 556 556 444 389 333 556 500 722 500 500 444 394 220 394 520 350 500 350 333 500
        500 1000 500 500 333 1000 556 333 1000 350 667 350 350 333 333 500 500 350 500 1000 333 1000 389 333
        722 350 444 722 250 333 500 500 500 500 220 500 333 747 300 500 570 333 747 333 400 570 300 300 333
        556 540 250 333 300 330 500 750 750 750 500 722 722 722 722 722 722 1000 722 667 667 667 667 389 389
        389 389 722 722 778 778 778 778 778 570 778 722 722 722 722 722 611 556 500 500 500 500 500 500 722
        444 444 444 444 444 278 278 278 278 500 556 500 500 500 500 500 570 500 556 556 556 556 500 556 500
    """,
    "Times-Italic": """
        250 333 420 500 500 833 778 214 333 333 500 675 250 333 250 278 500 500 500 500 500 500 500 500 500
        500 333 333 675 675 675 500 920 611 611 667 722 611 611 722 722 333 444 667 556 833 667 722 611 722
        611 500 556 722 611 833 611 556 556 389 278 389 422 500 333 500 500 444 500 444 278 500 500 278 278
        444 278 722 500 500 500 500 389 389 278 500 444 667 444 444 389 400 275 400 541 350 500 350 333 500
        556 889 500 500 333 1000 500 333 944 350 556 350 350 333 333 556 556 350 500 889 333 980 389 333 667
        350 389 556 250 389 500 500 500 500 275 500 333 760 276 500 675 333 760 333 400 675 300 300 333 500
        523 250 333 300 310 500 750 750 750 500 611 611 611 611 611 611 889 667 611 611 611 611 333 333 333
        333 722 667 722 722 722 722 722 675 722 722 722 722 722 556 611 500 500 500 500 500 500 500 667 444
        444 444 444 444 278 278 278 278 500 500 500 500 500 500 500 675 500 500 500 500 500 444 500 444
    """,
}
_COURIER = 600
_SYMBOLS = "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩαβγδεζηθικλμνξοπρςστυφχψω′″←↑→↓↔⇒⇔∀∂∃∅∆∇∈∏∑−∗√∝∞∩∪∫∼≈≠≡≤≥⊂⊃⊕⊗"
_SYMBOL_CODES = bytes.fromhex(
    "41424744455a4851494b4c4d4e584f50525354554643595761626764657a6871696b6c6d6e786f707256737475666379"
    "77a2b2acadaeafabdedb22b624c644d1ced5e52d2ad6b5a5c7c8f27ebbb9baa3b3ccc9c5c4"
)
_SYMBOL_WIDTHS = """
    722 667 603 612 611 611 722 741 333 722 686 889 722 645 722 768 556 592 611 690 763 722 795 768 631
    549 411 494 439 494 603 521 329 549 549 576 521 493 549 549 549 439 603 439 576 521 549 686 686 247
    411 987 603 987 603 1042 987 1042 713 494 549 823 612 713 713 823 713 549 500 549 713 713 768 768
    274 549 549 549 549 549 549 713 713 768 768
"""

_SYMBOL = {
    character: (code, int(width))
    for character, code, width in zip(_SYMBOLS, _SYMBOL_CODES, _SYMBOL_WIDTHS.split(), strict=True)
}
# Characters with a plain equivalent that neither font has.
_PLAIN = {
    "\u202f": "\u00a0",
    "\u2009": " ",
    "\u2010": "-",
    "\u2011": "-",
    "\u2015": "-",
    "\ufeff": "",
    "\u200b": "",
}


@lru_cache(maxsize=8)
def _table(font: str) -> tuple[int, ...]:
    if font.startswith("Courier"):
        return (_COURIER,) * 224
    return tuple(map(int, _WIDTHS[font].split()))


def encode(text: str, font: str) -> list[tuple[str, bytes, int]]:
    """The text as runs of (font, encoded bytes, width in thousandths); `font` is one of the tables or Courier."""
    runs: list[tuple[str, bytearray, int]] = []
    for character in text:
        for name, code, width in _glyphs(character, font):
            if runs and runs[-1][0] == name:
                runs[-1][1].append(code)
                runs[-1] = (name, runs[-1][1], runs[-1][2] + width)
            else:
                runs.append((name, bytearray([code]), width))
    return [(name, bytes(codes), width) for name, codes, width in runs]


@lru_cache(maxsize=4096)
def _glyphs(character: str, font: str) -> tuple[tuple[str, int, int], ...]:
    character = _PLAIN.get(character, character)
    if not character:
        return ()
    if character in _SYMBOL and not font.startswith("Courier"):
        code, width = _SYMBOL[character]
        return (("Symbol", code, width),)
    if character in "\t\r\n\u2212":
        character = "-" if character == "\u2212" else " "
    for candidate in (character, unicodedata.normalize("NFKD", character)):
        codes = candidate.encode("cp1252", "ignore")
        if codes and min(codes) >= 32:
            return tuple((font, code, _table(font)[code - 32]) for code in codes)
    return ((font, 63, _table(font)[63 - 32]),)


def lacks(character: str) -> bool:
    """Whether it is set as a question mark, because none of the fonts has it."""
    return character != "?" and [code for _, code, _ in _glyphs(character, "Times-Roman")] == [63]


@lru_cache(maxsize=4096)
def _advance(character: str, font: str) -> int:
    """How wide one character is set, in thousandths. Setting a large report asks for it tens of millions of times."""
    return sum(width for _, _, width in _glyphs(character, font))


def width(text: str, font: str, size: float) -> float:
    """How wide the text is, in the unit of `size`."""
    return sum(_advance(character, font) for character in text) * size / 1000


def shorten(text: str, font: str, size: float, room: float) -> str:
    """The text, cut with an ellipsis where it is wider than `room`."""
    if width(text, font, size) <= room:
        return text
    while text and width(text + "\u2026", font, size) > room:
        text = text[:-1]
    return text.rstrip(" ,;-") + "\u2026"


def line_spans(text: str, font: str, size: float, room: float) -> list[tuple[int, int]]:
    """Where each line of the wrapped text starts and ends; a word wider than a line is broken."""
    lines: list[tuple[int, int]] = []
    start = 0
    for paragraph in text.split("\n"):
        stop = start + len(paragraph)
        while start < stop:
            end, used, space = start, 0.0, -1
            while end < stop:
                used += _advance(text[end], font) * size / 1000
                if used > room and end > start:
                    break
                if text[end] == " ":
                    space = end
                end += 1
            if end < stop and text[end] == " ":
                space = end
            if end < stop and space > start:
                lines.append((start, space))
                start = space + 1
            else:
                lines.append((start, end))
                start = end
        if not paragraph:
            lines.append((start, start))
        start = stop + 1
    return lines


def wrap(text: str, font: str, size: float, room: float) -> list[str]:
    """The lines of the wrapped text."""
    return [text[start:end] for start, end in line_spans(text, font, size, room)]
