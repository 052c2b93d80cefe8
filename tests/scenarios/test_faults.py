"""A fault: when a call meets it."""

import random
from datetime import timedelta

import pytest

from rehearsal.step_functions.executions import Execution
from verification.simulation.faults import Fault, outage
from verification.simulation.world import NOON, World


def world(fault: Fault) -> World:
    return World(random.Random(1), NOON, 2500, faults=[fault])


@pytest.mark.parametrize(("seconds", "meets"), [(-1, False), (0, True), (59, True), (60, False)])
def test_outage_is_met_from_its_start_to_its_end(seconds: int, meets: bool) -> None:
    away = outage("ledger", NOON, NOON + timedelta(seconds=60))
    there = world(away)
    there.now += timedelta(seconds=seconds)

    assert (there.fault("dynamodb") is away) is meets, "boto3's name of the ledger's service"
    assert there.fault("SageMaker") is None
    assert away.hits == meets


def test_fault_is_over_after_its_times_and_when_its_condition_ends() -> None:
    twice, never = world(Fault(place="CreateModel", times=2)), world(Fault(place="CreateModel", when=lambda: False))

    assert [bool(twice.fault("CreateModel")) for _ in range(3)] == [True, True, False]
    assert never.fault("CreateModel") is None


def test_fault_of_a_state_ends_with_the_execution_that_met_it_first() -> None:
    first, second = (Execution(name, f"arn:{name}", NOON) for name in ("first", "second"))
    lasts = world(Fault(place="RemoveResources", times=None))

    assert lasts.fault("RemoveResources", first) and lasts.fault("RemoveResources", second)
    first.end("ABORTED", NOON)
    assert lasts.fault("RemoveResources", second) is None
