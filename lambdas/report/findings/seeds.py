"""How much of the result hangs on the seed: the loss differences of every seed that was trained, side by side.

All differences are tuned minus base, as for the first seed, whose verdict stands whatever the others gave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Any

from report.findings.intervals import RESAMPLES, interval
from report.findings.statistics import changes, usable_documents

TEXTS = ("heldout", "outside", "control")
Difference = Mapping[str, Any]


def compare_seeds(
    metrics: Mapping[str, Any] | None,
    first: Mapping[str, Mapping[str, Any] | None],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any] | None:
    """The differences by seed and their spread, in nats per token; None for a run with one seed.

    `first` holds the losses of the first seed by text, of `compare_losses`; `seed` is the analysis's own.
    """
    told = (metrics or {}).get("seeds") or {}
    if not told.get("further") and not told.get("left_out"):
        return None
    results = [{"seed": told.get("first"), **{text: (first.get(text) or {}).get("difference") for text in TEXTS}}]
    for one in told.get("further") or []:
        measured = one.get("evaluation") or {}
        results.append(
            {"seed": one.get("seed"), **{text: _difference(measured.get(text), seed, resamples) for text in TEXTS}}
        )
    return {
        "results": results,
        "left_out": [{"seed": one.get("seed"), "why": str(one.get("why") or "")} for one in told.get("left_out") or []],
        "spread": {text: spread([one[text] for one in results]) for text in TEXTS},
    }


def spread(differences: Sequence[Difference | None]) -> dict[str, Any] | None:
    """Lowest and highest estimate, their standard deviation and whether all have one sign; None for fewer than two."""
    found = [one["estimate"] for one in differences if one and one.get("estimate") is not None]
    if len(found) < 2:
        return None
    return {
        "seeds": len(found),
        "lowest": min(found),
        "highest": max(found),
        "standard_deviation": stdev(found),
        "agree": all(value < 0 for value in found) or all(value > 0 for value in found),
    }


def _difference(measured: Mapping[str, Any] | None, seed: int, resamples: int) -> dict[str, Any] | None:
    """Tuned minus base over the documents of one text, with its interval; None where there is nothing to compare."""
    usable, _ = usable_documents(list((measured or {}).get("documents") or []))
    if not usable:
        return None
    return interval(*changes(usable), seed=seed, resamples=resamples).as_dict()
