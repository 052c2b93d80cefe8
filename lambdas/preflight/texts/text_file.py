"""Corpus and held-out text: is it text, is there enough of it, and can anything be learned from it?"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from common.errors import CaptuneError, DatasetRejected
from common.text import words
from preflight.records.record import Record

MINIMUM_WORDS = 1000
MINIMUM_HELD_OUT_WORDS = 200
# 4 MiB of English is some 700,000 words or a million tokens: three epochs take 45 minutes of the two hours that
# max_training_seconds allows (1,190 tokens a second were seen on ml.g5.2xlarge), and Preflight checks them in its own time.
MAXIMUM_BYTES = 4 * 1024 * 1024
MINIMUM_DISTINCT_SHARE = 0.5
_OTHER_LINE_ENDS = dict.fromkeys([0x0B, 0x0C, 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029], " ")
_TITLE = re.compile(r"(?m)^# .*$")


@dataclass(frozen=True)
class Document:
    """One document of a text file: a `# Title` line and its paragraphs. Or one group of records, whose text is all that they say."""

    id: str
    title: str
    text: str
    records: tuple[Record, ...] = ()


def decode(content: bytes, name: str) -> str:
    """The text of a file. Raises DatasetRejected for what is empty, too large, binary or not UTF-8."""
    if not content.strip():
        raise DatasetRejected(f"{name} is empty. Give a UTF-8 text of at least {MINIMUM_WORDS} words.")
    if len(content) > MAXIMUM_BYTES:
        raise too_large(name, len(content))
    if (zero := content.find(0)) >= 0:
        raise no_text(name, zero)
    return as_utf8(content, name, DatasetRejected)


def as_utf8(content: bytes, name: str, refusal: type[CaptuneError]) -> str:
    """The text of a file without a byte order mark and with the line ends of this system. Raises `refusal` for what is not UTF-8."""
    mark = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
    try:
        return with_line_ends(content[mark:].decode("utf-8"))
    except UnicodeDecodeError as error:
        start = mark + error.start
        line = with_line_ends(content[:start].decode("utf-8", "replace")).count("\n") + 1
        raise not_utf8(name, start, line, refusal) from None


def with_line_ends(text: str) -> str:
    """A text with the line ends of this system, whatever system it was written on."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def no_text(name: str, place: int) -> DatasetRejected:
    """The refusal of a file with a zero byte, which no text has."""
    return DatasetRejected(
        f"{name} is not a text: it has a zero byte at position {place}. Export it as plain UTF-8 text."
    )


def not_utf8(name: str, place: int, line: int, refusal: type[CaptuneError] = DatasetRejected) -> CaptuneError:
    """The refusal of a file with a byte that is not UTF-8."""
    return refusal(f"{name} is not UTF-8: byte {place} in line {line} cannot be read. Save it as UTF-8.")


def too_large(name: str, size: int, most: int = MAXIMUM_BYTES) -> DatasetRejected:
    """The refusal of a file that is larger than a run within the cap can learn from."""
    return DatasetRejected(
        f"{name} has {size / 2**20:,.1f} MiB; at most {most // 2**20:,} MiB can be read and checked. Take a part of it."
    )


def documents(text: str, prefix: str) -> list[Document]:
    """Splits a text at its `# Title` lines; a text without any is one document."""
    found: list[Document] = []
    for part in re.split(r"(?m)^(?=# )", with_line_ends_of_text(text)):
        head, _, body = part.partition("\n")
        title, body = (head[2:].strip(), body) if head.startswith("# ") else ("", part)
        if body.strip():
            number = len(found) + 1
            found.append(Document(f"{prefix}-{number:03d}", title or f"{prefix} {number}", body.strip()))
    return found


def with_line_ends_of_text(text: str) -> str:
    """A text with blanks for page breaks and the line ends of Unicode: the training job would end a line, or a document, at them."""
    return text.translate(_OTHER_LINE_ENDS)


def without_titles(text: str) -> str:
    """A text without its `# Title` lines."""
    return _TITLE.sub("", text)


def check(text: str, name: str, minimum_words: int) -> None:
    """Raises DatasetRejected for a text that is too short or says the same thing over and over."""
    body = without_titles(text)
    total, distinct = 0, set()
    for word in words.each(body):
        total += 1
        distinct.add(word.lower())
    if total < minimum_words:
        raise too_short(name, total, minimum_words)
    _refuse_repetition(text, name)
    # Running prose of 1,000 words has some 400 different ones.
    least = min(100, minimum_words // 4)
    if len(distinct) < least:
        raise few_words(name, len(distinct), total)


def _refuse_repetition(text: str, name: str) -> None:
    lines = [line.strip() for line in text.split("\n")]
    seen = Counter(line for line in lines if line)
    # By length, so that short separators between long paragraphs do not count against a text.
    distinct, whole = sum(map(len, seen)), sum(len(line) * times for line, times in seen.items())
    if sum(seen.values()) > 3 and distinct < MINIMUM_DISTINCT_SHARE * whole:
        line, times = max(seen.items(), key=lambda entry: len(entry[0]) * (entry[1] - 1))
        raise repeats(name, sum(seen.values()), len(seen), lines.index(line) + 1, times)


def too_short(name: str, total: int, minimum_words: int) -> DatasetRejected:
    """The refusal of a text with too few words."""
    return DatasetRejected(
        f"{name} has {total} words beside its title lines; at least {minimum_words} are needed. Add more text."
    )


def few_words(name: str, different: int, total: int) -> DatasetRejected:
    """The refusal of a text that is no prose."""
    return DatasetRejected(
        f"{name} has only {different} different words in {total}: there is nothing to learn from it. Use running prose."
    )


def repeats(name: str, lines: int, different: int, line: int, times: int) -> DatasetRejected:
    """The refusal of a text of which most is said before; `line` is one of those that stand there so many `times`."""
    return DatasetRejected(
        f"{name} repeats itself: of its {lines} lines only {different} differ, and line {line} stands there {times} times. Remove the repetitions."
    )


def as_text(parts: Iterable[Document]) -> str:
    """Documents as one text again, each under its `# Title` line."""
    return "\n".join(map(titled, parts))


def titled(part: Document) -> str:
    """A document under its `# Title` line."""
    return f"# {part.title}\n\n{part.text}\n"


def as_lines(parts: Iterable[Document]) -> str:
    """Documents as JSON Lines, the form of the evaluation channel; groups as their records, the form of either channel."""
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for part in parts for entry in _entries(part))


def _entries(part: Document) -> list[dict[str, Any]]:
    if part.records:
        return [record.as_entry() for record in part.records]
    return [{"id": part.id, "title": part.title, "text": part.text}]


def part(parts: list[Document], wanted_words: int) -> list[Document]:
    """Whole documents of about so many words, taken evenly from the whole of a text; 0 takes all of them."""
    share = wanted_words / max(1, sum(words.count(document.text) for document in parts))
    if wanted_words == 0 or share >= 1:
        return parts
    # Document n is taken where the n-th multiple of the share passes a whole number.
    return [document for n, document in enumerate(parts) if int((n + 1) * share) > int(n * share)] or parts[:1]
