"""The figures of the experiments in results/evidence.json: all that the table is made from, so that it needs no new run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from report.findings.recall import CONTROL

_BLOCKS = ("status", "heldout", "beyond_control", "control", "recall")


def figures_of(summary: Mapping[str, Any], inputs: str) -> dict[str, Any]:
    """What is kept of a run's summary.json; `inputs` is the fingerprint of what it was made with."""
    environment = (summary.get("configuration") or {}).get("environment") or {}
    prompts = summary.get("prompts") or []
    return {
        "inputs": inputs,
        **{name: summary.get(name) for name in _BLOCKS},
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


def without_titles(block: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The losses on outside text with ids in place of titles: the repository holds no text by others."""
    if block is None:
        return None
    rows = [{**row, "title": row["id"]} for row in block.get("documents") or []]
    return {**block, **({"documents": rows} if rows else {})}


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
