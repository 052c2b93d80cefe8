"""python -m verification.experiments.curves results/one results/two

Sets the training losses of two runs side by side, step by step, and what they measured before and after: a run on one process and one
on two must tell the same.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SETS = (("held-out text", "heldout"), ("control text", "control"))


def table(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The curves of two summaries and the greatest difference between them; a step that only one of them has stands alone."""
    curves = [{point["step"]: point["loss"] for point in run["training"]["loss_curve"]} for run in (one, other)]
    lines = [f"{'step':>14}{'first':>10}{'second':>10}{'apart':>10}"]
    apart = []
    for step in sorted({*curves[0], *curves[1]}):
        first, second = curves[0].get(step), curves[1].get(step)
        if first is not None and second is not None:
            apart.append(abs(first - second))
        lines.append(_line(str(step), first, second))
    for name, key in _SETS:
        for which in ("base", "tuned"):
            measured = [(run.get(key) or {}).get(f"{which}_loss") for run in (one, other)]
            lines.append(_line(f"{which}, {name.split()[0]}", *measured))
    return "\n".join([*lines, f"At most {max(apart, default=0.0):.5f} nats a token apart in {len(apart)} steps."])


def _line(name: str, first: float | None, second: float | None) -> str:
    shown = ["-" if value is None else f"{value:.4f}" for value in (first, second)]
    apart = f"{second - first:+.5f}" if first is not None and second is not None else "-"
    return f"{name:>14}{shown[0]:>10}{shown[1]:>10}{apart:>10}"


def main() -> None:
    """Prints the table of two folders with a summary.json each."""
    parser = argparse.ArgumentParser(prog="python -m verification.experiments.curves", description=__doc__)
    parser.add_argument("runs", nargs=2, type=Path, metavar="FOLDER")
    folders = parser.parse_args().runs
    print(table(*(json.loads((folder / "summary.json").read_text("utf-8")) for folder in folders)))


if __name__ == "__main__":
    main()
