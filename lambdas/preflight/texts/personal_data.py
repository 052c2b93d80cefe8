"""What looks like personal data: names with dates, dates of birth, numbers and addresses. It does not replace de-identification."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from common.errors import PatientDataSuspected
from common.text import composed, listed

_FILE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
# Latin, Greek and Cyrillic capitals: `[A-Z]` would miss Müller's Österreich and every É.
_PARTS = {**_FILE["parts"], "CAPITAL": "".join(filter(str.isupper, map(chr, range(0x530))))}


def _expanded(written: str | list[str]) -> str:
    """A pattern, or alternatives of one, with the parts that it names in braces."""
    whole = written if isinstance(written, str) else "|".join(written)
    return re.sub(r"\{([A-Z_]+)\}", lambda name: _expanded(_PARTS[name[1]]), whole)


_PATTERNS = [(one["kind"], one["sign"], re.compile(_expanded(one["pattern"]))) for one in _FILE["patterns"]]
_SIGNS = {name: re.compile(sign) if isinstance(sign, str) else tuple(sign) for name, sign in _FILE["signs"].items()}
LEARNT = "A fine-tuned model can repeat its training text."  # what could become of data in a text of a run
_SHOWN_CHARACTERS = 80
NOT_SHOWN = "(not shown: it looks like personal data)"
_ACROSS = 120  # characters on either side of a line's end
_DASH, _DIGIT = re.compile("[\u2010-\u2013\u2212]"), re.compile(r"\d")


def refuse_patient_data(text: str, name: str) -> None:
    """Raises PatientDataSuspected with the line of everything that looks like personal data; the data itself is not repeated."""
    lines = text.split("\n")
    found = [(number, kind) for number, line in enumerate(lines, 1) for kind in _kinds(line)]
    # Wrapped prose and pasted forms have the name on one line and the date on the next.
    found += [
        (number, kind) for number, (line, after) in enumerate(pairwise(lines), 1) for kind in _kinds_across(line, after)
    ]
    _refuse(sorted(found), name, LEARNT)


def refuse_patient_data_in(lines: Iterable[tuple[int, str]], name: str, reason: str) -> None:
    """Raises PatientDataSuspected for numbered lines of a file, of which several may have one number; `reason` says why they are refused."""
    _refuse([(number, kind) for number, line in lines for kind in _kinds(line)], name, reason)


def looks_personal(text: str) -> bool:
    """Whether a text looks like personal data, and must not be repeated in a message."""
    return any(_kinds(text))


def shown(value: str) -> str:
    """A value for a message, cut where it is long; none of personal data, looked for in all of it: messages are logged."""
    if looks_personal(value):
        return NOT_SHOWN
    return repr(value) if len(value) <= _SHOWN_CHARACTERS else repr(value[:_SHOWN_CHARACTERS]) + "…"


def _refuse(places: list[tuple[int, str]], name: str, reason: str) -> None:
    found = dict.fromkeys(f"line {number}: {kind}" for number, kind in places)
    if found:
        raise PatientDataSuspected(
            f"{name} appears to contain personal data ({listed(found, between='; ')}). {reason} Remove these lines."
        )


def _kinds(line: str) -> Iterator[str]:
    line = _plain(line)
    return (kind for kind, pattern in _conceivable(line) if pattern.search(line))


def _conceivable(line: str) -> list[tuple[str, re.Pattern[str]]]:
    """The kinds whose sign is in a line, with their patterns."""
    folded = line.casefold()
    seen = {
        name
        for name, sign in _SIGNS.items()
        if (any(word in folded for word in sign) if isinstance(sign, tuple) else sign.search(line))
    }
    return [(kind, pattern) for kind, sign, pattern in _PATTERNS if sign in seen] if seen else []


def _kinds_across(line: str, after: str) -> Iterator[str]:
    """The kinds that begin in a line and end in the next one."""
    if not _DIGIT.search(after, 0, _ACROSS):
        return iter(())
    tail, head = line[-_ACROSS:].split(), after[:_ACROSS].split()
    if not tail or not head:
        return iter(())
    # Without the word or the number that was cut.
    before = _plain(" ".join(tail[1:] if len(line) > _ACROSS else tail))
    both = f"{before} {_plain(' '.join(head[:-1] if len(after) > _ACROSS else head))}"
    return (
        kind
        for kind, pattern in _conceivable(both)
        if any(match.start() < len(before) < match.end() - 1 for match in pattern.finditer(both))
    )


def _plain(line: str) -> str:
    """A line as a person reads it: single blanks, plain dashes, nothing invisible, and each letter one character with its accent."""
    line = " ".join(line.split())
    return line if line.isascii() else composed(_DASH.sub("-", line))
