"""The deployed project in the rehearsed account, for the rows that both accounts play."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.account.assembly import synthesize
from tests.scenarios.rehearsed import RehearsedAccount

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedAccount]:
    """The account, deployed once."""
    folder = tmp_path_factory.mktemp("rehearsed")
    assembly = synthesize(PROJECT, folder / "cdk.out", {"accept_eula": "true"})
    with RehearsedAccount(folder / "account", assembly) as account:
        yield account
