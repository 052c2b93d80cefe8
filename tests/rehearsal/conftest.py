"""A cloud with engines that finish at once, and waits two thousand times shorter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rehearsal_bench import Bench

from rehearsal.cloud import Cloud
from rehearsal.nursery import Nursery
from rehearsal.sagemaker import FakeHosting, FakeTraining


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """The process from which the Lambda workers of all tests are forked."""
    nursery = Nursery(tmp_path_factory.mktemp("nursery"))
    yield nursery
    nursery.stop()


@pytest.fixture
def cloud(tmp_path: Path, nursery: Nursery) -> Iterator[Cloud]:
    """An empty account."""
    with Cloud(
        tmp_path, training=FakeTraining(), hosting=FakeHosting(), time_scale=2000, timeout_scale=20, nursery=nursery
    ) as cloud:
        yield cloud


@pytest.fixture
def bench(cloud: Cloud) -> Bench:
    """Maker of machines and functions in `cloud`."""
    return Bench(cloud)
