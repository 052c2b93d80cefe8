"""The stacks with the settings of cdk.json, synthesized once for all tests."""

from __future__ import annotations

import pytest

from tests.doubles.machines.stacks_bench import Stacks, synthesize


@pytest.fixture(scope="session")
def stacks() -> Stacks:
    """What `cdk synth` makes of the repository as it is."""
    return synthesize()
