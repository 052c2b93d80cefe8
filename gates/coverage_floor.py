"""Branch coverage by folder, against its floor."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

from gates.checks import Outcome

# Percent of lines and branches together, in each of these folders.
BY_EVERY_TEST = {"stacks": 90, "lambdas": 90, "rehearsal": 90, "training": 90}
# What only starts processes and trains is left to the slow tests; what decides over money is not.
BY_THE_FAST_TESTS = {"stacks": 95, "lambdas": 95, "rehearsal": 55, "training": 60}


def judge(report: str, floors: Mapping[str, int]) -> Outcome:
    """What coverage.py's JSON report says of each folder, against its floor."""
    there: Counter[str] = Counter()
    covered: Counter[str] = Counter()
    for file, measured in json.loads(report)["files"].items():
        folder, sums = file.split("/")[0], measured["summary"]
        there[folder] += sums["num_statements"] + sums["num_branches"]
        covered[folder] += sums["covered_lines"] + sums["covered_branches"]
    shares = {folder: 100 * covered[folder] / max(1, there[folder]) for folder in floors}
    told = ", ".join(f"{folder} {share:.1f} % (at least {floors[folder]} %)" for folder, share in shares.items())
    return Outcome(all(share >= floors[folder] for folder, share in shares.items()), told)
