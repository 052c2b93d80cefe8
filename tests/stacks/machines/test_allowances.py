"""The waits and time-outs of the state machines, added up against the allowances that reservation and deadlines are made from."""

from __future__ import annotations

import re
from typing import Any

import botocore.session
import pytest

from common.errors import InvalidInput
from common.pricing import durations, hardware
from preflight.request import parse
from stacks.configuration.settings import Settings
from stacks.state_machine import load_definition
from tests.doubles.machines.stacks_bench import ROOT

FINE_TUNING = load_definition(ROOT / "stacks" / "fine_tuning.asl.yaml")
STATES = FINE_TUNING["States"]


def longest_setting(name: str) -> int:
    """The highest value that a setting may have, from its own refusal."""
    try:
        Settings.from_context({name: "999999"})
    except ValueError as refused:
        found = re.search(r"to (\d+)", str(refused))
        assert found
        return int(found[1])
    raise AssertionError(f"{name} has no limit")


def attempts(state: str) -> set[int]:
    """How many attempts the choices of a state allow: every `…Attempt < N` in it."""
    return {int(number) for number in re.findall(r"Attempt < (\d+)", str(STATES[state]["Choices"]))}


def waits(state: str) -> list[int]:
    """The seconds that a Wait may take, whichever branch of its expression counts."""
    return [int(number) for number in re.findall(r"[?:] (\d+)", STATES[state]["Seconds"])]


def test_the_time_a_job_may_wait_is_what_sagemaker_takes_and_what_the_allowance_counts() -> None:
    shape = botocore.session.get_session().get_service_model("sagemaker").shape_for("StoppingCondition")
    limits: dict[str, Any] = shape.members["MaxPendingTimeInSeconds"].metadata
    assert limits["min"] <= durations.MAX_PENDING_SECONDS <= limits["max"]


def test_training_and_endpoint_are_tried_as_often_as_the_allowance_counts() -> None:
    assert attempts("TrainingFinished?") == attempts("EndpointReady?") == {durations.TRAINING_ATTEMPTS}


def test_all_waiting_for_an_instance_fits_the_allowance_that_moves_the_tear_down() -> None:
    longest = max(waits("WaitForTrainingCapacity"))
    tries = durations.TRAINING_ATTEMPTS
    polling = tries * STATES["WaitForTraining"]["Seconds"]
    assert longest == durations.CAPACITY_WAIT_SECONDS
    assert (
        tries * durations.MAX_PENDING_SECONDS + (tries - 1) * longest + polling < durations.UNBILLED_ALLOWANCE_SECONDS
    )


def test_the_only_attempt_of_a_spot_job_fits_the_same_allowance_with_all_that_it_may_wait_and_take_to_stop() -> None:
    polling = STATES["WaitForTraining"]["Seconds"]
    beyond = durations.SPOT_WAIT_SECONDS + durations.TRAINING_STOP_ALLOWANCE_SECONDS
    assert beyond + polling + 3000 < durations.UNBILLED_ALLOWANCE_SECONDS


def test_the_time_to_remove_an_endpoint_holds_its_longest_start() -> None:
    start = durations.ENDPOINT_DOWNLOAD_SECONDS + durations.ENDPOINT_START_SECONDS
    assert start + 300 <= durations.TEAR_DOWN_ALLOWANCE_SECONDS


def test_what_a_run_pays_for_is_started_as_the_plan_says_which_was_priced() -> None:
    job, spot, trial, real = (
        STATES[name]["Arguments"]
        for name in ("StartTraining", "StartSpotTraining", "TryEndpointConfig", "CreateEndpointConfig")
    )
    assert (
        job["ResourceConfig"]
        == spot["ResourceConfig"]
        == {
            "InstanceType": "{% $trainingInstanceType %}",
            "InstanceCount": "{% $plan.training.instanceCount %}",
            "VolumeSizeInGB": "{% $plan.training.volumeSizeGb %}",
        }
    )
    assert spot["StoppingCondition"] == {
        "MaxRuntimeInSeconds": "{% $plan.training.maxRuntimeSeconds %}",
        "MaxWaitTimeInSeconds": "{% $plan.training.maxWaitSeconds %}",
    }
    assert job["StoppingCondition"] == {
        "MaxRuntimeInSeconds": "{% $plan.training.maxRuntimeSeconds %}",
        "MaxPendingTimeInSeconds": "{% $plan.training.maxPendingSeconds %}",
    }
    for (variant,) in (trial["ProductionVariants"], real["ProductionVariants"]):
        assert variant["InstanceType"] == "{% $hostingInstanceType %}"
        assert variant["InitialInstanceCount"] == "{% $plan.hosting.instanceCount %}"
        assert variant["ModelDataDownloadTimeoutInSeconds"] == "{% $plan.hosting.downloadSeconds %}"
        assert variant["ContainerStartupHealthCheckTimeoutInSeconds"] == "{% $plan.hosting.startSeconds %}"
    creating = [name for name, state in STATES.items() if ":sagemaker:create" in str(state.get("Resource"))]
    assert len(creating) == 7
    assert [number for name in creating for number in numbers(STATES[name]["Arguments"])] == []


