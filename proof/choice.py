"""What the proof's commands take: a choice that leaves nothing to try is an error, for what tries nothing would hold."""

from __future__ import annotations

import argparse
from collections.abc import Iterable


def positive(text: str) -> int:
    """A whole number from 1, of an argument. Raises ArgumentTypeError."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid int value: {text!r}") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def expect_a_name(parser: argparse.ArgumentParser, what: str, names: Iterable[str], word: str) -> None:
    """Ends the command with an error that tells all names, unless one of them contains the word."""
    names = list(names)
    if not any(word in name for name in names):
        parser.error(f"there is no {what} with {word!r} in its name; there are {', '.join(names)}")
