"""The same rows in both accounts: they enter the same states, meet the same errors and leave the same ledger."""

import random
from collections.abc import Iterator

import pytest

from preflight.account.quotas import ENDPOINT, SPOT_TRAINING, TRAINING
from tests.doubles.rehearsal.deployed import deployed_project, shared_assembly
from tests.scenarios.rehearsed import RehearsedAccount
from tests.scenarios.seen import simulated
from tests.surroundings import drawn_moment
from verification.simulation import rows
from verification.simulation.definitions import MACHINES, task_states
from verification.simulation.failures import KINDS

pytestmark = pytest.mark.slow
# A row takes seconds of real time here: `make test` plays each third one, `make test-thorough` the others.
EACH = 3


# Every state once, and every failure but the calls that come late, whose moments are not the same in both accounts. A state that nobody
# has chosen a failure for is throttled.
CHOSEN = [
    "Preflight x throttled", "ReserveBudget x refused", "ScheduleTearDown x nonsense", "StageInput x nonsense", "TryModel x hangs",
    "TryEndpointConfig x aborted", "StartTraining x killed", "StartSpotTraining x killed", "DescribeTraining x timed out",
    "LookForAdapter x killed", "CreateModel x event twice", "SetEndpointDeadline x event lost", "CreateEndpointConfig x throttled",
    "CreateEndpoint x throttled", "DescribeEndpoint x refused", "DeleteEndpointWithoutCapacity x nonsense",
    "AskBaseModel x nonsense", "AskFineTunedModel x hangs", "WriteReport x aborted", "RemoveResources x throttled",
    "KeepEndpointForNow x refused", "SettleLedger x hangs", "TellUnsettled x hangs", "FinishReport x hangs",
    "DeleteSchedule x aborted", "PublishResult x timed out", "DescribeEndpoint (serving) x throttled",
    "KeepEndpointForNow (serving) x refused", "Preflight x no service", "Preflight x out of time",
]  # fmt: skip
STATES = {state for machine in MACHINES for state in task_states(machine)}
SAMPLE = CHOSEN + [f"{state} x throttled" for state in sorted(STATES - {rows.table()[name].state for name in CHOSEN})]


def test_the_sample_meets_every_state_and_every_failure() -> None:
    met = [rows.table()[name] for name in SAMPLE]

    assert {row.state for row in met} == STATES
    assert {row.failure for row in met} == KINDS.keys() - {"abort and late", "abort and very late"}


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedAccount]:
    """The deployed project in the rehearsed account, deployed once."""
    assembly = shared_assembly(tmp_path_factory, accept_eula="true")
    quotas = {f"ml.g5.2xlarge for {use}": 2 for use in (TRAINING, SPOT_TRAINING, ENDPOINT)}
    with deployed_project(tmp_path_factory.mktemp("rehearsed"), assembly, time_scale=20_000, quotas=quotas) as project:
        yield RehearsedAccount(project)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if number % EACH == 0 else [pytest.mark.thorough])
        for number, name in enumerate(SAMPLE)
    ],
)
def test_both_accounts_play_a_row_alike(rehearsed: RehearsedAccount, name: str, request: pytest.FixtureRequest) -> None:
    row = rows.table()[name]
    moment = drawn_moment(random.Random(f"{request.config.option.seed} {name}"))

    seen, left = rehearsed.play(row, moment)

    assert left == [], moment
    assert seen == simulated(row, moment), moment
