"""The table of the experiments, as docs/verdict.md quotes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from report.findings.recall import clustered_mean
from report.findings.verdict import IMPROVED, judge_recall
from report.formatting import format_p
from verification.experiments.experiments import OUTSIDE_GAIN, OUTSIDE_GAIN_SHOWN, Experiment

HEAD = (
    "trained on", "held-out loss, nats a token", "outside loss, text by others", "control loss", "held-out minus control", "verdict",
    "key facts stated, and the change in percentage points", "second line",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One experiment: its cells below HEAD, the machine it was trained on, and whether it came out as declared."""

    name: str
    cells: tuple[str, ...]
    machine: str
    as_declared: bool


def row(experiment: Experiment, figures: Mapping[str, Any]) -> Row:
    """Reads the figures of an experiment, judged.

    As declared is a null that is not judged improved, a seed that is and gains on text by others what was declared, and the
    declared verdict where there is one. A run without figures is none of them.
    """
    blocks = {name: figures.get(name) or {} for name in ("heldout", "outside", "control", "beyond_control", "recall")}
    changes = {name: block.get("difference") for name, block in blocks.items()}
    measured = figures.get("status") == "SUCCEEDED" and bool(blocks["heldout"].get("documents_count"))
    cells = (
        experiment.describes,
        *(_interval(changes[name], 1, 3) for name in ("heldout", "outside", "control", "beyond_control")),
        f"**{figures['verdict']}**",
        _stated((blocks["recall"].get("knowledge") or {}).get("all") or {}),
        figures["recall_verdict"],
    )
    as_declared = measured and _came_out(experiment, figures["verdict"], changes["outside"])
    return Row(experiment.name, cells, f"{figures.get('precision')} on {figures.get('device')}", as_declared)


def _came_out(experiment: Experiment, verdict: str, outside: Mapping[str, float] | None) -> bool:
    if experiment.must_be:
        return verdict == experiment.must_be
    if experiment.is_null:
        return verdict != IMPROVED
    if verdict != IMPROVED or outside is None:
        return False
    return outside["estimate"] <= -OUTSIDE_GAIN and outside["high"] < -OUTSIDE_GAIN_SHOWN


def as_markdown(rows: Sequence[Row], notes: Sequence[str] = ()) -> str:
    """The rows as a Markdown table, how to read it, and further notes."""
    lines = [f"| {' | '.join(cells)} |" for cells in (HEAD, *(one.cells for one in rows))]
    lines.insert(1, "|---" * len(HEAD) + "|")
    note = "Tuned minus base, with 95 % intervals clustered by document or prompt."
    if rows:
        note += f" Trained in {' and in '.join(sorted({one.machine for one in rows}))}."
    return "\n\n".join(["\n".join(lines), note, *filter(None, notes)])


def kept_since(found: Sequence[Mapping[str, Any]]) -> str:
    """A sentence on the commits whose code made figures that are kept for today's code; empty where there are none."""
    commits = dict.fromkeys(entry["commit"] for figures in found for entry in figures.get("carried", []))
    if not commits:
        return ""
    return (
        f"Code of the experiments has changed since ({', '.join(commits)}); each time a small run gave the same losses and answers, and "
        "`carried` in results/evidence.json says why."
    )


@dataclass(frozen=True)
class Together:
    """Key facts over all seeds: the verdict by the rule of the second line, and a sentence with the figures."""

    verdict: str
    text: str

    @property
    def as_declared(self) -> bool:
        """Whether the tuned model states more key facts, as was declared."""
        return self.verdict == IMPROVED


def recall_together(runs: Mapping[int, Mapping[str, Any]]) -> Together | None:
    """Key facts over several seeds: the change of each prompt averaged over them, judged by the rule of the second line.

    `runs` are figures by seed. None for fewer than two seeds, or where they were not asked the same prompts.
    """
    asked = [run["knowledge"] for run in runs.values()]
    if len(asked) < 2 or not asked[0] or any(run.keys() != asked[0].keys() for run in asked):
        return None
    means = [math.fsum(run[name][1] - run[name][0] for run in asked) / len(asked) for name in asked[0]]
    # Older figures have no clusters of prompts.
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
