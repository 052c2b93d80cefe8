"""A cloud with engines that finish at once, and waits two thousand times shorter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.account.cloud import Cloud
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining
from tests.doubles.rehearsal.deployed import Bench, shared_assembly


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, synthesized as for a rehearsal: a cloud assembly's folder."""
    return shared_assembly(tmp_path_factory, accept_eula="true", epochs="1")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """An empty account."""
    made = Cloud(tmp_path, training=FakeTraining(), hosting=FakeHosting(), time_scale=2000)
    with made as cloud:
        yield cloud


@pytest.fixture
def bench(cloud: Cloud) -> Bench:
    """Maker of machines and functions in `cloud`."""
    return Bench(cloud)
