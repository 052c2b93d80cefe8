"""An account in which the stacks are deployed with settings of a test's own, and whose engines finish at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rehearsal.account.assembly import synthesize
from rehearsal.account.cloud import Cloud
from rehearsal.aws_lambda.fork_server import ForkServer
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining

PROJECT = Path(__file__).parents[3]


@contextmanager
def deployed(folder: Path, settings: dict[str, str], fork_server: ForkServer, **account: Any) -> Iterator[Cloud]:
    """The account, in `folder`; `account` goes to `Cloud`, such as its quotas and prices."""
    engines: dict[str, Any] = {"training": FakeTraining(), "hosting": FakeHosting()}
    with Cloud(folder / "account", **engines, time_scale=5000, fork_server=fork_server, **account) as cloud:
        cloud.deploy(synthesize(PROJECT, folder / "cdk.out", settings))
        yield cloud


def emptied(account: Cloud) -> Iterator[Cloud]:
    """The account without any trace of an earlier test; after this one it must not have refused a role what that role needed."""
    account.reset(training=FakeTraining(), hosting=FakeHosting())
    yield account
    assert account.refused == []
