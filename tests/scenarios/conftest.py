"""The deployed project in the rehearsed account, for the rows that both accounts play."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles.rehearsal.deployed import shared_assembly
from tests.scenarios.rehearsed import RehearsedAccount


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedAccount]:
    """The account, deployed once."""
    assembly = shared_assembly(tmp_path_factory, accept_eula="true")
    with RehearsedAccount(tmp_path_factory.mktemp("rehearsed"), assembly) as account:
        yield account
