"""FineTuning on spot instances: what it asks for, what it waits for, and how it ends where no instance comes or comes back."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.step_functions.walk import Failure
from tests.doubles.machines.fine_tuning_run import FIRST, RUN, SECOND, account, job, plan, run
from tests.doubles.machines.scripted_account import ScriptedAccount

WAIT_SECONDS = 10_800
ON_SPOT = plan(training_spot=True, training_maxWaitSeconds=WAIT_SECONDS, training_instanceTypes=[FIRST, SECOND])
OVER = job("Stopped", "MaxWaitTimeExceeded")


def account_on_spot(*described: dict[str, Any]) -> ScriptedAccount:
    """An account whose Preflight plans for spot, and what it says of the job, one after the other."""
    made = account().script("${PreflightFunctionArn}", ON_SPOT)
    return made.script("sagemaker:describeTrainingJob", *described) if described else made


def interrupted(times: int) -> dict[str, Any]:
    """Of a job that was interrupted so often."""
    again = [{"Status": name} for name in ("Interrupted", "Starting", "Downloading", "Training")]
    return {"SecondaryStatusTransitions": [{"Status": "Starting"}, {"Status": "Training"}, *(times * again)]}


class TestTheRequest:
    def test_is_that_of_a_job_on_demand_but_for_spot_and_what_it_may_wait(self) -> None:
        (spot,) = map(dict, run(account_on_spot()).asked("StartSpotTraining"))
        (usual,) = map(dict, run().asked("StartTraining"))

        assert spot.pop("EnableManagedSpotTraining") is True
        assert spot.pop("StoppingCondition") == {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": WAIT_SECONDS}
        assert usual.pop("StoppingCondition") == {"MaxRuntimeInSeconds": 7200, "MaxPendingTimeInSeconds": 1800}
        assert spot == usual

    def test_says_nothing_of_spot_where_the_plan_does_not(self) -> None:
        execution = run()

        assert execution.asked("StartSpotTraining") == []
        assert "EnableManagedSpotTraining" not in execution.asked("StartTraining")[0]

    def test_is_made_once_in_place_of_the_one_on_demand(self) -> None:
        execution = run(account_on_spot())

        assert execution.status == "SUCCEEDED"
        assert (len(execution.asked("StartSpotTraining")), execution.asked("StartTraining")) == (1, [])
        at = execution.states.index("StartSpotTraining")
        assert execution.states[at - 1 : at + 3] == [
            "TrainingNeeded?", "StartSpotTraining", "WaitForTraining", "DescribeTraining",
        ]  # fmt: skip

    def test_that_was_made_already_is_gone_on_from(self) -> None:
        execution = run(
            account_on_spot().fail("StartSpotTraining", Failure("SageMaker.ResourceInUseException"), for_ever=True)
        )

        assert (execution.status, len(execution.asked("StartSpotTraining"))) == ("SUCCEEDED", 1)

    def test_that_fails_in_passing_is_made_again(self) -> None:
        execution = run(account_on_spot().fail("StartSpotTraining", *4 * [Failure("States.Timeout")]))

        assert (execution.status, execution.pauses("StartSpotTraining")) == ("SUCCEEDED", [5, 12.5, 31.25, 60])
        assert dict(execution.inputs)["WaitForTraining"] == {}

    def test_that_is_refused_ends_the_run_by_name(self) -> None:
        refused = run(account_on_spot().fail("StartSpotTraining", Failure("States.Timeout", "No luck."), for_ever=True))

        assert (refused.error, refused.cause) == (
            "TrainingNotStarted",
            "SageMaker did not start the training job: No luck.",
        )

    def test_that_no_quota_allows_names_the_quota_of_spot(self) -> None:
        failure = Failure("SageMaker.ResourceLimitExceededException", "Too many.")
        execution = run(account_on_spot().fail("StartSpotTraining", failure, for_ever=True))

        assert (execution.error, len(execution.asked("StartSpotTraining"))) == ("QuotaTooLow", 1)
        assert execution.cause == (
            f'Too many. Ask for a higher "{FIRST} for spot training job usage" in the Service Quotas console, then start again.'
        )

    def test_is_not_made_where_an_earlier_adapter_is_served(self) -> None:
        served = {**ON_SPOT, "adapterUri": "s3://bucket/earlier/"}
        execution = run(account().script("${PreflightFunctionArn}", served))

        assert (execution.status, execution.asked("StartSpotTraining")) == ("SUCCEEDED", [])
        assert execution.asked("WriteReport")[0]["trainingJob"] == {}

    def test_of_a_redriven_execution_is_never_made(self) -> None:
        execution = run(account_on_spot(), RedriveCount=1)

        assert (execution.error, execution.asked("StartSpotTraining")) == ("TrainingNotStarted", [])
        assert "A redriven execution has no reservation any more. Start a new execution instead." in str(
            execution.cause
        )

    def test_of_an_execution_that_was_never_redriven_is_made(self) -> None:
        execution = run(account_on_spot(), RedriveCount=0)

        assert (execution.status, len(execution.asked("StartSpotTraining"))) == ("SUCCEEDED", 1)


class TestAnInterruptedJob:
    WAITING = job("InProgress", "Interrupted", billed=300)

    def test_is_waited_for_until_it_has_ended(self) -> None:
        execution = run(account_on_spot(self.WAITING, job("InProgress", "Starting", billed=300), job()))

        assert execution.status == "SUCCEEDED"
        assert execution.pauses("DescribeTraining") == [30, 30]

    @pytest.mark.parametrize("times", [0, 1, 3])
    def test_is_reported_with_its_interruptions_and_with_what_it_took_and_billed(self, times: int) -> None:
        done = job(billed=1500) | {"TrainingTimeInSeconds": 4000} | interrupted(times)

        (told,) = run(account_on_spot(self.WAITING, done)).asked("WriteReport")
        assert told["trainingJob"] == {"interruptions": times, "trainingSeconds": 4000, "billedSeconds": 1500}

    def test_of_which_sagemaker_tells_no_seconds_is_reported_with_none(self) -> None:
        (told,) = run(account_on_spot(job(billed=None))).asked("WriteReport")

        assert told["trainingJob"] == {"interruptions": 0, "trainingSeconds": 0, "billedSeconds": 0}

    def test_that_did_not_come_back_in_time_ends_the_run_by_name_and_is_not_started_again(self) -> None:
        scripts = account_on_spot(self.WAITING, OVER | interrupted(2)).script("s3:listObjectsV2", {"KeyCount": 0})
        execution = run(scripts)

        assert execution.error == "SpotOutOfTime"
        assert execution.cause == (
            f"Spot training job {RUN} was interrupted 2 times and had written no adapter when its {WAIT_SECONDS} seconds with all waiting "
            'were over. Start again later, or on demand with the input {"spot": false}.'
        )
        assert (len(execution.asked("StartSpotTraining")), execution.asked("CreateEndpoint")) == (1, [])
        assert dict(execution.inputs)["SpotOutOfTime"] == {}

    @pytest.mark.parametrize("billed", [1, 900])
    def test_whose_time_ended_with_its_adapter_written_goes_on(self, billed: int) -> None:
        execution = run(account_on_spot(job("Stopped", "MaxWaitTimeExceeded", billed=billed)))

        assert (execution.status, execution.asked("WriteReport")[0]["trainingCut"]) == ("SUCCEEDED", True)

    def test_that_reached_its_longest_training_is_told_so_and_not_of_waiting(self) -> None:
        scripts = account_on_spot(job("Stopped", "MaxRuntimeExceeded")).script("s3:listObjectsV2", {"KeyCount": 0})

        assert run(scripts).error == "TrainingOutOfTime"
        uncounted = job("Stopped", "MaxRuntimeExceeded", billed=None)
        assert run(account_on_spot(uncounted)).status == "SUCCEEDED"

    def test_that_failed_for_its_own_reason_ends_as_one_on_demand_does(self) -> None:
        assert run(account_on_spot(job("Failed", reason="AlgorithmError: out of memory"))).error == "TrainingFailed"
        assert run(account_on_spot(job("Failed", reason="AlgorithmError", billed=0))).error == "TrainingFailed"
        assert run(account_on_spot(job("Failed", reason="CapacityError", billed=1))).error == "TrainingFailed"
        assert run(account_on_spot(job("Stopped", billed=1))).error == "TrainingFailed"
        its_own = "AlgorithmError: the script said CapacityError"
        assert run(account_on_spot(job("Failed", reason=its_own, billed=0))).error == "TrainingFailed"


@pytest.mark.parametrize(
    "ended",
    [
        job("Stopped", "MaxWaitTimeExceeded", billed=0),
        job("Stopped", "MaxWaitTimeExceeded", billed=None),
        job("Failed", reason="CapacityError: There is none.", billed=0),
        job("Failed", reason="InsufficientInstanceCapacity", billed=0),
        job("Failed", reason="Unable to provision requested ML compute capacity.", billed=0),
    ],
)
def test_a_spot_job_that_got_no_instance_has_waited_long_enough_and_is_the_only_attempt(ended: dict[str, Any]) -> None:
    execution = run(account_on_spot(ended))

    assert execution.error == "NoCapacity"
    assert execution.cause == (
        f"AWS had no free spot {FIRST} for training within {WAIT_SECONDS} seconds, and nothing was billed. Start again later, or on demand "
        'with the input {"spot": false}.'
    )
    assert (len(execution.asked("StartSpotTraining")), execution.asked("StartTraining")) == (1, [])
    assert execution.asked("LookForAdapter") == []
    assert dict(execution.inputs)["StopWithReason"] == {}
