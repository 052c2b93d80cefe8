"""The invented runs of every kind, made once: the statistics of all of them take some seconds."""

import copy
from typing import Any

import pytest

from verification.experiments.report_examples import KINDS


class Kinds(dict[str, Any]):
    """The summaries by name; each look gives a copy, so that what a test does to one reaches no other."""

    def __getitem__(self, name: str) -> Any:
        return copy.deepcopy(super().__getitem__(name))


@pytest.fixture(scope="session")
def made() -> Kinds:
    return Kinds((name, make()) for name, make in KINDS.items())
