"""One simulated account with a clock of its own: both state machines, every Lambda handler, and each service that they call.

Everything random comes from one seed, so a seed replays any month. The table of failures, random months, outages and
control experiments all run here; `captune dev prove-cap -h` lists what can be run and replayed.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Result:
    """One part of the proof. It holds when nothing is in `broken`."""

    title: str
    lines: list[tuple[str, str]]
    broken: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The part as it is printed, its figures in one column."""
        width = max((len(name) for name, _ in self.lines), default=0)
        rows = [f"  {name:<{width}}  {value}" for name, value in self.lines]
        broken = [f"  BROKEN  {words}" for words in self.broken[:20]]
        more = [f"  BROKEN  and {len(self.broken) - 20} more"] if len(self.broken) > 20 else []
        return "\n".join([f"{self.title}: {'holds' if not self.broken else 'BROKEN'}", *rows, *broken, *more])
