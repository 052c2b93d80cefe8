"""A cloud with engines that finish at once, and waits two thousand times shorter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rehearsal_bench import Bench
from sagemaker_account import Account, Clock, account

from rehearsal.assembly import synthesize
from rehearsal.cloud import Cloud
from rehearsal.nursery import Nursery
from rehearsal.sagemaker import FakeHosting, FakeTraining


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """The process from which the Lambda workers of all tests are forked."""
    nursery = Nursery(tmp_path_factory.mktemp("nursery"))
    yield nursery
    nursery.stop()


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, synthesized as for a rehearsal: a cloud assembly's folder."""
    folder = tmp_path_factory.mktemp("assembly")
    synthesize(Path(__file__).parents[2], folder, {"accept_eula": "true", "epochs": "1"})
    return folder


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


@pytest.fixture
def clock() -> Clock:
    """The stand-in's time, which a test moves on."""
    return Clock()


@pytest.fixture
def training() -> FakeTraining:
    """Training that ends at once, as its plan says."""
    return FakeTraining()


@pytest.fixture
def hosting() -> FakeHosting:
    """Endpoints that come up at once, as their plan says."""
    return FakeHosting()


@pytest.fixture
def aws(tmp_path: Path, clock: Clock, training: FakeTraining, hosting: FakeHosting) -> Iterator[Account]:
    """SageMaker's stand-in by itself, without a deployed project."""
    with account(tmp_path, clock=clock, training=training, hosting=hosting) as made:
        yield made
