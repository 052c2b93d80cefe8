"""The way of a success, as the rehearsal's own interpreter goes it through the same definitions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rehearsal.account.assembly import Assembly
from rehearsal.account.cloud import Cloud
from rehearsal.sagemaker import Call
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining

_PATIENCE_SECONDS = 180.0


class RehearsalFailed(RuntimeError):
    """The rehearsal itself does not succeed, so that there is nothing to compare with."""


@dataclass(frozen=True)
class Expected:
    """The states entered, those inside of a Parallel apart, and how often each operation of the stand-in was called.

    ministack's history leaves out what happens inside of a Parallel; the calls show that it happened.
    """

    run: frozenset[str]
    tear_down: frozenset[str]
    calls: Mapping[str, int]


def calls_of(calls: Iterable[Call]) -> Counter[str]:
    """Count the calls by operation, those that only look apart: their number depends on the pace."""
    looking = ("Describe", "List", "Get", "Batch")
    return Counter(call.operation for call in calls if not call.operation.startswith(looking))


def way_of_a_success(assembly: Assembly, folder: Path) -> Expected:
    """Run {} once in the rehearsed account with engines that finish at once.

    Raises:
        RehearsalFailed: the run or its tear-down did not succeed.
    """
    with Cloud(folder, training=FakeTraining(), hosting=FakeHosting(), time_scale=5000) as cloud:
        deployment = cloud.deploy(assembly)
        run = cloud.start({})
        cloud.settle(run, timeout=_PATIENCE_SECONDS)
        tear_downs = cloud.executions.of(deployment.tear_down)
        for one in (run, *tear_downs):
            if one.status != "SUCCEEDED":
                raise RehearsalFailed(
                    f"the rehearsed run is no success to compare with: {one}: {one.error}: {one.cause}"
                )
        outer = {name for text in deployment.definitions.values() for name in json.loads(text)["States"]}
        return Expected(
            frozenset(run.states()) & outer,
            frozenset(name for one in tear_downs for name in one.states()) & outer,
            calls_of(cloud.sagemaker.calls),
        )