def test_every_instance_type_that_is_started_is_one_of_the_plans() -> None:
    for name in ("trainingInstanceType", "hostingInstanceType"):
        kind = name.removesuffix("InstanceType")
        said = {rule["Assign"][name] for rule in assigning(name)}
        again = next(text for text in said if "instanceTypes[" in text)
        assert said - {again} == {f"{{% $states.result.Payload.{kind}.instanceType %}}"}
        assert re.fullmatch(
            rf"\{{% \$plan\.{kind}\.instanceTypes\[\$\w+Attempt % \$count\(\$plan\.{kind}\.instanceTypes\)\] %\}}",
            again,
        )


def test_one_endpoint_instance_is_priced_and_one_is_planned() -> None:
    assert hardware.ENDPOINT_INSTANCES == 1


def numbers(value: Any) -> list[float]:
    """Every number that is written out in the arguments of a state."""
    if isinstance(value, dict):
        return [number for part in value.values() for number in numbers(part)]
    if isinstance(value, list):
        return [number for part in value for number in numbers(part)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def assigning(name: str) -> list[dict[str, Any]]:
    """The states and choices that assign a variable."""
    rules = [rule for state in STATES.values() for rule in (state, *state.get("Choices", []), *state.get("Catch", []))]
    return [rule for rule in rules if name in rule.get("Assign", {})]


def test_the_longest_run_that_the_settings_allow_ends_before_its_execution_times_out() -> None:
    training = longest_setting("max_training_seconds") + durations.TRAINING_STOP_ALLOWANCE_SECONDS
    waiting = durations.TRAINING_ATTEMPTS * durations.MAX_PENDING_SECONDS
    waiting += (durations.TRAINING_ATTEMPTS - 1) * max(waits("WaitForTrainingCapacity"))
    endpoint = 60 * longest_setting("endpoint_deadline_minutes")
    assert training + waiting + endpoint < FINE_TUNING["TimeoutSeconds"]


def test_the_longest_lives_are_those_that_definition_settings_and_input_allow() -> None:
    assert FINE_TUNING["TimeoutSeconds"] == durations.LONGEST_EXECUTION_SECONDS
    assert 60 * longest_setting("endpoint_deadline_minutes") == durations.LONGEST_DEADLINE_SECONDS
    assert parse({"keepEndpointMinutes": durations.LONGEST_KEEP_SECONDS // 60}).keep_endpoint_minutes
    with pytest.raises(InvalidInput):
        parse({"keepEndpointMinutes": durations.LONGEST_KEEP_SECONDS // 60 + 1})


def test_a_setting_below_the_useful_time_is_refused_where_it_is_set() -> None:
    assert durations.MINIMUM_TRAINING_SECONDS == durations.TRAINING_MARGIN_SECONDS + durations.USEFUL_TRAINING_SECONDS
    Settings.from_context({"max_training_seconds": str(durations.MINIMUM_TRAINING_SECONDS)})
    try:
        Settings.from_context({"max_training_seconds": str(durations.MINIMUM_TRAINING_SECONDS - 1)})
    except ValueError:
        return
    raise AssertionError("a training time in which nothing can be learned was accepted")


def test_the_server_has_an_empty_place_beside_the_adapter_so_that_base_requests_stay_the_base_models() -> None:
    """Held against the real server by verification/conformance/serving, where one place made base answers of a mixed batch the adapter's."""
    environment = STATES["CreateModel"]["Arguments"]["PrimaryContainer"]["Environment"]
    assert int(environment["SM_VLLM_MAX_LORAS"]) > environment["SM_VLLM_LORA_MODULES"].count('"name"') == 1


def test_the_trial_of_hosting_has_the_very_fields_of_what_comes_later() -> None:
    trial, real = (STATES[name]["Arguments"] for name in ("TryModel", "CreateModel"))
    assert {key for key in real if trial[key] != real[key]} == {"ModelName", "PrimaryContainer"}
    containers = trial["PrimaryContainer"], real["PrimaryContainer"]
    assert {key for key in containers[1] if containers[0][key] != containers[1][key]} == {"AdditionalModelDataSources"}
    (tried,), (made,) = (one["AdditionalModelDataSources"] for one in containers)
    assert {**tried["S3DataSource"], "S3Uri": ""} == {**made["S3DataSource"], "S3Uri": ""}
    trial, real = (STATES[name]["Arguments"] for name in ("TryEndpointConfig", "CreateEndpointConfig"))
    (tried,), (made,) = trial["ProductionVariants"], real["ProductionVariants"]
    assert {key for key in made if tried[key] != made[key]} == {"ModelName"}
