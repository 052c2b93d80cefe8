"""What common/pricing/costs.py reckons with is what the stacks declare. It is a file of its own because the stacks take long to import."""

from __future__ import annotations

import re
from pathlib import Path

from common.pricing import costs
from stacks.watching.alarms import SWEEP_MINUTES

ROOT = Path(__file__).parents[3]


def test_the_sweeper_comes_as_often_and_is_as_large_as_is_reckoned() -> None:
    assert costs.SWEEPS * SWEEP_MINUTES == 31 * 24 * 60
    source = (ROOT / "stacks" / "functions.py").read_text("utf-8")
    sizes = {name: int(memory) for name, memory in re.findall(r'"(\w+)",\n\s+memory=(\d+)', source)}
    assert (sizes["Sweeper"], sizes["Preflight"]) == (256, 1024)
    assert re.search(r'"Preflight",\n\s+memory=1024,\n\s+timeout=120,', source)
