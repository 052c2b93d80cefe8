"""The waits and time-outs of the state machines, added up against the allowances that reservation and deadlines are made from."""

from __future__ import annotations

import re

import botocore.session
import pytest

from common.errors import InvalidInput
from common.pricing import costs, durations
from preflight.request import parse
from stacks.configuration.settings import Settings
from verification.simulation.definitions import each_state, functions, machine, task_states
from verification.simulation.interpreter import catches, retry_waits

FINE_TUNING = machine("fine_tuning")
STATES = FINE_TUNING["States"]
POLLING = 3000
# Of a tear-down, every half a minute: until an endpoint that is Creating can be deleted, and some more. A usual one takes some seconds.
PASSES = (durations.ENDPOINT_DOWNLOAD_SECONDS + durations.ENDPOINT_START_SECONDS) // 30 + 30
PASS_SECONDS = 5


def longest_setting(name: str) -> int:
    """The highest value that a setting may have, from its own refusal."""
    with pytest.raises(ValueError, match="to") as refused:
        Settings.from_context({name: "999999"})
    found = re.search(r"to (\d+)", str(refused.value))
    assert found
    return int(found[1])


def test_sagemaker_accepts_the_longest_pending_time() -> None:
    shape = botocore.session.get_session().get_service_model("sagemaker").shape_for("StoppingCondition")
    limits = shape.members["MaxPendingTimeInSeconds"].metadata
    assert limits["min"] <= durations.MAX_PENDING_SECONDS <= limits["max"]


DEADLINES = (durations.MINIMUM_DEADLINE_SECONDS, 3600, durations.LONGEST_DEADLINE_SECONDS)


@pytest.mark.parametrize("deadline", DEADLINES)
def test_sagemaker_accepts_how_long_it_is_to_look_for_a_list_of_types(deadline: int) -> None:
    shape = botocore.session.get_session().get_service_model("sagemaker").shape_for("ProductionVariant")
    limits = shape.members["VariantInstanceProvisionTimeoutInSeconds"].metadata
    assert limits["min"] <= durations.instance_pools_seconds(deadline) <= limits["max"]


@pytest.mark.parametrize("deadline", DEADLINES)
@pytest.mark.parametrize("listed", [False, True])
def test_an_endpoint_that_finds_its_instance_last_of_all_has_started_within_the_allowance(
    deadline: int, listed: bool
) -> None:
    looking = durations.instance_pools_seconds(deadline) if listed else durations.ENDPOINT_CAPACITY_SECONDS
    last_start = max(0, deadline - durations.try_again_seconds(looking))
    starts = durations.ENDPOINT_DOWNLOAD_SECONDS + durations.ENDPOINT_START_SECONDS
    assert last_start + looking + starts <= deadline + durations.TEAR_DOWN_ALLOWANCE_SECONDS
    assert durations.pause_seconds(deadline) >= 150, "SageMaker has just said that there is none"


def test_a_lack_of_capacity_is_seen_before_the_shortest_deadline() -> None:
    """Before the last two minutes, in which the run ends by itself, and with a look to spare."""
    seen = durations.ENDPOINT_CAPACITY_SECONDS + 2 * STATES["WaitForEndpoint"]["Seconds"]
    assert seen + 120 <= durations.MINIMUM_DEADLINE_SECONDS
    Settings.from_context({"endpoint_deadline_minutes": durations.MINIMUM_DEADLINE_SECONDS // 60})
    with pytest.raises(ValueError, match="endpoint_deadline_minutes"):
        Settings.from_context({"endpoint_deadline_minutes": durations.MINIMUM_DEADLINE_SECONDS // 60 - 1})


def test_all_waiting_for_capacity_fits_the_unbilled_allowance() -> None:
    assert durations.MAX_PENDING_SECONDS + STATES["WaitForTraining"]["Seconds"] < durations.UNBILLED_ALLOWANCE_SECONDS


def test_all_waiting_of_a_spot_job_fits_the_unbilled_allowance() -> None:
    beyond = durations.SPOT_WAIT_SECONDS + durations.TRAINING_STOP_ALLOWANCE_SECONDS
    assert beyond + STATES["WaitForTraining"]["Seconds"] + POLLING < durations.UNBILLED_ALLOWANCE_SECONDS


def test_the_tear_down_allowance_holds_an_endpoints_longest_start() -> None:
    start = durations.ENDPOINT_DOWNLOAD_SECONDS + durations.ENDPOINT_START_SECONDS
    assert start + 300 <= durations.TEAR_DOWN_ALLOWANCE_SECONDS


def test_the_longest_run_ends_before_its_execution_times_out() -> None:
    training = longest_setting("max_training_seconds") + durations.TRAINING_STOP_ALLOWANCE_SECONDS
    endpoint = 60 * longest_setting("endpoint_deadline_minutes")
    assert training + durations.MAX_PENDING_SECONDS + endpoint < FINE_TUNING["TimeoutSeconds"]


def test_the_longest_lives_are_what_definition_settings_and_input_allow() -> None:
    assert FINE_TUNING["TimeoutSeconds"] == durations.LONGEST_EXECUTION_SECONDS
    assert 60 * longest_setting("endpoint_deadline_minutes") == durations.LONGEST_DEADLINE_SECONDS
    longest = durations.LONGEST_KEEP_SECONDS // 60
    assert parse({"keepEndpointMinutes": longest}).keep_endpoint_minutes == longest
    with pytest.raises(InvalidInput):
        parse({"keepEndpointMinutes": longest + 1})


def reserved(item: str) -> float:
    """How much of a small item is reserved for each run."""
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
    training = longest_setting("max_training_seconds") + durations.TRAINING_STOP_ALLOWANCE_SECONDS
    starting = durations.TRAINING_START_ALLOWANCE_SECONDS + durations.MAX_PENDING_SECONDS
    endpoint = 60 * longest_setting("endpoint_deadline_minutes")
    asking = 2 * 60 * longest_setting("endpoint_deadline_minutes") / functions()["ask"][1]
    looks = (training + starting) / STATES["WaitForTraining"]["Seconds"] + endpoint / STATES["WaitForEndpoint"][
        "Seconds"
    ]
    # A look is a wait, a call and a choice; a call to Ask a call and a choice. Every state once more for what is tried again.
    once = len(list(each_state(FINE_TUNING))) * 2
    used = 3 * looks + 2 * asking + once + 3 * PASSES
    assert 0.9 * reserved("Step Functions") < used <= reserved("Step Functions")


def test_a_training_time_too_short_to_learn_is_refused_as_a_setting() -> None:
    shortest = durations.TRAINING_MARGIN_SECONDS + durations.USEFUL_TRAINING_SECONDS
    assert shortest == durations.MINIMUM_TRAINING_SECONDS
    Settings.from_context({"max_training_seconds": str(shortest)})
    with pytest.raises(ValueError, match="max_training_seconds"):
        Settings.from_context({"max_training_seconds": str(shortest - 1)})
