"""The same rows in both accounts: they enter the same states, meet the same errors and leave the same ledger."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator

import pytest

from preflight.account.quotas import ENDPOINT, SPOT_TRAINING, TRAINING
from tests.doubles.rehearsal.deployed import deployed_project, shared_assembly
from tests.scenarios.rehearsed import RehearsedAccount
from tests.scenarios.seen import Seen, simulated
from tests.surroundings import drawn_moment
from verification.simulation import rows
from verification.simulation.definitions import MACHINES, task_states
from verification.simulation.failures import KINDS

pytestmark = pytest.mark.slow
# A row takes seconds of real time here: `make test` plays each third one, `make test-thorough` the others.
EACH = 3


# How long such a trouble lasts is not the same in both accounts, and so is not how often TearDown waits for its end.
LASTING = {
    f"{state} x {failure}"
    for state in ("RemoveResources", "SettleLedger", "TellUnsettled")
    for failure in ("refused", "no service", "nonsense")
}


# Whether a job that is stopped in its first minute has had an instance is not the same in both accounts.
AT_ONCE = {
    f"{state} x {cut}"
    for state in ("StartTraining", "StartSpotTraining")
    for cut in ("aborted", "timed out", "abort and late", "abort and very late")
}


def sample() -> list[str]:
    """Every state once, the failures in turn, and each failure that no state has met so."""
    table = {name: row for name, row in rows.table().items() if name not in LASTING | AT_ONCE}
    kinds, chosen = list(KINDS), []
    for machine in MACHINES:
        for number, state in enumerate(task_states(machine)):
            names = [f"{state} x {kinds[(number + more) % len(kinds)]}" for more in range(len(kinds))]
            chosen.append(next(name for name in names if name in table))
    chosen += ["DescribeEndpoint (serving) x throttled", "KeepEndpointForNow (serving) x refused"]
    for kind in kinds:
        if not any(table[name].failure == kind for name in chosen):
            chosen.append(next(name for name, row in table.items() if row.failure == kind))
    return chosen


def test_the_sample_meets_every_state_and_every_failure() -> None:
    met = {(row.state, row.failure) for row in map(rows.table().__getitem__, sample())}

    assert {state for state, _ in met} == {state for machine in MACHINES for state in task_states(machine)}
    assert {failure for _, failure in met} == set(KINDS)


def differences(rehearsed: Seen, simulated: Seen) -> list[str]:
    """What one account shows and the other does not."""
    told = []
    for field in dataclasses.fields(Seen):
        here, there = getattr(rehearsed, field.name), getattr(simulated, field.name)
        if isinstance(here, frozenset):
            told += [f"{field.name}: only rehearsed: {one}" for one in here - there]
            told += [f"{field.name}: only simulated: {one}" for one in there - here]
        elif here != there:
            told.append(f"{field.name}: {here} rehearsed, {there} simulated")
    return told


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedAccount]:
    """The deployed project in the rehearsed account, deployed once."""
    assembly = shared_assembly(tmp_path_factory, accept_eula="true")
    quotas = {f"ml.g5.2xlarge for {use}": 2 for use in (TRAINING, SPOT_TRAINING, ENDPOINT)}
    with deployed_project(tmp_path_factory.mktemp("rehearsed"), assembly, time_scale=20_000, quotas=quotas) as project:
        yield RehearsedAccount(project)


def _marked() -> list[object]:
    return [
        pytest.param(name, marks=[] if number % EACH == 0 else [pytest.mark.thorough])
        for number, name in enumerate(sample())
    ]


@pytest.mark.parametrize("name", _marked())
def test_both_accounts_play_a_row_alike(rehearsed: RehearsedAccount, name: str, request: pytest.FixtureRequest) -> None:
    row = rows.table()[name]
    moment = drawn_moment(random.Random(f"{request.config.option.seed} {name}"))

    seen, left = rehearsed.play(row, moment)

    assert left == [], moment
    assert differences(seen, simulated(row, moment)) == [], moment
