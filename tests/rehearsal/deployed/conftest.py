"""The project, deployed once for each module of tests and emptied between two tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.sagemaker.fake import FakeHosting, FakeTraining
from tests.doubles.rehearsal.deployed import DeployedProject, deployed_project


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
