"""Branch coverage by folder, against its floor."""

from __future__ import annotations

import json
from collections import Counter

from gates.checks import Outcome

# Percent of lines and branches together, in each of these folders.
FLOOR_PERCENT = 90
FOLDERS = ("stacks", "lambdas", "rehearsal", "training")


def judge(report: str) -> Outcome:
    """What coverage.py's JSON report says of each folder."""
    there: Counter[str] = Counter()
    covered: Counter[str] = Counter()
    for file, measured in json.loads(report)["files"].items():
        folder, sums = file.split("/")[0], measured["summary"]
        there[folder] += sums["num_statements"] + sums["num_branches"]
        covered[folder] += sums["covered_lines"] + sums["covered_branches"]
    shares = {folder: 100 * covered[folder] / max(1, there[folder]) for folder in FOLDERS}
    told = ", ".join(f"{folder} {share:.1f} %" for folder, share in shares.items())
    return Outcome(min(shares.values()) >= FLOOR_PERCENT, f"{told} (at least {FLOOR_PERCENT} %)")
