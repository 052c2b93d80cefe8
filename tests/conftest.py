"""Which tests are slow: those marked so or thorough, and those that need what takes seconds to make, whoever asks for it."""

import os

import pytest
from hypothesis import settings

pytest_plugins = ["tests.surroundings"]

# What is asked here is on this machine: somebody's proxy knows nothing of it.
for _name in ("NO_PROXY", "no_proxy"):
    os.environ[_name] = ",".join(filter(None, (os.environ.get(_name), "127.0.0.1", "localhost")))
# A deadline for each example says something of a busy machine and nothing of the code.
settings.register_profile("captune", deadline=None)
settings.load_profile("captune")

# Fixtures that synthesize the templates, start a rehearsed account, or make a report of every kind.
TAKES_SECONDS = {"assembly", "cloud", "made", "stacks"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs one of them, also by way of other fixtures."""
    for item in items:
        if item.get_closest_marker("thorough") or TAKES_SECONDS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
