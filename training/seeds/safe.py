"""A note on each host that the first seed's adapter is saved: what ends the processes after that is no failure of the job.

SageMaker keeps no model of a job that failed, and its training would have been paid for nothing.
"""

from __future__ import annotations

from pathlib import Path

from progress import say

MARK = "adapter-is-safe"  # beside the failure file


def mark(root: Path) -> None:
    """Makes the note. Raises OSError."""
    (root / "output").mkdir(parents=True, exist_ok=True)
    (root / "output" / MARK).touch()


def withdraw(root: Path) -> None:
    """Takes the note away again: what is saved has turned out to be of no use. Raises OSError."""
    (root / "output" / MARK).unlink(missing_ok=True)


def stands(root: Path) -> bool:
    """Whether there is the note; then no failure is left beside it, and it is said that the job has ended after the training."""
    if not (root / "output" / MARK).exists():
        return False
    (root / "output" / "failure").unlink(missing_ok=True)
    say(
        "note",
        text="an error ended the job after its adapter was saved: that stands, and metrics.json says what is missing",
    )
    return True
