"""A cloud with engines that finish at once, and waits two thousand times shorter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.account.assembly import synthesize
from rehearsal.account.cloud import Cloud
from rehearsal.aws_lambda.fork_server import ForkServer
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining
from rehearsal.sagemaker.real.ports import free_port
from tests.doubles.rehearsal.rehearsal_bench import Bench
from tests.doubles.rehearsal.sagemaker_account import Account, Clock, account
from tests.doubles.rehearsal.toy_container import Container, make_model


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """The process from which the Lambda workers of all tests are forked."""
    fork_server = ForkServer(tmp_path_factory.mktemp("fork_server"))
    yield fork_server
    fork_server.stop()


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, synthesized as for a rehearsal: a cloud assembly's folder."""
    folder = tmp_path_factory.mktemp("assembly")
    synthesize(Path(__file__).parents[2], folder, {"accept_eula": "true", "epochs": "1"})
    return folder


@pytest.fixture
def cloud(tmp_path: Path, fork_server: ForkServer) -> Iterator[Cloud]:
    """An empty account."""
    with Cloud(
        tmp_path,
        training=FakeTraining(),
        hosting=FakeHosting(),
        time_scale=2000,
        timeout_scale=20,
        fork_server=fork_server,
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


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    make_model(folder)
    return folder


@pytest.fixture
def container(tmp_path: Path, tiny_model: Path) -> Container:
    """A training job that has not begun."""
    return Container(tmp_path / "ml", tiny_model)


@pytest.fixture
def two_hosts(tmp_path: Path, tiny_model: Path) -> list[Container]:
    """A folder each, as every instance of a training job has its own /opt/ml."""
    names, address = ["algo-1", "algo-2"], f"127.0.0.1:{free_port()}"
    made = [Container(tmp_path / name, tiny_model) for name in names]
    for name, container in zip(names, made, strict=True):
        container.environment |= {"CAPTUNE_MEETING_POINT": address}
        container.instance("ml.c5.large", hosts=names, current_host=name, network_interface_name="lo")
    return made


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[tuple[Container, list[str]]]:
    """One undisturbed run, looked at by several tests."""
    container = Container(tmp_path_factory.mktemp("finished") / "ml", tiny_model)
    code, lines = container.run()
    assert code == 0, "\n".join(lines)
    yield container, lines
