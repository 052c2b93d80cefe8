"""The figures of the experiments, kept in results/evidence.json, and the table that is made of them without a new run."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from captune.report import without_titles
from report.findings.recall import CONTROL, clustered_mean
from report.findings.verdict import IMPROVED, judge_recall
from report.formatting import format_p
from verification.experiments.experiments import OUTSIDE_GAIN, OUTSIDE_GAIN_SHOWN, Experiment

HEAD = (
    "trained on", "held-out loss, nats a token", "outside loss, text by others", "control loss", "held-out minus control", "verdict",
    "key facts stated, and the change in percentage points", "second line",
)  # fmt: skip


# What is kept of a run ------------------------------------------------------------------------------------------------


def figures_of(summary: Mapping[str, Any], inputs: str) -> dict[str, Any]:
    """What is kept of a run's summary.json; `inputs` is the fingerprint of what it was made with."""
    environment = (summary.get("configuration") or {}).get("environment") or {}
    prompts = summary.get("prompts") or []
    return {
        "inputs": inputs,
        **{
            name: summary.get(name) for name in ("status", "heldout", "beyond_control", "control", "recall", "strength")
        },
        "outside": without_titles(summary.get("outside")),
        # Of each knowledge prompt that has facts and both answers: (base, tuned) recall.
        "knowledge": {
            row["id"]: [row["base"]["recall"], row["tuned"]["recall"]]
            for row in prompts
            if row["facts"] and row["kind"] != CONTROL and row["base"] and row["tuned"]
        },
        # A prompt without a cluster asks a fact that no other prompt asks.
        "clusters": {row["id"]: row["cluster"] for row in prompts if row.get("cluster")},
        "device": environment.get("device_name"),
        "precision": environment.get("precision"),
    }


def load(path: Path) -> dict[str, dict[str, Any]]:
    """The figures by the experiment's name; empty where nothing was kept yet.

    Raises ValueError for a file that is not what `store` wrote.
    """
    if not path.is_file():
        return {}
    try:
        kept: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"))
        damaged = not all(isinstance(figures, dict) and "inputs" in figures for figures in kept.values())
    except (ValueError, AttributeError):
        damaged = True
    if damaged:
        raise ValueError(
            f"{path} does not hold figures of experiments; restore it with git, or delete it and run again"
        )
    return kept


def store(path: Path, name: str, figures: Mapping[str, Any]) -> None:
    """Adds the figures of one experiment to the file, whole or not at all. Experiments that end at the same time wait for each other."""
    with FileLock(path.with_suffix(".lock")):
        kept = {**load(path), name: dict(figures)}
        lines = [f"{json.dumps(key)}: {json.dumps(kept[key], sort_keys=True)}" for key in sorted(kept)]
        partial = path.with_suffix(".partial")
        partial.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
        os.replace(partial, path)


# How it is judged and printed -----------------------------------------------------------------------------------------


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
        *(with_interval(changes[name], "+.3f") for name in ("heldout", "outside", "control", "beyond_control")),
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
    note = "Tuned minus base, with 95 % intervals clustered by document or prompt."
    if rows:
        note += f" Trained in {' and in '.join(sorted({one.machine for one in rows}))}."
    lines = [f"| {' | '.join(cells)} |" for cells in (HEAD, *(one.cells for one in rows))]
    lines.insert(1, "|---" * len(HEAD) + "|")
    return "\n\n".join(["\n".join(lines), note, *filter(None, notes)])


def recall_together(runs: Mapping[int, Mapping[str, Any]]) -> tuple[str, str] | None:
    """Key facts over several seeds: the verdict by the rule of the second line, on the change of each prompt averaged over them, and
    a sentence with the figures.

    `runs` are figures by seed. None for fewer than two seeds, or where they were not asked the same prompts.
    """
    asked = [run["knowledge"] for run in runs.values()]
    if len(asked) < 2 or not asked[0] or any(run.keys() != asked[0].keys() for run in asked):
        return None
    means = [math.fsum(run[name][1] - run[name][0] for run in asked) / len(asked) for name in asked[0]]
    named = next(iter(runs.values()))["clusters"]
    together = clustered_mean(means, [named.get(name, name) for name in asked[0]])
    change, p_value, clusters = together["mean"], together["p_value"], together["clusters"]
    missing = [name for run in runs.values() for name in run["recall"]["missing_prompts"]]
    measure = {"prompts": len(means), "clusters": clusters, "difference": change, "p_value": p_value}
    others = [run["recall"]["mismatched"] for run in runs.values() if run["recall"].get("mismatched")]
    before, after = (
        100 * math.fsum(one[side]["estimate"] for one in others) / max(1, len(others)) for side in ("base", "tuned")
    )
    elsewhere = (
        f" Of other prompts' facts, the same answers state {before:.2f} % before and {after:.2f} % after."
        if others
        else ""
    )
    verdict = judge_recall({"missing_prompts": missing, "knowledge": {"all": measure}}).verdict
    *seeds, last = map(str, runs)
    counted = "" if clusters == len(means) else f" ({clusters} clusters of prompts that ask the same fact)"
    return verdict, (
        f"Key facts over the seeds {', '.join(seeds)} and {last} together, each of {len(means)} prompts averaged over them{counted}: "
        f"**{verdict}**, {with_interval(change, '+.1f', 100)} percentage points, sign-flip {format_p(p_value)}.{elsewhere}"
    )


def with_interval(figure: Mapping[str, Any] | None, form: str, factor: float = 1) -> str:
    """Such as `-0.052 (-0.069 to -0.037)`; a dash where there is no figure or no interval of it."""
    if not figure or any(figure.get(name) is None for name in ("estimate", "low", "high")):
        return "–"
    estimate, low, high = (format(figure[name] * factor, form) for name in ("estimate", "low", "high"))
    return f"{estimate} ({low} to {high})"


def _stated(knowledge: Mapping[str, Any]) -> str:
    """Such as `3.6 to 4.4 %: +0.8 (-2.6 to +4.0)`; the change alone where the shares were not kept."""
    change = with_interval(knowledge.get("difference"), "+.1f", 100)
    before, after = ((knowledge.get(model) or {}).get("estimate") for model in ("base", "tuned"))
    if before is None or after is None:
        return change
    return f"{100 * before:.1f} to {100 * after:.1f} %: {change}"
