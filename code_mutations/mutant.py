"""One small fault, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

KILLED, SURVIVED = "killed", "survived"


@dataclass(frozen=True)
class Mutant:
    """A change of a line or two. `place` is the file and the function, `before` and `after` are the lines without their indents."""

    place: str
    before: str
    after: str
    fate: str

    @property
    def is_wording(self) -> bool:
        """Whether only the letters of a sentence or a label changed: capitals, small letters, or an XX at its ends."""
        return (
            self.before.lower() == self.after.lower().replace("xx", "")
            and self.before != self.after
            and _sentence(self.before, self.after)
        )


def lines_of(diff: Iterable[str], sign: str) -> str:
    """The lines of a unified diff that were taken away (-) or put there (+), without indents."""
    return "\n".join(
        line[1:].strip() for line in diff if line.startswith(sign) and not line.startswith((f"{sign * 3} ", sign * 3))
    )


def _sentence(before: str, after: str) -> bool:
    """Whether the text that differs holds two words or more, as a key, an error's name or a status never does."""
    start = next((i for i, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), 0)
    opening = max(before.rfind(quote, 0, start + 1) for quote in "\"'")
    closing = [end for quote in "\"'" if (end := before.find(quote, max(start, opening + 1))) != -1]
    return opening != -1 and bool(closing) and len(before[opening + 1 : min(closing)].split()) > 1
