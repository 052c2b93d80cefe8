"""What FineTuning does when a call fails: how often it asks again, what it goes on from, and with which words it ends."""

from __future__ import annotations

import json

import pytest

from rehearsal.step_functions.walk import Failure
from tests.doubles.machines.fine_tuning_run import (
    ADAPTER,
    DEFINITION,
    FIRST,
    KEPT,
    RUN,
    account,
    endpoint,
    job,
    plan,
    run,
)

THROTTLED = Failure("SageMaker.SageMakerException", "Slow down.")
REFUSED = Failure("SageMaker.SageMakerException", "No luck.")
NO_QUOTA = Failure("SageMaker.ResourceLimitExceededException", "Too many.")
THERE = Failure("SageMaker.SageMakerException", 'Cannot create already existing thing "x".')
# Until a call that fails is given up: nine tenths of two minutes, which the allowances count as polling.
SERVICE_WAITS = [5, 12.5, 31.25, 60]
# Of a job that trains: nine minutes, for a pause is any time up to these, and eighteen at most. The allowances count them too.
TRAINING_WAITS = [5, 12.5, 31.25, *17 * [60]]
LAMBDA_WAITS = [3, 6, 12, 24, 48]
LAMBDAS = ["Preflight", "ReserveBudget", "StageInput", "AskBaseModel", "AskFineTunedModel", "WriteReport"]
SERVICES = [
    "ScheduleTearDown", "TryModel", "TryEndpointConfig", "RemoveTrialEndpointConfig", "RemoveTrialModel", "StartTraining",
    "DescribeTraining", "CreateModel", "SetEndpointDeadline", "CreateEndpointConfig", "CreateEndpoint", "DescribeEndpoint",
]  # fmt: skip
# The functions that are called when training has been paid, and what the run's cause ends with from then on.
AFTER_TRAINING = LAMBDAS[3:]
# Errors of Lambda itself, of the network, and of a sandbox that died: the function's answer may come the next time.
PASSING = [
    "Lambda.ServiceException", "Lambda.AWSLambdaException", "Lambda.SdkClientException", "Lambda.TooManyRequestsException",
    "Lambda.ClientExecutionTimeoutException", "ServiceUnreachable", "States.Timeout", "Sandbox.Timedout",
    "Runtime.ExitError", "Lambda.Unknown",
]  # fmt: skip


def test_these_are_all_the_tasks_but_three_that_only_some_runs_come_to() -> None:
    states = dict(DEFINITION["States"])
    for branch in DEFINITION["States"]["AskBothModels"]["Branches"]:
        states |= branch["States"]
    tasks = {name for name, state in states.items() if state["Type"] == "Task"}
    assert tasks == {*LAMBDAS, *SERVICES, "LookForAdapter", "StartSpotTraining", "DeleteEndpointWithoutCapacity"}


@pytest.mark.parametrize("state", SERVICES)
def test_a_service_that_fails_in_passing_is_asked_again_and_the_run_goes_on(state: str) -> None:
    for failure in (THROTTLED, Failure("States.Timeout")):
        waits = TRAINING_WAITS if state == "DescribeTraining" else SERVICE_WAITS
        execution = run(account().fail(state, *len(waits) * [failure]))
        assert execution.status == "SUCCEEDED", execution.cause
        assert execution.pauses(state) == waits


@pytest.mark.parametrize("error", PASSING)
@pytest.mark.parametrize("state", LAMBDAS[:1])
def test_a_function_that_fails_in_passing_is_asked_again_and_the_run_goes_on(state: str, error: str) -> None:
    execution = run(account().fail(state, *5 * [Failure(error)]))
    assert execution.status == "SUCCEEDED", execution.cause
    assert execution.pauses(state) == LAMBDA_WAITS


@pytest.mark.parametrize("state", LAMBDAS)
def test_every_function_is_asked_again_alike(state: str) -> None:
    execution = run(account().fail(state, Failure(PASSING[0]), Failure(PASSING[-1])))
    assert execution.status == "SUCCEEDED", execution.cause
    assert execution.pauses(state) == LAMBDA_WAITS[:2]


@pytest.mark.parametrize("state", LAMBDAS)
def test_what_a_function_refuses_by_name_is_not_asked_again_and_ends_the_run_under_that_name(state: str) -> None:
    cause = json.dumps({"errorMessage": "The text is too short.", "errorType": "DatasetTooSmall"})
    execution = run(account().fail(state, Failure("DatasetTooSmall", cause)))
    assert (execution.status, execution.error) == ("FAILED", "DatasetTooSmall")
    assert execution.cause == "The text is too short." + (KEPT if state in AFTER_TRAINING else "")
    assert len(execution.asked(state)) == 1


