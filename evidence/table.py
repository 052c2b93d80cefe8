"""The table of the experiments, in the form that the README quotes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evidence.experiments import Experiment
from report.intervals import interval
from report.recall import CONTROL
from report.statistics import sign_flip
from report.text import format_p


@dataclass(frozen=True)
class Row:
    """One experiment and what was found."""

    name: str
    trained_on: str
    heldout: str
    control: str
    beyond: str
    recall: str
    verdict: str
    recall_verdict: str
    as_expected: bool


def row(experiment: Experiment, summary: dict[str, Any]) -> Row:
    """Reads the figures of an experiment from its summary.json.

    As expected is a null that is not judged improved, and a real effect that is, with more key facts stated as well. A run
    without figures is neither.
    """
    measured = summary.get("status") == "SUCCEEDED" and bool((summary.get("heldout") or {}).get("documents_count"))
    verdict, recall_verdict = summary["verdict"], summary["recall_verdict"]
    expected = verdict != "improved" if experiment.is_null else (verdict, recall_verdict) == ("improved", "improved")
    return Row(
        name=experiment.name,
        trained_on=experiment.describes,
        heldout=_interval((summary.get("heldout") or {}).get("difference"), 1, 3),
        control=_interval((summary.get("control") or {}).get("difference"), 1, 3),
        beyond=_interval((summary.get("beyond_control") or {}).get("difference"), 1, 3),
        recall=_interval(_recall(summary), 100, 1),
        verdict=verdict,
        recall_verdict=recall_verdict,
        as_expected=measured and expected,
    )


def as_markdown(rows: list[Row]) -> str:
    """The rows as a Markdown table with a line that says how to read it."""
    head = "| trained on | held-out loss, nats a token | control loss | held-out minus control | verdict | key facts, percentage points | second line |\n|---|---|---|---|---|---|---|"
    lines = [
        f"| {r.trained_on} | {r.heldout} | {r.control} | {r.beyond} | **{r.verdict}** | {r.recall} | {r.recall_verdict} |"
        for r in rows
    ]
    return "\n".join([head, *lines, "", "Tuned minus base, with 95 % intervals clustered by document or prompt."])


def recall_together(summaries: list[dict[str, Any]]) -> str:
    """Key facts over several seeds: the change of each prompt averaged over them, with an interval clustered by prompt.

    Empty for fewer than two seeds, or where they were not asked the same prompts.
    """
    changes: list[dict[str, float]] = [
        {
            row["id"]: row["tuned"]["recall"] - row["base"]["recall"]
            for row in summary["prompts"]
            if row["facts"] and row["kind"] != CONTROL and row["base"] and row["tuned"]
        }
        for summary in summaries
    ]
    if len(changes) < 2 or any(change.keys() != changes[0].keys() for change in changes):
        return ""
    means = [sum(change[name] for change in changes) / len(changes) for name in changes[0]]
    figure = interval(means, [1.0] * len(means), method="percentile").as_dict()
    return (
        f"Key facts over {len(changes)} seeds together, each of {len(means)} prompts averaged over them: {_interval(figure, 100, 1)} percentage points, "
        f"sign-flip {format_p(sign_flip(means)[0])}."
    )


def _interval(figure: dict[str, Any] | None, factor: float, digits: int) -> str:
    if not figure or any(figure.get(name) is None for name in ("estimate", "low", "high")):
        return "–"
    estimate, low, high = (figure[name] * factor for name in ("estimate", "low", "high"))
    return f"{estimate:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def _recall(summary: dict[str, Any]) -> dict[str, Any] | None:
    knowledge = ((summary.get("recall") or {}).get("knowledge") or {}).get("all") or {}
    return knowledge.get("difference")
