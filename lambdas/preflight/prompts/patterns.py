"""Key-fact patterns: do they compile, do they say anything, and can they be searched for in any answer in reasonable time?"""

from __future__ import annotations

import re

from common.time_limit import time_limit

# An answer has 64 tokens, some 300 characters.
PROBE_CHARACTERS = 1_000
# Hundreds of patterns are searched for in hundreds of answers. A sound one takes less than a thousandth of this.
SEARCH_SECONDS = 1.0
_REPEATED = (" ", "a", "0", "a ", "0 ", "Ab1, ")


class TooSlow(Exception):
    """A search went on for longer than the limit."""


def fault(written: str, prompt: str) -> str:
    """Why a pattern cannot be used for its prompt, without the pattern itself; empty for a good one."""
    try:
        pattern = re.compile(written, re.IGNORECASE)
    # ValueError: flags that contradict each other.
    except (re.error, OverflowError, RecursionError, ValueError) as error:
        return f"does not compile ({error})"
    try:
        with time_limit(SEARCH_SECONDS, TooSlow()):
            if pattern.search(""):
                return "matches everything"
            if pattern.search(prompt):
                return "its own prompt matches"
            for text in _probes(written):
                pattern.search(text)
    except TooSlow:
        return "can take for ever (take out repeats inside a repeat, or give them bounds such as {0,40})"
    return ""


def _probes(written: str) -> list[str]:
    """Texts on which a pattern that can take for ever usually does.

    What repeats in such a pattern matches again and again and fails only at the end: letters, digits, blanks, words, or
    the pattern's own characters. That is no proof for any text; the report has a limit of its own.
    """
    letters = re.sub(r"\\.|[^\w ]", "", written)
    # Without its last character too, which is often the one that never comes.
    repeated = [*_REPEATED, *sorted(set(letters))[:8], letters, letters[:-1]]
    return [(part * PROBE_CHARACTERS)[: PROBE_CHARACTERS - 1] + "\u00a7" for part in dict.fromkeys(repeated) if part]
