"""What came of the mutants, as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .reasons import Reason, stale


@dataclass(frozen=True)
class Result:
    """Names of mutants: all, those that a test noticed with the test's name, and those that not even the snapshot noticed."""

    made: list[str]
    noticed: Mapping[str, str]
    unseen: list[str]
    reasons: list[Reason]
    tests: int
    seconds: float

    @property
    def living(self) -> list[str]:
        """The mutants that no test but the snapshot noticed."""
        return [name for name in self.made if name not in self.noticed]

    @property
    def wrong(self) -> list[str]:
        """What has to be mended: a test is missing, or a reason, or a reason is out of date."""
        without = [name for name in self.living if not any(reason.fits(name) for reason in self.reasons)]
        return [
            *(f"nothing at all notices {name}" for name in self.unseen),
            *(f"only the snapshot notices {name}" for name in without if name not in self.unseen),
            *stale(self.reasons, self.noticed, self.living),
        ]

    def text(self) -> str:
        """The table, the reasons with the mutants that they are for, and what has to be mended."""
        machines = list(dict.fromkeys(name.split(":")[0] for name in self.made))
        lines = [f"{'Mutations of the state machines':40}" + "".join(f"{machine:>14}" for machine in machines)]
        for words, names in (
            ("made", self.made),
            ("noticed by a test of what it has to do", list(self.noticed)),
            ("noticed by the snapshot alone", [name for name in self.living if name not in self.unseen]),
            ("noticed by nothing", self.unseen),
        ):
            counts = [sum(name.startswith(f"{machine}:") for name in names) for machine in machines]
            lines.append(f"  {words:38}" + "".join(f"{count:>14,}" for count in counts))
        lines.append(
            f"  {self.tests} tests, {self.seconds:.0f} s, {1000 * self.seconds / max(1, len(self.made)):.0f} ms a mutant"
        )
        if self.reasons:
            lines.append("\nThe snapshot alone, with the reason")
        for reason in self.reasons:
            names = [name for name in self.living if reason.fits(name)]
            lines += [f"  {reason.reason}", *(f"    {name}" for name in names)]
        lines += ["", *(f"  MEND  {words}" for words in self.wrong)] if self.wrong else ["\nNothing to mend."]
        return "\n".join(lines)
