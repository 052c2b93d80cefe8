"""The waits and time-outs of the state machines, added up against the allowances that reservation and deadlines are made from."""

import re

import botocore.session
import pytest

from common.errors import InvalidInput
from common.pricing import costs, durations
from preflight.request import parse
from rehearsal.step_functions.interpreter import catches, retry_waits
from stacks.configuration.settings import Settings
from verification.simulation.definitions import each_state, functions, machine, task_states

FINE_TUNING = machine("fine_tuning")
STATES = FINE_TUNING["States"]
POLLING = 3000
# Of a tear-down, every half a minute: until an endpoint that is Creating can be deleted, and some more. A usual one takes some seconds.
PASSES = (durations.ENDPOINT_DOWNLOAD_SECONDS + durations.ENDPOINT_START_SECONDS) // 30 + 30
PASS_SECONDS = 5


def limits(setting: str) -> list[int]:
    """The lowest value that a setting may have, and the highest."""
    return [int(end) for end in Settings.__dataclass_fields__[setting].metadata["check"].accepts.split(" to ")]


DEADLINES = (durations.MINIMUM_DEADLINE_SECONDS, 3600, durations.LONGEST_DEADLINE_SECONDS)
TRAINING = limits("max_training_seconds")[1] + durations.TRAINING_STOP_ALLOWANCE_SECONDS
ENDPOINT = 60 * limits("endpoint_deadline_minutes")[1]
LOOK = STATES["WaitForTraining"]["Seconds"]
START = durations.ENDPOINT_DOWNLOAD_SECONDS + durations.ENDPOINT_START_SECONDS


def test_waits_and_time_outs_fit_their_allowances() -> None:
    lack = durations.ENDPOINT_CAPACITY_SECONDS + 2 * STATES["WaitForEndpoint"]["Seconds"]
    assert lack + 120 <= durations.MINIMUM_DEADLINE_SECONDS, (
        "seen before the two minutes in which the run ends by itself"
    )
    assert durations.MAX_PENDING_SECONDS + LOOK < durations.UNBILLED_ALLOWANCE_SECONDS, "all waiting for capacity"
    spot = durations.SPOT_WAIT_SECONDS + durations.TRAINING_STOP_ALLOWANCE_SECONDS
    assert spot + LOOK + POLLING < durations.UNBILLED_ALLOWANCE_SECONDS, "all waiting of a spot job"
    assert START + 300 <= durations.TEAR_DOWN_ALLOWANCE_SECONDS, "an endpoint's longest start"
    assert FINE_TUNING["TimeoutSeconds"] > TRAINING + durations.MAX_PENDING_SECONDS + ENDPOINT, "the longest run"


def test_sagemaker_accepts_how_long_it_is_to_look_for_an_instance() -> None:
    of_job = durations.MAX_PENDING_SECONDS
    assert of_job >= 7200, "the minimum until 31 August 2026, which a region may still have"
    of_endpoint = [durations.instance_pools_seconds(deadline) for deadline in DEADLINES]
    for shape, member, asked in (
        ("StoppingCondition", "MaxPendingTimeInSeconds", [of_job]),
        ("ProductionVariant", "VariantInstanceProvisionTimeoutInSeconds", of_endpoint),
    ):
        model = botocore.session.get_session().get_service_model("sagemaker").shape_for(shape)
        limits = model.members[member].metadata
        assert limits["min"] <= min(asked) and max(asked) <= limits["max"]


@pytest.mark.parametrize("deadline", DEADLINES)
@pytest.mark.parametrize("listed", [False, True])
def test_an_endpoint_that_finds_its_instance_last_starts_within_the_allowance(deadline: int, listed: bool) -> None:
    looking = durations.instance_pools_seconds(deadline) if listed else durations.ENDPOINT_CAPACITY_SECONDS
    last_start = max(0, deadline - durations.try_again_seconds(looking))
    assert last_start + looking + START <= deadline + durations.TEAR_DOWN_ALLOWANCE_SECONDS
    assert durations.pause_seconds(deadline) >= 150, "SageMaker has just said that there is none"


def test_the_shortest_and_longest_lives_are_what_definition_settings_and_input_allow() -> None:
    assert 60 * limits("endpoint_deadline_minutes")[0] == durations.MINIMUM_DEADLINE_SECONDS
    least = durations.TRAINING_MARGIN_SECONDS + durations.USEFUL_TRAINING_SECONDS
    assert limits("max_training_seconds")[0] == durations.MINIMUM_TRAINING_SECONDS == least
    assert FINE_TUNING["TimeoutSeconds"] == durations.LONGEST_EXECUTION_SECONDS
    assert ENDPOINT == durations.LONGEST_DEADLINE_SECONDS
    longest = durations.LONGEST_KEEP_SECONDS // 60
    assert parse({"keepEndpointMinutes": longest}).keep_endpoint_minutes == longest
    with pytest.raises(InvalidInput):
        parse({"keepEndpointMinutes": longest + 1})


def reserved(item: str) -> float:
    return float(next(amount for name, amount, _ in costs.SMALL_ITEMS if name.startswith(item)))


def test_every_function_may_run_out_of_time_as_often_as_it_is_tried() -> None:
    used = {"teardown": PASSES * PASS_SECONDS * functions()["teardown"][0] / 1024}
    for name in ("fine_tuning", "tear_down"):
        for state, body in task_states(name).items():
            found = re.fullmatch(r"\$\{(\w+)FunctionArn\}", str(body["Arguments"].get("FunctionName")))
            function = found[1].lower() if found else ""
            # Preflight is a look, which the month pays for; Ask is reserved by the endpoint's time.
            if function and function not in {"preflight", "ask", "teardown"}:
                memory, seconds = functions()[function]
                tries = 1 + next(len(retry_waits(rule)) for rule in body["Retry"] if catches(rule, "Sandbox.Timedout"))
                assert tries == 2, state
                used[function] = tries * seconds * memory / 1024
    assert 0.9 * reserved("Lambda") < sum(used.values()) <= reserved("Lambda")


def test_the_longest_run_goes_through_as_many_states_as_are_reserved() -> None:
    starting = durations.TRAINING_START_ALLOWANCE_SECONDS + durations.MAX_PENDING_SECONDS
    asking = 2 * ENDPOINT / functions()["ask"][1]
    looks = (TRAINING + starting) / LOOK + ENDPOINT / STATES["WaitForEndpoint"]["Seconds"]
    # A look is a wait, a call and a choice; a call to Ask a call and a choice. Every state once more for what is tried again.
    once = len(list(each_state(FINE_TUNING))) * 2
    used = 3 * looks + 2 * asking + once + 3 * PASSES
    assert 0.9 * reserved("Step Functions") < used <= reserved("Step Functions")
