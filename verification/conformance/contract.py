"""One contract that was checked: how often, against what, and where it broke; and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_HEAD = "contract"
_SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class Setting:
    """What every part is given: the folder of the synthesized project, the name of a planted fault, and what prints progress."""

    assembly: Path
    plant: str | None
    say: Callable[[str], None]


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


def table(contracts: Sequence[Contract], not_run: Mapping[str, str]) -> str:
    """Return every contract with its count, verdict, counterpart, figures and problems, then the parts that did not run.

    Args:
        contracts: what was checked.
        not_run: reasons by part.
    """
    width = max(len(name) for name in (_HEAD, *(contract.name for contract in contracts)))
    lines = [f"{_HEAD:<{width}}  {'count':>7}  {'':<6}  checked against"]
    for contract in contracts:
        verdict = "holds" if contract.holds else "BROKEN"
        lines.append(f"{contract.name:<{width}}  {contract.count:>7,}  {verdict:<6}  {contract.against}")
        lines += [f"    {contract.figures}"] if contract.figures else []
        problems = contract.problems or (() if contract.holds else ("nothing was compared",))
        lines += [f"    BROKEN  {problem}" for problem in problems[:_SHOWN_PROBLEMS]]
        lines += [f"    BROKEN  and {len(problems) - _SHOWN_PROBLEMS} more"] if len(problems) > _SHOWN_PROBLEMS else []
    return "\n".join([*lines, *(f"{part}: not run: {reason}" for part, reason in not_run.items())])
