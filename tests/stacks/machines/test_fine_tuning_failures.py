"""FineTuning when a call fails: how often it is made again, after which pauses, and what error and cause the run ends with.

That each state survives or names each failure is the table of failures (verification/simulation/failures.yaml); here are the numbers
and the words.
"""

import re
from typing import Any

import pytest

from rehearsal.step_functions.interpreter import Failure
from tests.doubles.machines.fine_tuning_run import ADAPTER, HOSTING, KEPT, TRAINING, endpoint, job, plan, run
from tests.doubles.machines.walk import PAID_FOR, SERVICE_WAITS, USUAL, Walk
from verification.simulation import rows
from verification.simulation.definitions import task_states
from verification.simulation.world import NOON

REFUSED = Failure("SageMaker.SageMakerException", "No luck.")
UNKNOWN_FIELD = Failure("States.Runtime", 'The field "InstancePreferences" is not supported by Step Functions')
TIMED_OUT = Failure("States.Timeout", "No luck.")
IN_USE = Failure("SageMaker.ResourceInUseException")
THERE = Failure("SageMaker.SageMakerException", 'Cannot create already existing thing "x".')
CUT = job("Stopped", "MaxRuntimeExceeded")
# Of a job that trains: eighteen minutes at most. The allowances count them too.
TRAINING_WAITS = [5, 12.5, 31.25, *17 * [60]]
LAMBDA_WAITS = [3, 6, 12, 24, 48]
LAMBDAS = [
    state for state, body in task_states("fine_tuning").items() if body["Resource"] == "arn:aws:states:::lambda:invoke"
]
# One whose failure does not end the run says so in the table of failures, in its cell `refused`.
REQUIRED = [state for state in LAMBDAS if rows.table()[f"{state} x refused"].run[0] == "FAILED"]
AFTER_TRAINING = LAMBDAS[LAMBDAS.index("AskBaseModel") :]  # in the order in which they are written
SERVICES = [state for state in task_states("fine_tuning") if state not in LAMBDAS]
# Errors of Lambda itself and of the network: the function may answer the next time.
PASSING = [
    "Lambda.ServiceException", "Lambda.AWSLambdaException", "Lambda.SdkClientException", "Lambda.TooManyRequestsException",
    "Lambda.ClientExecutionTimeoutException", "ServiceUnreachable",
]  # fmt: skip
# What leads a run to the states that a usual one does not come to.
ONLY_WITH: dict[str, dict[str, Any]] = {
    "StartSpotTraining": {"Preflight": plan(training_spot=True)},
    "LookForAdapter": {"DescribeTraining": CUT},
    "DeleteEndpointWithoutCapacity": {"DescribeEndpoint": [endpoint("Failed", "CapacityError"), endpoint()]},
}


def meet(state: str, *answers: Any) -> Walk:
    """A run in which the calls of a state are answered so."""
    return run(**ONLY_WITH.get(state, {}), **{state: list(answers)})


def test_a_run_that_stood_still_until_its_time_was_over_makes_no_endpoint() -> None:
    execution = run(Preflight=plan(tearDownAt=f"{NOON:%Y-%m-%dT%H:%M:%S}"))
    assert (execution.error, execution.asked("CreateEndpoint")) == ("TearDownNotScheduled", [])
    assert f"The run was to be over at {NOON:%Y-%m-%dT%H:%M:%S}." in execution.cause


@pytest.mark.parametrize("state", SERVICES)
def test_a_service_is_called_again_after_these_pauses_and_then_ends_the_run_in_its_own_words(state: str) -> None:
    """The error's name is told by the table of failures. The cause names the adapter that is there."""
    waits = TRAINING_WAITS if state == "DescribeTraining" else SERVICE_WAITS
    for failure in (REFUSED, TIMED_OUT):
        execution = meet(state, *len(waits) * [failure], USUAL)
        assert (execution.status, execution.pauses(state)) == ("SUCCEEDED", waits)
        execution = meet(state, failure)
        assert len(execution.asked(state)) == 1 + len(waits)
        if state != "DeleteEndpointWithoutCapacity":  # which changes nothing where it fails
            assert (execution.status, execution.calls[-1].state) == ("FAILED", state)
            trained = SERVICES.index(state) >= SERVICES.index("CreateModel")
            assert ("No luck." in execution.cause, execution.cause.endswith(KEPT)) == (True, trained)
            assert execution.error != TIMED_OUT.error  # States.TaskFailed would not catch it
            assert (ADAPTER in execution.cause) is (trained or state in ("DescribeTraining", "LookForAdapter"))


@pytest.mark.parametrize("state", ["TryEndpointConfig", "StartTraining"])
def test_a_field_that_step_functions_does_not_know_ends_the_run_at_once(state: str) -> None:
    """No Catch takes States.Runtime (AWS's page "Handling errors in Step Functions workflows"): TearDown's e-mail names the fix."""
    execution = meet(state, UNKNOWN_FIELD)
    assert (execution.error, execution.cause) == (UNKNOWN_FIELD.error, UNKNOWN_FIELD.cause)
    assert len(execution.asked(state)) == 1


