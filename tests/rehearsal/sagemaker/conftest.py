"""SageMaker's stand-in by itself, without a deployed project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.rehearsal.sagemaker_account import Account, Clock, account


@pytest.fixture
def clock() -> Clock:
    """The stand-in's time, which a test moves on."""
    return Clock()


@pytest.fixture
def aws(tmp_path: Path, clock: Clock) -> Iterator[Account]:
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
