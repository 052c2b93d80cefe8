"""A cloud with engines that finish at once and waits two thousand times shorter, with and without the deployed project; and SageMaker's stand-in by itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.account.cloud import Cloud
from tests.doubles.rehearsal.deployed import DeployedProject, Workbench, deployed_project, shared_assembly
from tests.doubles.rehearsal.sagemaker_account import SageMakerAccount, StoppedClock, account
from verification.fake_engines import FakeHosting, FakeTraining


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
def bench(cloud: Cloud) -> Workbench:
    """Maker of machines and functions in `cloud`."""
    return Workbench(cloud)


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
def clock() -> StoppedClock:
    """The stand-in's time, which a test moves on."""
    return StoppedClock()


@pytest.fixture
def aws(tmp_path: Path, clock: StoppedClock) -> Iterator[SageMakerAccount]:
    """A stand-in with fake engines, and clients that reach it."""
    with account(tmp_path, clock=clock) as made:
        yield made


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny base model and its adapter, which no test writes to."""
    # Takes seconds, and most tests here need no torch.
    from tests.doubles.rehearsal.toy_models import FAMILIES, make_adapter

    base, adapter = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("adapter")
    FAMILIES["Llama 2"].make(base)
    make_adapter(base, adapter)
    return base, adapter
