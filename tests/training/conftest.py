"""training/train.py as a process: a tiny model, the folders of a job, and one undisturbed run."""

from pathlib import Path

import pytest

from rehearsal.sagemaker.real.container import free_port
from tests.doubles.rehearsal.toy_container import Container
from tests.doubles.rehearsal.toy_models import FAMILIES


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers, with a tokenizer that lacks a padding token as Llama 2's does."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    FAMILIES["Llama 2"].make(folder)
    return folder


@pytest.fixture
def container(tmp_path: Path, tiny_model: Path) -> Container:
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
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[Container, list[str]]:
    """One undisturbed run and its lines, looked at by several tests."""
    container = Container(tmp_path_factory.mktemp("finished") / "ml", tiny_model)
    return container, container.completes()
