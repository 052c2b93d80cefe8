"""The figures of the experiments, kept in results/evidence.json, and the table that is made of them without a new run."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from captune.documentation import markdown_table
from captune.report import without_titles
from report.findings.recall import clustered_mean
from report.findings.verdict import IMPROVED, judge_knowledge
from report.formatting import format_p
from verification.experiments.experiments import ANY, OUTSIDE_GAIN, OUTSIDE_GAIN_SHOWN, Experiment

HEAD = (
    "trained on", "held-out loss, nats per token", "external loss", "retention loss", "held-out minus retention", "beyond vocabulary, points",
    "verdict", "multiple-choice accuracy", "accuracy, change in points", "accuracy without the control", "secondary metric: knowledge", "key facts stated",
)  # fmt: skip
# The columns that docs/verdict.md shows: those of both verdicts.
PAGE_COLUMNS = (HEAD[0], HEAD[2], HEAD[4], HEAD[5], HEAD[6], HEAD[8], HEAD[10])


# What is kept of a run ------------------------------------------------------------------------------------------------


def figures_of(summary: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a run's summary.json; `inputs` is what it was made with."""
    environment = (summary.get("configuration") or {}).get("environment") or {}
    return {
        "inputs": inputs,
        **{
            name: summary.get(name)
            for name in (
                "status",
                "heldout",
                "beyond_control",
                "control",
                "choices",
                "recall",
                "scale",
                "word_order",
            )
        },
        "outside": without_titles(summary.get("outside")),
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

    As preregistered is a negative control that is not judged improved (nor its secondary metric, unless it must know), a seed that is and has the
    preregistered external gain, and otherwise the preregistered verdict. A run without figures is none of them.
    """
    blocks = {
        name: figures.get(name) or {}
        for name in ("heldout", "outside", "control", "beyond_control", "choices", "recall")
    }
    changes = {name: block.get("difference") for name, block in blocks.items()}
    measured = figures.get("status") == "SUCCEEDED" and bool(blocks["heldout"].get("documents_count"))
    cells = (
        experiment.describes,
        *(with_interval(changes[name], "+.3f") for name in ("heldout", "outside", "control", "beyond_control")),
        with_interval((figures.get("word_order") or {}).get("difference"), "+.2f", 100),
        f"**{figures['verdict']}**",
        _shares(blocks["choices"].get("controlled") or {}) or "–",
        _change(blocks["choices"].get("controlled") or {}),
        _shares_and_change(blocks["choices"].get("plain") or {}),
        figures["knowledge_verdict"],
        _stated(blocks["recall"]),
    )
    as_declared = (
        measured
        and _came_out(experiment, figures["verdict"], changes["outside"])
        and (not experiment.is_null or experiment.must_know == (figures["knowledge_verdict"] == IMPROVED))
    )
    return Row(experiment.name, cells, f"{figures.get('precision')} on {figures.get('device')}", as_declared)


def _came_out(experiment: Experiment, verdict: str, outside: Mapping[str, float] | None) -> bool:
    if experiment.must_be:
        return experiment.must_be in (verdict, ANY)
    if experiment.is_null:
        return verdict != IMPROVED
    if verdict != IMPROVED or outside is None:
        return False
    return outside["estimate"] <= -OUTSIDE_GAIN and outside["high"] < -OUTSIDE_GAIN_SHOWN


def as_markdown(rows: Sequence[Row], notes: Sequence[str] = (), head: Sequence[str] = HEAD) -> str:
    """The rows as a Markdown table of some columns, how to read it, and further notes."""
    note = (
        "Tuned minus base, with 95% intervals clustered by document or prompt. Beyond vocabulary: the change on the external test set as written minus that "
        "with its words in random order, as percentages of the base model's loss. A dash: not measured, and not judged."
    )
    if rows:
        note += f" Trained in {' and in '.join(sorted({one.machine for one in rows}))}."
    table = markdown_table(head, [[one.cells[HEAD.index(name)] for name in head] for one in rows])
    return "\n\n".join([table, note, *filter(None, notes)])


def knowledge_together(runs: Mapping[str, Mapping[str, Any]]) -> tuple[str, str] | None:
    """Controlled choices over several seeds: the verdict by the rule of the secondary metric, on the change of each item averaged over them,
    and a sentence with the figures.

    `runs` are figures by experiment. None for fewer than two seeds, or where they did not choose among the same items.
    """
    scored = [{item["id"]: item for item in (run.get("choices") or {}).get("scored") or []} for run in runs.values()]
    if len(scored) < 2 or not scored[0] or any(run.keys() != scored[0].keys() for run in scored):
        return None
    pairs = {name: [run[name]["controlled"] for run in scored] for name in scored[0]}
    means = [math.fsum(tuned - base for base, tuned in found) / len(found) for found in pairs.values()]
    together = clustered_mean(means, [item["cluster"] for item in scored[0].values()])
    change, p_value, clusters = together["mean"], together["p_value"], together["clusters"]
    measure = {"prompts": len(means), "clusters": clusters, "difference": change, "p_value": p_value}
    missing = sum(run["choices"]["missing"] for run in runs.values())
    verdict = judge_knowledge({"missing": missing, "controlled": measure}).verdict
    *others, last = runs
    return verdict, (
        f"Multiple-choice accuracy, averaged over {', '.join(others)} and {last} ({len(means)} items in {clusters} clusters): **{verdict}**, "
        f"{with_interval(change, '+.1f', 100)} points, sign-flip {format_p(p_value)}."
    )


def with_interval(figure: Mapping[str, Any] | None, form: str, factor: float = 1) -> str:
    """Such as `-0.052 (-0.069 to -0.037)`; a dash where there is no figure or no interval of it."""
    if not figure or any(figure.get(name) is None for name in ("estimate", "low", "high")):
        return "–"
    estimate, low, high = (format(figure[name] * factor, form) for name in ("estimate", "low", "high"))
    return f"{estimate} ({low} to {high})"


def _stated(recall: Mapping[str, Any]) -> str:
    """The share of key facts in the answers, and that of other prompts' facts: naming is not knowing."""
    shares, elsewhere = _shares_and_change((recall.get("knowledge") or {}).get("all") or {}), recall.get("mismatched")
    if not elsewhere:
        return shares
    before, after = (f"{100 * elsewhere[model]['estimate']:.2f}" for model in ("base", "tuned"))
    return f"{shares}; of other prompts' facts {before} to {after}%"


def _shares_and_change(measure: Mapping[str, Any]) -> str:
    return ": ".join(filter(None, (_shares(measure), _change(measure))))


def _shares(measure: Mapping[str, Any]) -> str:
    """Such as `3.6 to 4.4%`; empty if the shares were not kept."""
    before, after = ((measure.get(model) or {}).get("estimate") for model in ("base", "tuned"))
    return "" if before is None or after is None else f"{100 * before:.1f} to {100 * after:.1f}%"


def _change(measure: Mapping[str, Any]) -> str:
    """Such as `+0.8 (-2.6 to +4.0)`, in percentage points."""
    return with_interval(measure.get("difference"), "+.1f", 100)
