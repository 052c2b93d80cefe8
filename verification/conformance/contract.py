"""One contract that was tried: how often, against what, and where it broke."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contract:
    """What one check showed.

    `count` is how many things were compared (answers, expressions, calls), `against` the real part with its version, and
    `problems` one sentence for each that did not hold. `figures` are measured shares or times, printed beside it.
    """

    name: str
    count: int
    against: str
    problems: tuple[str, ...] = ()
    figures: str = ""

    @property
    def holds(self) -> bool:
        """Whether something was compared and nothing broke: a check that compared nothing has shown nothing."""
        return self.count > 0 and not self.problems
