"""The deployed project in the rehearsed account, for the rows that both accounts play."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from preflight.account.quotas import ENDPOINT, SPOT_TRAINING, TRAINING
from tests.doubles.rehearsal.deployed import deployed_project, shared_assembly
from tests.scenarios.rehearsed import RehearsedAccount


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedAccount]:
    """The account, deployed once."""
    assembly = shared_assembly(tmp_path_factory, accept_eula="true")
    quotas = {f"ml.g5.2xlarge for {use}": 2 for use in (TRAINING, SPOT_TRAINING, ENDPOINT)}
    with deployed_project(tmp_path_factory.mktemp("rehearsed"), assembly, time_scale=20_000, quotas=quotas) as project:
        yield RehearsedAccount(project)