@pytest.mark.parametrize("state", LAMBDAS)
def test_a_function_that_never_answers_ends_the_run_under_a_name_that_a_run_may_bear(state: str) -> None:
    execution = run(account().fail(state, Failure("States.Timeout", "{it took too long"), for_ever=True))
    cause = "{it took too long" + (KEPT if state in AFTER_TRAINING else "")
    assert (execution.status, execution.error, execution.cause) == ("FAILED", "Timeout", cause)
    assert execution.states[-1] == "StopWithReason"
    assert len(execution.asked(state)) == 1 + len(LAMBDA_WAITS)


def test_a_name_that_only_holds_step_functions_own_prefix_stays_and_a_missing_cause_is_said_to_be_missing() -> None:
    execution = run(account().fail("Preflight", Failure("Odd.States.Error", None)))
    assert (execution.error, execution.cause) == ("Odd.States.Error", "No cause was given.")


HOSTING_REFUSED = (
    "HostingRefused",
    "SageMaker refused the model or endpoint configuration that this run would need later, so nothing was started that "
    "bills. No luck.",
)
ENDPOINT_FAILED = ("EndpointFailed", f"SageMaker refused the model or its endpoint: No luck.{KEPT}")


@pytest.mark.parametrize(
    ("state", "error", "cause"),
    [
        (
            "ScheduleTearDown",
            "TearDownNotScheduled",
            "The tear-down of this run could not be scheduled, so nothing was started that bills. No luck. Check the "
            "FineTuning role and the EventBridge Scheduler quota, then start again.",
        ),
        ("TryModel", *HOSTING_REFUSED),
        ("TryEndpointConfig", *HOSTING_REFUSED),
        ("StartTraining", "TrainingNotStarted", "SageMaker did not start the training job: No luck."),
        (
            "DescribeTraining",
            "TrainingFailed",
            f"The training job could not be described: No luck. It is stopped. If it has left metrics.json at {ADAPTER}, its adapter "
            'is there, and that address as "adapterUri" in the input trains nothing again.',
        ),
        ("CreateModel", *ENDPOINT_FAILED),
        (
            "SetEndpointDeadline",
            "TearDownNotScheduled",
            f"The deadline of the endpoint could not be scheduled, so the endpoint was not created. No luck.{KEPT}",
        ),
        ("CreateEndpointConfig", *ENDPOINT_FAILED),
        ("CreateEndpoint", *ENDPOINT_FAILED),
        ("DescribeEndpoint", *ENDPOINT_FAILED),
    ],
)
def test_a_service_that_refuses_for_good_ends_the_run_at_once_and_by_name(state: str, error: str, cause: str) -> None:
    for failure in (REFUSED, Failure("States.Timeout", "No luck."), Failure("States.Runtime", "No luck.")):
        execution = run(account().fail(state, failure, for_ever=True))
        assert (execution.status, execution.error, execution.cause) == ("FAILED", error, cause)
        assert execution.calls[-1].state == state


@pytest.mark.parametrize("state", ["RemoveTrialEndpointConfig", "RemoveTrialModel"])
def test_a_trial_that_stays_does_not_stop_the_run_for_tear_down_removes_it(state: str) -> None:
    cases = ((plan(), REFUSED), (plan(adapterUri="s3://bucket/earlier/"), Failure("States.Timeout")))
    for planned, failure in cases:
        usual = run(account().script("${PreflightFunctionArn}", planned))
        execution = run(account().script("${PreflightFunctionArn}", planned).fail(state, failure, for_ever=True))
        assert execution.states == usual.states
        assert (execution.status, execution.output) == (usual.status, usual.output)
        assert dict(execution.inputs)["TrainingNeeded?"] == {}


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        ("ScheduleTearDown", Failure("Scheduler.ConflictException")),
        ("StartTraining", Failure("SageMaker.ResourceInUseException")),
    ],
)
def test_what_an_attempt_without_an_answer_has_made_is_gone_on_from_and_not_made_again(
    state: str, answer: Failure
) -> None:
    execution = run(account().fail(state, answer, for_ever=True))
    assert (execution.status, execution.states) == ("SUCCEEDED", run().states)
    assert len(execution.asked(state)) == 1


@pytest.mark.parametrize(
    "state", ["TryModel", "TryEndpointConfig", "CreateModel", "CreateEndpointConfig", "CreateEndpoint"]
)
def test_a_thing_of_the_runs_own_name_that_is_there_already_is_its_own(state: str) -> None:
    usual, execution = run(), run(account().fail(state, THERE, for_ever=True))
    assert execution.status == "SUCCEEDED", execution.cause
    assert [name for name in execution.states if "Made" not in name] == usual.states


@pytest.mark.parametrize(
    ("state", "use", "asked"),
    [
        ("StartTraining", "training job", 1),
        ("CreateModel", "endpoint", 5),
        ("CreateEndpointConfig", "endpoint", 5),
        ("CreateEndpoint", "endpoint", 1),
    ],
)
def test_a_quota_that_is_too_low_is_named_with_its_own_name(state: str, use: str, asked: int) -> None:
    execution = run(account().fail(state, NO_QUOTA, for_ever=True))
    assert (execution.status, execution.error) == ("FAILED", "QuotaTooLow")
    assert execution.cause == (
        f'Too many. Ask for a higher "{FIRST} for {use} usage" in the Service Quotas console, then start again.'
        + (KEPT if use == "endpoint" else "")
    )
    assert len(execution.asked(state)) == asked


