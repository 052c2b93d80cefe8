"""Multiple-choice accuracy: how often each model finds the correct option of a prompt among distractors, by the prompt's gain for each option.

Training scores each end after its own prompt and after other items' prompts (training/choices.py). What the prompt adds is the difference
of the two log-probabilities, the pointwise mutual information of prompt and end, here in nats a token of the end. Without that control a
model that merely likes how the field sounds would seem to know it; the plain figures stand beside, named as what they are.

A token, because the margin is surer so: with the 520 items of the medical domain, SmolLM2-135M's lies 5.2 standard errors above zero a token
and 4.7 summed over an end; of the share chosen rightly, the standard error is 2.5 points either way, and 35.6 % are right with the control
where 26.0 % are without it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from common.text import kinds_in_order
from report.findings.intervals import RESAMPLES
from report.findings.recall import cluster_of, compare_shares
from report.findings.statistics import finite

CONTROLLED, PLAIN, OTHER_PROMPTS, MARGIN = "controlled", "plain", "other_prompts", "margin"
# A change of so many standard errors is seen in four of five runs, at a two-sided p of 0.05 (1.96 + 0.84).
SEEN_STANDARD_ERRORS = 2.8
_QUOTED = ("prompt", "correct")
MOST_CHANGED = 3  # items that are shown as having gained most, and as many as having lost most


def compare_choices(
    measured: Mapping[str, Any] | None, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Any] | None:
    """Accuracy before and after, and the margin of the correct option over the distractors in nats per token.

    `measured` is of metrics.json; None without items. An item with a figure that is none counts as missing.
    """
    items = (measured or {}).get("items") or []
    if not measured or not items:
        return None
    usable = [item for item in items if _is_usable(item)]
    rows: list[dict[str, Any]] = [
        {
            "id": str(item["id"]),
            "kind": str(item["kind"]),
            "cluster": cluster_of(item),
            **_quoted(item),
            **_scored(item),
        }
        for item in usable
    ]
    measures = {
        name: compare_shares(rows, name, seed, resamples) for name in (CONTROLLED, PLAIN, OTHER_PROMPTS, MARGIN)
    }
    controlled = measures[CONTROLLED]
    error = controlled["difference"]["standard_error"] if controlled else None
    kinds = kinds_in_order(row["kind"] for row in rows)
    parts = {kind: [row for row in rows if row["kind"] == kind] for kind in kinds if len(kinds) > 1}
    return {
        "source": str(measured.get("source", "")),
        "items": len(items),
        "missing": len(items) - len(usable),
        "chance": sum(1 / len(item["tokens"]) for item in usable) / len(usable) if usable else None,
        "smallest_visible": None if error is None else SEEN_STANDARD_ERRORS * error,
        **measures,
        "by_kind": [
            {"kind": kind, CONTROLLED: compare_shares(part, CONTROLLED, seed, resamples)}
            for kind, part in parts.items()
        ],
        "most_changed": [{key: row[key] for key in ("id", *_QUOTED, MARGIN)} for row in _most_changed(rows)],
        "scored": [{key: row[key] for key in ("id", "cluster", CONTROLLED, MARGIN)} for row in rows],
    }


def _quoted(item: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(item.get(name, "")) for name in _QUOTED}


def _most_changed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items whose margin rose most, then as many whose margin fell most or rose least; of equal changes the first in the file."""

    def change(row: Mapping[str, Any]) -> float:
        base, tuned = row[MARGIN]
        return float(tuned - base)

    count = min(MOST_CHANGED, len(rows) // 2)
    gained = sorted(rows, key=change, reverse=True)[:count]
    return [*gained, *sorted((row for row in rows if row not in gained), key=change)[:count]]


def _is_usable(item: Mapping[str, Any]) -> bool:
    """Whether both models' scores of an item are there, each a number."""
    scores = [model[which] for name in ("base", "tuned") if (model := item.get(name)) for which in ("own", "other")]
    count = len(item.get("tokens") or [])
    return len(scores) == 4 and count > 1 and all(len(row) == count and all(map(finite, row)) for row in scores)


def _scored(item: Mapping[str, Any]) -> dict[str, list[float]]:
    """[base, tuned] of each figure of one item; the correct option comes first."""
    found: dict[str, list[float]] = {CONTROLLED: [], PLAIN: [], OTHER_PROMPTS: [], MARGIN: []}
    for model in ("base", "tuned"):
        own, other = (
            [value / tokens for value, tokens in zip(item[model][which], item["tokens"], strict=True)]
            for which in ("own", "other")
        )
        added = [mine - others for mine, others in zip(own, other, strict=True)]
        for name, scores in ((CONTROLLED, added), (PLAIN, own), (OTHER_PROMPTS, other)):
            found[name].append(_chosen(scores))
        found[MARGIN].append(added[0] - sum(added[1:]) / len(added[1:]))
    return found


def _chosen(scores: Sequence[float]) -> float:
    """1 where the first end has the best score alone, a share of it where others have the same."""
    return (scores[0] == max(scores)) / Counter(scores)[max(scores)]
