"""The deployed project in an account whose engines finish at once; deployed once, emptied between two tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proof.matrix.bench import assembly_folder
from rehearsal.account.assembly import Assembly
from rehearsal.account.cloud import Cloud
from rehearsal.aws_lambda.fork_server import ForkServer
from rehearsal.conductor.materials import upload
from rehearsal.conductor.options import Options
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining
from rehearsal.step_functions.executions import Execution
from tests.doubles.rehearsal.deployed import emptied

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def assembly() -> Assembly:
    """The project, synthesized as a person deploys it who has accepted the licence; the matrix uses the same."""
    return Assembly(assembly_folder())


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """The process from which the Lambda workers of all tests are forked."""
    fork_server = ForkServer(tmp_path_factory.mktemp("fork_server"))
    yield fork_server
    fork_server.stop()


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory, assembly: Assembly, fork_server: ForkServer) -> Iterator[Cloud]:
    """The deployed account of one test module. Use `cloud`, which is emptied."""
    folder = tmp_path_factory.mktemp("account")
    with Cloud(
        folder, training=FakeTraining(), hosting=FakeHosting(), time_scale=5000, fork_server=fork_server
    ) as cloud:
        cloud.deploy(assembly)
        yield cloud


@pytest.fixture
def cloud(account: Cloud) -> Iterator[Cloud]:
    """The deployed account without any trace of an earlier test. `cloud.reset(training=…)` changes the engines.

    Whatever a test does, no role may be refused a call by its own policies.
    """
    yield from emptied(account)


@pytest.fixture
def rehearse(cloud: Cloud) -> Callable[..., Execution]:
    """Runs FineTuning on a slice of the project's own texts, to its end and that of its tear-down."""

    def run(*, name: str | None = None, **run_input: Any) -> Execution:
        execution = cloud.start(
            {**upload(cloud, Options(project=PROJECT, quick=True), "medical"), "samplesPerPrompt": 0, **run_input},
            name=name,
        )
        cloud.settle(execution, timeout=120)
        return execution

    return run