class TestWhatWasTrained:
    """It has been paid for: whatever ends the run later, the cause says how not to pay for it again."""

    UNSERVED = "AskFineTunedModel"
    REFUSED = Failure(
        "AdapterNotServed", json.dumps({"errorMessage": "Base answered.", "errorType": "AdapterNotServed"})
    )

    def test_is_named_where_sagemaker_says_that_it_lies(self) -> None:
        elsewhere = job() | {"ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/elsewhere"}}
        scripts = account().script("sagemaker:describeTrainingJob", elsewhere)
        execution = run(scripts.fail(self.UNSERVED, self.REFUSED))
        assert execution.error == "AdapterNotServed"
        assert execution.cause == f"Base answered.{KEPT.replace(ADAPTER, 's3://bucket/elsewhere/')}"

    def test_is_named_where_the_job_was_cut_and_had_written_it(self) -> None:
        scripts = account().script("sagemaker:describeTrainingJob", job("Stopped", "MaxRuntimeExceeded"))
        execution = run(scripts.fail(self.UNSERVED, self.REFUSED))
        assert execution.cause == f"Base answered.{KEPT}"

    def test_is_not_named_where_the_job_was_cut_and_had_written_nothing(self) -> None:
        scripts = account().script("sagemaker:describeTrainingJob", job("Stopped", "MaxRuntimeExceeded"))
        execution = run(scripts.script("s3:listObjectsV2", {"KeyCount": 0}))
        assert execution.error == "TrainingOutOfTime"
        assert ADAPTER not in str(execution.cause)

    def test_is_named_with_what_to_do_where_sagemakers_own_words_name_it_too(self) -> None:
        reason = f"The model data at {ADAPTER} could not be downloaded."
        execution = run(account().script("sagemaker:describeEndpoint", endpoint("Failed", reason)))
        assert execution.error == "EndpointFailed"
        assert reason in str(execution.cause) and str(execution.cause).endswith(KEPT)

    def test_is_not_named_where_an_earlier_run_trained_it_for_the_input_names_that(self) -> None:
        scripts = account().script("${PreflightFunctionArn}", plan(adapterUri="s3://bucket/earlier/"))
        assert run(scripts.fail(self.UNSERVED, self.REFUSED)).cause == "Base answered."


@pytest.mark.parametrize("redrives", [1, 2])
class TestARedrivenExecution:
    """Its reservation was settled at its first end: whatever it went on to would bill on nothing."""

    def test_starts_no_training_job(self, redrives: int) -> None:
        execution = run(RedriveCount=redrives)
        assert (execution.status, execution.error) == ("FAILED", "TrainingNotStarted")
        assert "A redriven execution has no reservation any more. Start a new execution instead." in str(
            execution.cause
        )
        assert execution.asked("StartTraining") == []

    def test_creates_no_endpoint(self, redrives: int) -> None:
        execution = run(
            account().script("${PreflightFunctionArn}", plan(adapterUri="s3://bucket/adapter/")), RedriveCount=redrives
        )
        assert (execution.status, execution.error) == ("FAILED", "EndpointFailed")
        assert "A redriven execution has no reservation any more. Start a new execution instead." in str(
            execution.cause
        )
        assert execution.asked("CreateEndpoint") == []


def test_an_execution_that_was_never_redriven_may_bill() -> None:
    assert run(RedriveCount=0).status == run().status == "SUCCEEDED"


def test_an_answer_without_its_fields_ends_the_run_before_anything_bills() -> None:
    for missing in ("reservedCents", "committedCents", "capCents"):
        whole = {"reservedCents": 587, "committedCents": 600, "capCents": 2500}
        del whole[missing]
        execution = run(account().script("${ReserveFunctionArn}", whole))
        assert (execution.status, execution.error) == ("FAILED", "QueryEvaluationError")
        assert execution.calls[-1].state == "ReserveBudget"


def test_a_stage_that_does_not_say_what_it_staged_ends_the_run_before_anything_bills() -> None:
    execution = run(account().script("${StageFunctionArn}", {}))
    assert (execution.status, execution.error) == ("FAILED", "QueryEvaluationError")
    assert execution.calls[-1].state == "StageInput"


def test_an_execution_ends_after_twelve_hours_whatever_it_waits_for() -> None:
    slow = Failure("SageMaker.SageMakerException", seconds=10_700)
    execution = run(
        account().script("sagemaker:describeTrainingJob", job("InProgress")).fail("DescribeTraining", *4 * [slow])
    )
    assert (execution.status, execution.seconds) == ("TIMED_OUT", 12 * 3600)
    assert execution.asked("DescribeTraining")[0] == {"TrainingJobName": RUN}