@pytest.mark.parametrize("state", LAMBDAS)
def test_a_lambda_is_called_again_after_these_pauses_and_errors(state: str) -> None:
    for errors in (PASSING[:5], PASSING[1:], *([error] for error in PAID_FOR)):
        execution = meet(state, *map(Failure, errors), USUAL)
        assert (execution.status, execution.pauses(state)) == ("SUCCEEDED", LAMBDA_WAITS[: len(errors)])


@pytest.mark.parametrize("state", REQUIRED)
def test_a_required_lambda_that_fails_for_good_ends_the_run_under_its_error(state: str) -> None:
    for error, said, cause, attempts in (
        ("DatasetTooSmall", '{"errorMessage": "Too short."}', "Too short.", 1),
        ("States.Timeout", "{it took too long", "{it took too long", 2),
        ("ServiceUnreachable", "{no answer", "{no answer", 6),
    ):
        execution = meet(state, Failure(error, said))
        assert (execution.error, execution.states[-1]) == (error.removeprefix("States."), "StopWithReason")
        assert execution.cause == cause + (KEPT if state in AFTER_TRAINING else "")
        assert len(execution.asked(state)) == attempts


def test_only_a_leading_prefix_of_step_functions_is_cut_from_an_error() -> None:
    execution = run(Preflight=Failure("Odd.States.Error", None))
    assert (execution.error, execution.cause) == ("Odd.States.Error", "No cause was given.")


@pytest.mark.parametrize(("state", "setting"), [("StartTraining", "training"), ("TryEndpointConfig", "hosting")])
def test_a_rejection_of_a_list_of_types_says_to_name_one(state: str, setting: str) -> None:
    for types in ([TRAINING], [TRAINING, HOSTING]):
        cause = run(Preflight=plan(**{f"{setting}_instanceTypes": types}), **{state: REFUSED}).cause
        assert bool(re.search(f"single type|one type in {setting}_instance_type", cause)) is (len(types) == 2)


@pytest.mark.parametrize("word", ["ModelAccess", "S3", "gated", "EULA", "Eula", ""])
def test_a_rejection_of_the_weights_names_a_copy_of_the_users_own(word: str) -> None:
    for state in ("StartTraining", "StartSpotTraining"):
        cause = meet(state, Failure("SageMaker.SageMakerException", f"No {word} for it.")).cause
        assert ("run captune copy-weights" in cause) is bool(word)


@pytest.mark.parametrize(
    ("state", "quota", "attempts"),
    [
        ("StartTraining", f"{TRAINING} for training job usage", 1),
        ("StartSpotTraining", f"{TRAINING} for spot training job usage", 1),
        ("CreateModel", f"{HOSTING} for endpoint usage", 5),
        ("CreateEndpointConfig", f"{HOSTING} for endpoint usage", 5),
        ("CreateEndpoint", f"{HOSTING} for endpoint usage", 1),
    ],
)
def test_a_quota_that_is_too_low_is_named_as_service_quotas_names_it(state: str, quota: str, attempts: int) -> None:
    execution = meet(state, Failure("SageMaker.ResourceLimitExceededException", "Too many."))
    assert (execution.error, len(execution.asked(state))) == ("QuotaTooLow", attempts)
    assert f'Too many. Request a higher "{quota}" in the Service Quotas console' in execution.cause
    assert execution.cause.endswith(KEPT) is (HOSTING in quota)


@pytest.mark.parametrize(
    ("state", "failure", "attempts"),
    [
        ("ScheduleTearDown", Failure("Scheduler.ConflictException"), 1),
        ("StartTraining", IN_USE, 1),
        ("StartSpotTraining", IN_USE, 1),
        *((state, THERE, 5) for state in ("TryModel", "TryEndpointConfig", "CreateModel", "CreateEndpointConfig")),
        ("CreateEndpoint", THERE, 5),
        ("DeleteEndpointWithoutCapacity", TIMED_OUT, 5),
    ],
)
def test_what_is_there_or_cannot_be_removed_changes_nothing_else(state: str, failure: Failure, attempts: int) -> None:
    execution = meet(state, failure)
    assert (execution.status, len(execution.asked(state))) == ("SUCCEEDED", attempts)
    assert [name for name in execution.states if "Made" not in name] == meet(state, USUAL).states


@pytest.mark.parametrize(
    ("state", "planned", "error"),
    [
        ("StartTraining", plan(), "TrainingNotStarted"),
        ("StartSpotTraining", plan(training_spot=True), "TrainingNotStarted"),
        ("CreateEndpoint", plan(adapterUri="s3://bucket/earlier/"), "EndpointFailed"),
    ],
)
def test_a_redriven_execution_starts_nothing_that_bills(state: str, planned: dict[str, Any], error: str) -> None:
    for redrives in (1, 2):
        execution = run(redrives, Preflight=planned)
        assert (execution.status, execution.error, execution.asked(state)) == ("FAILED", error, [])
        assert "A redriven execution has no reservation any more. Start a new execution instead." in execution.cause
    assert run(0, Preflight=planned).status == "SUCCEEDED"
