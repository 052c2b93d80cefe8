"""A text as the bytes that are kept and counted of it."""

from __future__ import annotations


def encoded(text: str) -> bytes:
    """A text in UTF-8. Half of a surrogate pair, which a model can answer and UTF-8 does not hold, becomes a question mark."""
    return text.encode("utf-8", "replace")
