"""What came out, as it is printed and kept in results/mutations-python.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from code_mutations.found import Found
from code_mutations.mutant import KILLED, SURVIVED, Mutant
from code_mutations.reasons import WORDING, Judgement, Reason

ENOUGH = 0.9  # of the mutants of each part have to be killed


def share(mutants: Sequence[Mutant]) -> float:
    """The share that was killed, of all that were made."""
    return sum(one.fate == KILLED for one in mutants) / len(mutants) if mutants else 0.0


def text(found: Mapping[str, Found], reasons: Sequence[Reason], judgement: Judgement) -> str:
    """A line for each part, what was planted by hand, and every survivor with its reason."""
    lines = [f"{'part':<10}{'made':>6}{'killed':>8}{'share':>8}{'survived':>10}{'of them wording':>17}"]
    everything = [mutant for one in found.values() for mutant in one.mutants]
    for name, mutants in [*((name, one.mutants) for name, one in found.items()), ("all", everything)]:
        alive = [one for one in mutants if one.fate == SURVIVED]
        wording = sum(one.is_wording for one in alive)
        killed = len(mutants) - len(alive)
        lines.append(f"{name:<10}{len(mutants):>6}{killed:>8}{share(mutants):>8.1%}{len(alive):>10}{wording:>17}")
    sampled = [name for name, one in found.items() if one.is_sample]
    if sampled:
        lines += ["", f"A sample, about a third of the mutants, was tried of {', '.join(sampled)}."]
    lines += _by_hand(everything)
    lines += ["", f"Wording: {WORDING}"]
    explained = [reason for reason in reasons if any(one.place == reason.place for one in everything)]
    if explained:
        lines += ["", "Survivors and why they may live:"]
    for reason in explained:
        lines += [f"  {reason.place}: {reason.why}", f"    {_flat(reason.line)}"]
        lines += [f"      -> {_flat(after)}" for after in reason.becomes]
    if judgement.unexplained:
        lines += ["", "Survivors without a reason:"]
        lines += [
            f"  {one.place}\n    - {_flat(one.before)}\n    + {_flat(one.after)}" for one in judgement.unexplained
        ]
    if judgement.stale:
        lines += ["", "Reasons that no survivor needs:", *(f"  {one}" for one in judgement.stale)]
    return "\n".join(line.rstrip() for line in lines)


def _by_hand(mutants: Sequence[Mutant]) -> list[str]:
    planted = [one for one in mutants if " by hand: " in one.place]
    if not planted:
        return []
    names = [f"  {one.fate:<9} {one.place.replace(' by hand', '')}" for one in planted]
    return ["", "Planted by hand, and counted above:", *names]


def _flat(lines: str) -> str:
    return " / ".join(lines.splitlines()) or "(nothing)"
