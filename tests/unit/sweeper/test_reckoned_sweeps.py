"""What common/pricing/costs.py reckons with is what the stacks declare. It is a file of its own because the stacks take long to import."""

from __future__ import annotations

from common.pricing import costs
from proof.simulation.aws.definitions import functions
from stacks.watching.alarms import SWEEP_MINUTES


def test_the_sweeper_comes_as_often_and_is_as_large_as_is_reckoned() -> None:
    assert costs.SWEEPS * SWEEP_MINUTES == 31 * 24 * 60
    assert functions()["sweeper"][0] == 256


def test_a_look_is_reckoned_with_all_that_preflight_may_take() -> None:
    (reckoned,) = (amount for what, amount, _ in costs.LOOK_ITEMS if what == "Lambda, GB-seconds")
    memory, seconds = functions()["preflight"]
    assert reckoned == memory * seconds / 1024 + 30
