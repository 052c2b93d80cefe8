"""The figures of the experiments in results/evidence.json: small enough to be committed, and all that the table is made from.

With them the table can be judged by today's rule and printed again where the experiments were not run.
"""

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
    return {
        "inputs": inputs,
        **{name: summary.get(name) for name in _BLOCKS},
        "outside": without_titles(summary.get("outside")),
        "knowledge": _recall_of_each(summary),
        "clusters": _cluster_of_each(summary),
        "device": environment.get("device_name"),
        "precision": environment.get("precision"),
    }


def without_titles(block: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The losses on outside text, its documents called by their ids; titles are others' words, and what is kept in the repository holds none."""
    if block is None:
        return None
    rows = [{**row, "title": row["id"]} for row in block.get("documents") or []]
    return {**block, **({"documents": rows} if rows else {})}


def _recall_of_each(summary: Mapping[str, Any]) -> dict[str, list[float]]:
    """(base, tuned) recall of each knowledge prompt that has facts and both answers, by its id."""
    return {
        row["id"]: [row["base"]["recall"], row["tuned"]["recall"]]
        for row in summary.get("prompts") or []
        if row["facts"] and row["kind"] != CONTROL and row["base"] and row["tuned"]
    }


def _cluster_of_each(summary: Mapping[str, Any]) -> dict[str, str]:
    """The cluster of each prompt, by its id; a prompt that asks a fact of its own is alone in one."""
    return {row["id"]: row["cluster"] for row in summary.get("prompts") or [] if row.get("cluster")}


def load(path: Path) -> dict[str, dict[str, Any]]:
    """The figures by the experiment's name; empty where nothing was kept yet.

    Raises ValueError for a file that is not what `store` wrote.
    """
    if not path.is_file():
        return {}
    try:
        kept = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); restore it with git, or delete it and run again") from error
    if not isinstance(kept, dict) or not all(isinstance(value, dict) and "inputs" in value for value in kept.values()):
        raise ValueError(
            f"{path} does not hold figures of experiments; restore it with git, or delete it and run again"
        )
    return kept


def store(path: Path, name: str, figures: Mapping[str, Any]) -> None:
    """Puts the figures of one experiment beside those that are there; a reader never sees half a file.

    Experiments may end at the same time: each waits until the other has written.
    """
    with FileLock(path.with_suffix(".lock")):
        kept = {**load(path), name: dict(figures)}
        lines = [f"{json.dumps(key)}: {json.dumps(kept[key], sort_keys=True)}" for key in sorted(kept)]
        partial = path.with_suffix(".partial")
        partial.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
        os.replace(partial, path)
