"""A note on each host that the first seed's result is saved: what ends the processes after that is no failure of the job."""

from __future__ import annotations

from pathlib import Path

from progress import say

MARK = "first-seed-is-safe"  # beside the failure file


def mark(root: Path) -> None:
    """Makes the note. Raises OSError."""
    (root / "output").mkdir(parents=True, exist_ok=True)
    (root / "output" / MARK).touch()


def stands(root: Path) -> bool:
    """Whether there is the note; then no failure is left beside it, and it is said that further seeds have ended the job."""
    if not (root / "output" / MARK).exists():
        return False
    (root / "output" / "failure").unlink(missing_ok=True)
    say(
        "note",
        text="a further seed ended with an error: the first seed's result stands, and metrics.json says what is missing",
    )
    return True
