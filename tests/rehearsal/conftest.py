"""A cloud with engines that finish at once and waits two thousand times shorter; and the project, deployed once for each module of tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.account.cloud import Cloud
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining
from tests.doubles.rehearsal.deployed import Bench, DeployedProject, deployed_project, shared_assembly


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


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, assembly: Path) -> Iterator[DeployedProject]:
    """The project in the account of a module. Most tests use `project`, which is emptied."""
    with deployed_project(tmp_path_factory.mktemp("account"), assembly) as project:
        yield project
        assert project.cloud.refused == []


@pytest.fixture
def project(deployed: DeployedProject) -> Iterator[DeployedProject]:
    """The deployed project without a trace of an earlier test.

    Whatever a test does, no role may be refused a call by its own policies.
    """
    deployed.cloud.reset(training=FakeTraining(), hosting=FakeHosting())
    yield deployed
    assert deployed.cloud.refused == []


@pytest.fixture
def refusing(project: DeployedProject) -> Iterator[DeployedProject]:
    """The deployed project, where a role may be refused a call."""
    yield project
    project.cloud.refused.clear()
