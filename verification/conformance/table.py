"""The table that the checks print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from verification.conformance.contract import Contract

_HEAD = "contract"
_SHOWN_PROBLEMS = 20


def text(contracts: Sequence[Contract], not_run: Mapping[str, str]) -> str:
    """Return every contract with its count, verdict, counterpart, figures and problems, then the parts that did not run.

    Args:
        contracts: what was checked.
        not_run: reasons by part.
    """
    wide = max(len(name) for name in (_HEAD, *(contract.name for contract in contracts)))
    lines = [f"{_HEAD:<{wide}}  {'count':>7}  {'':<6}  held against"]
    for contract in contracts:
        verdict = "holds" if contract.holds else "BROKEN"
        lines.append(f"{contract.name:<{wide}}  {contract.count:>7,}  {verdict:<6}  {contract.against}")
        lines += [f"    {contract.figures}"] if contract.figures else []
        lines += [f"    BROKEN  {problem}" for problem in _shown(contract)]
    lines += [f"{part}: not run: {reason}" for part, reason in not_run.items()]
    return "\n".join(lines)


def _shown(contract: Contract) -> list[str]:
    if not contract.holds and not contract.problems:
        return ["nothing was compared, so nothing was shown"]
    more = len(contract.problems) - _SHOWN_PROBLEMS
    return [*contract.problems[:_SHOWN_PROBLEMS], *([f"and {more} more"] if more > 0 else [])]
