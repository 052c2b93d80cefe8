"""The table of the experiments, in the form that the README quotes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from verification.experiments.experiments import OUTSIDE_GAIN, OUTSIDE_GAIN_SHOWN, Experiment
from report.findings.recall import clustered_mean
from report.findings.verdict import IMPROVED, judge_recall
from report.formatting import format_p


@dataclass(frozen=True)
class Row:
    """One experiment and what was found."""

    name: str
    trained_on: str
    heldout: str
    outside: str
    control: str
    beyond: str
    recall: str
    verdict: str
    recall_verdict: str
    machine: str
    as_expected: bool


def row(experiment: Experiment, figures: Mapping[str, Any]) -> Row:
    """Reads the figures of an experiment, judged.

    As expected is a null that is not judged improved, a real effect that is and gains on text by others what was declared, and the declared verdict where there is one. A
    run without figures is none of them.
    """
    measured = figures.get("status") == "SUCCEEDED" and bool((figures.get("heldout") or {}).get("documents_count"))
    verdict = figures["verdict"]
    return Row(
        name=experiment.name,
        trained_on=experiment.describes,
        heldout=_interval((figures.get("heldout") or {}).get("difference"), 1, 3),
        outside=_interval((figures.get("outside") or {}).get("difference"), 1, 3),
        control=_interval((figures.get("control") or {}).get("difference"), 1, 3),
        beyond=_interval((figures.get("beyond_control") or {}).get("difference"), 1, 3),
        recall=_stated(((figures.get("recall") or {}).get("knowledge") or {}).get("all") or {}),
        verdict=verdict,
        recall_verdict=figures["recall_verdict"],
        machine=f"{figures.get('precision')} on {figures.get('device')}",
        as_expected=measured and _came_out(experiment, verdict, (figures.get("outside") or {}).get("difference")),
    )


def _came_out(experiment: Experiment, verdict: str, outside: Mapping[str, float] | None) -> bool:
    if experiment.must_be:
        return verdict == experiment.must_be
    if experiment.is_null:
        return verdict != IMPROVED
    if verdict != IMPROVED or outside is None:
        return False
    return outside["estimate"] <= -OUTSIDE_GAIN and outside["high"] < -OUTSIDE_GAIN_SHOWN


def as_markdown(
    rows: list[Row],
    together: Together | None = None,
    lacking: Sequence[str] = (),
    outside: str = "",
    carried: Sequence[str] = (),
) -> str:
    """The rows as a Markdown table with lines that say how to read it, and which experiments are not in it."""
    head = "| trained on | held-out loss, nats a token | outside loss, text by others | control loss | held-out minus control | verdict | key facts stated, and the change in percentage points | second line |\n|---|---|---|---|---|---|---|---|"
    lines = [
        f"| {r.trained_on} | {r.heldout} | {r.outside} | {r.control} | {r.beyond} | **{r.verdict}** | {r.recall} | {r.recall_verdict} |"
        for r in rows
    ]
    note = "Tuned minus base, with 95 % intervals clustered by document or prompt."
    if rows:
        note += f" Trained in {' and in '.join(sorted({r.machine for r in rows}))}."
    more = [part for part in (outside, together.text if together else "", *carried) if part]
    if lacking:
        more.append(
            f"Not in this table, since they were not run with today's texts and settings: {', '.join(lacking)}."
        )
    return "\n\n".join(["\n".join([head, *lines]), note, *more])


def carried_over(found: Sequence[tuple[Experiment, Mapping[str, Any]]]) -> list[str]:
    """A sentence for each change of the code that figures have outlived (carry_over.py): which ones, and what it was."""
    names: dict[tuple[str, str], list[str]] = {}
    for experiment, figures in found:
        for told in figures.get("carried", []):
            names.setdefault((told["commit"], told["why"]), []).append(experiment.name)
    return [
        f"Measured with commit {commit} or one before, and kept for today's code, with which a small run gave the same losses and "
        f"answers: {', '.join(kept)}. What has changed: {why}."
        for (commit, why), kept in names.items()
    ]


@dataclass(frozen=True)
class Together:
    """Key facts over all seeds: the verdict of the second line's rule, and a sentence with the figures."""

    verdict: str
    text: str

    @property
    def as_expected(self) -> bool:
        """Whether more key facts are stated, as was declared."""
        return self.verdict == IMPROVED


def recall_together(runs: Mapping[int, Mapping[str, Any]]) -> Together | None:
    """Key facts over several seeds: the change of each prompt averaged over them, judged by the rule of the second line.

    `runs` are figures by seed. None for fewer than two seeds, or where they were not asked the same prompts.
    """
    asked = [run["knowledge"] for run in runs.values()]
    if len(asked) < 2 or not asked[0] or any(run.keys() != asked[0].keys() for run in asked):
        return None
    means = [math.fsum(run[name][1] - run[name][0] for run in asked) / len(asked) for name in asked[0]]
    # Figures that were kept before prompts had clusters have none.
    named = next(iter(runs.values())).get("clusters") or {}
    together = clustered_mean(means, [named.get(name, name) for name in asked[0]])
    change, p_value, clusters = together["mean"], together["p_value"], together["clusters"]
    missing = [name for run in runs.values() for name in run["recall"]["missing_prompts"]]
    measure = {"prompts": len(means), "clusters": clusters, "difference": change, "p_value": p_value}
    verdict = judge_recall({"missing_prompts": missing, "knowledge": {"all": measure}}).verdict
    seeds = [str(seed) for seed in runs]
    counted = "" if clusters == len(means) else f" ({clusters} clusters of prompts that ask the same fact)"
    names = f"{', '.join(seeds[:-1])} and {seeds[-1]}"
    return Together(
        verdict,
        f"Key facts over the seeds {names} together, each of {len(means)} prompts averaged over them{counted}: **{verdict}**, "
        f"{_interval(change, 100, 1)} percentage points, sign-flip {format_p(p_value)}.",
    )


def _interval(figure: Mapping[str, Any] | None, factor: float, digits: int) -> str:
    if not figure or any(figure.get(name) is None for name in ("estimate", "low", "high")):
        return "–"
    estimate, low, high = (figure[name] * factor for name in ("estimate", "low", "high"))
    return f"{estimate:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def _stated(knowledge: Mapping[str, Any]) -> str:
    """Such as `3.6 to 4.4 %: +0.8 (-2.6 to +4.0)`; the change alone where the shares were not kept."""
    change = _interval(knowledge.get("difference"), 100, 1)
    before, after = ((knowledge.get(model) or {}).get("estimate") for model in ("base", "tuned"))
    if before is None or after is None:
        return change
    return f"{100 * before:.1f} to {100 * after:.1f} %: {change}"
