"""The ways through FineTuning: on and on, without capacity, cut short, with an adapter of an earlier run."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.step_functions.walk import Failure
from tests.doubles.machines.fine_tuning_run import (
    ADAPTER,
    FIRST,
    KEPT,
    PLAN,
    RUN,
    SECOND,
    account,
    endpoint,
    job,
    plan,
    run,
)

TO_TRAINING = [
    "Preflight", "ReserveBudget", "ScheduleTearDown", "StageInput", "TryModel", "TryEndpointConfig", "RemoveTrialEndpointConfig",
    "RemoveTrialModel", "TrainingNeeded?",
]  # fmt: skip
TRAINING = ["StartTraining", "WaitForTraining", "DescribeTraining", "TrainingFinished?"]
ENDPOINT = ["CreateEndpointConfig", "CreateEndpoint", "WaitForEndpoint", "DescribeEndpoint", "EndpointReady?"]
ASKING = [
    "AskBothModels", "AskBaseModel", "BaseModelAnswered?", "BaseModelDone", "AskFineTunedModel", "FineTunedModelAnswered?",
    "FineTunedModelDone",
]  # fmt: skip
NO_INSTANCE = [
    "CapacityError: There is none.",
    "InsufficientInstanceCapacity",
    "Unable to provision requested ML compute capacity.",
]
BOTH_TYPES = plan(training_instanceTypes=[FIRST, SECOND], hosting_instanceTypes=[FIRST, SECOND])


def jobs(*described: dict[str, Any], planned: Any = PLAN) -> Any:
    """A run whose training jobs are described so, one after the other."""
    return run(
        account().script("sagemaker:describeTrainingJob", *described).script("${PreflightFunctionArn}", dict(planned))
    )


def endpoints(*described: dict[str, Any], planned: Any = PLAN) -> Any:
    """A run whose endpoints are described so, one after the other."""
    return run(
        account().script("sagemaker:describeEndpoint", *described).script("${PreflightFunctionArn}", dict(planned))
    )


class TestTheUsualWay:
    def test_trains_once_serves_once_asks_both_models_and_reports(self) -> None:
        execution = run()
        serving = ["CreateModel", "SetEndpointDeadline", *ENDPOINT]
        assert execution.states == [*TO_TRAINING, *TRAINING, *serving, *ASKING, "WriteReport", "Done"]
        assert execution.status == "SUCCEEDED"

    def test_hands_on_only_what_the_next_state_reads(self) -> None:
        inputs = dict(run().inputs)
        readers = {"TrainingFinished?", "EndpointReady?", "BaseModelAnswered?", "FineTunedModelAnswered?"}
        readers |= {"BaseModelDone", "FineTunedModelDone", "Done", *TO_TRAINING[:4]}
        assert {name for name, given in inputs.items() if given} <= readers
        assert inputs["TrainingFinished?"].keys() == {"status", "detail", "reason", "billedSeconds", "artifacts"}
        assert inputs["EndpointReady?"].keys() == {"status", "reason"}

    def test_ends_with_the_verdict_and_where_the_report_lies_and_no_more(self) -> None:
        assert run().output == {
            "run": RUN, "verdict": "improved", "reason": "because", "report": "report.html", "reportConsole": "console",
            "summary": "summary.json", "reservedCents": 587,
        }  # fmt: skip

    def test_looks_at_job_and_endpoint_every_half_minute(self) -> None:
        waiting = jobs(*3 * [job("InProgress", "Downloading", billed=0)], job())
        assert waiting.pauses("DescribeTraining") == [30, 30, 30]
        assert len(waiting.asked("StartTraining")) == 1
        waiting = endpoints(endpoint("Creating"), endpoint("Updating"), endpoint())
        assert waiting.pauses("DescribeEndpoint") == [30, 30]
        assert waiting.status == "SUCCEEDED"

    def test_asks_each_model_until_no_prompt_remains(self) -> None:
        remaining = [{"remaining": 2}, {"remaining": 1}, {"remaining": 0}]
        execution = run(account().script("${AskFunctionArn}", *remaining, *remaining))
        assert execution.status == "SUCCEEDED"
        assert (len(execution.asked("AskBaseModel")), len(execution.asked("AskFineTunedModel"))) == (3, 3)


class TestWhereTheAdapterLies:
    @pytest.mark.parametrize("said", ["s3://bucket/elsewhere/model", "s3://bucket/elsewhere/model/"])
    def test_is_where_sagemaker_says_with_one_slash_at_its_end(self, said: str) -> None:
        execution = jobs(job() | {"ModelArtifacts": {"S3ModelArtifacts": said}})
        assert execution.asked("WriteReport")[0]["adapterUri"] == "s3://bucket/elsewhere/model/"

    def test_is_where_sagemaker_puts_it_when_it_says_nothing(self) -> None:
        assert jobs(job()).asked("WriteReport")[0]["adapterUri"] == ADAPTER


class TestATrainingJobThatWasCut:
    CUT = job("Stopped", "MaxRuntimeExceeded")

    @pytest.mark.parametrize("said", ["s3://bucket/deep/model", "s3://bucket/deep/model/"])
    def test_goes_on_when_the_last_file_of_the_adapter_lies_there(self, said: str) -> None:
        execution = jobs(self.CUT | {"ModelArtifacts": {"S3ModelArtifacts": said}})
        assert execution.asked("LookForAdapter") == [
            {"Bucket": "bucket", "Prefix": "deep/model/metrics.json", "MaxKeys": 1}
        ]
        assert execution.status == "SUCCEEDED"
        report = execution.asked("WriteReport")[0]
        assert (report["trainingCut"], report["adapterUri"]) == (True, "s3://bucket/deep/model/")
        assert dict(execution.inputs)["CreateModel"] == dict(execution.inputs)["LookForAdapter"] == {}
        assert dict(execution.inputs)["AdapterWritten?"] == {"found": 1}

    def test_ends_by_name_without_an_endpoint_when_it_does_not(self) -> None:
        short = plan(training_maxRuntimeSeconds=1800)
        scripts = account().script("s3:listObjectsV2", {"KeyCount": 0}).script("${PreflightFunctionArn}", short)
        execution = run(scripts.script("sagemaker:describeTrainingJob", self.CUT))
        assert execution.error == "TrainingOutOfTime"
        assert execution.cause == (
            f"Training job {RUN} reached its longest time of 1800 seconds before it had written an adapter. Raise "
            "max_training_seconds in cdk.json and deploy, or train on less text; where the cap shortened this run, start "
            "again when more of it is left."
        )
        assert execution.asked("CreateEndpoint") == []

    def test_is_one_that_was_cut_even_where_sagemaker_counts_no_seconds(self) -> None:
        execution = jobs(self.CUT | {"BillableTimeInSeconds": 0})
        assert (len(execution.asked("StartTraining")), len(execution.asked("LookForAdapter"))) == (1, 1)

    def test_ends_by_name_when_nobody_can_look(self) -> None:
        scripts = account().script("sagemaker:describeTrainingJob", self.CUT)
        slow = run(scripts.fail("LookForAdapter", *4 * [Failure("S3.S3Exception")]))
        assert (slow.status, slow.pauses("LookForAdapter")) == ("SUCCEEDED", [5, 12.5, 31.25, 60])
        execution = run(scripts.fail("LookForAdapter", Failure("States.Timeout", "No luck."), for_ever=True))
        assert execution.error == "TrainingFailed"
        assert execution.cause == (
            f"Training job {RUN} reached its longest time, and what it left at {ADAPTER} could not be looked for: No luck."
        )


class TestATrainingJobThatFailed:
    @pytest.mark.parametrize("status", ["Failed", "Stopped"])
    @pytest.mark.parametrize("billed", [900, 1])
    def test_is_not_tried_again_once_it_has_billed_whatever_its_reason(self, status: str, billed: int) -> None:
        execution = jobs(job(status, "Stopping", NO_INSTANCE[0], billed=billed))
        assert execution.error == "TrainingFailed"
        assert execution.cause == (
            f"Training job {RUN} ended as {status} (Stopping): {NO_INSTANCE[0]} Its log is in CloudWatch, group "
            "/aws/sagemaker/TrainingJobs."
        ) + (
            f' If it has left metrics.json at {ADAPTER}, its adapter is there, and that address as "adapterUri" in the input trains '
            "nothing again." * (status == "Stopped")
        )
        assert len(execution.asked("StartTraining")) == 1

    @pytest.mark.parametrize("reason", ["AlgorithmError: out of memory", "A CapacityError was in the log", None])
    def test_is_not_tried_again_for_another_reason_even_when_it_has_not_billed(self, reason: str | None) -> None:
        execution = jobs(job("Failed", reason=reason, billed=0))
        assert execution.error == "TrainingFailed"
        assert (reason or "no reason given") in str(execution.cause)
        assert len(execution.asked("StartTraining")) == 1

    def test_has_billed_nothing_where_sagemaker_counts_no_seconds_and_it_never_started(self) -> None:
        execution = jobs(job("Stopped", billed=None), job())
        assert (execution.status, len(execution.asked("StartTraining"))) == ("SUCCEEDED", 2)

    @pytest.mark.parametrize("told", [{"TrainingTimeInSeconds": 900}, {"TrainingStartTime": "2026-11-25T12:00:00Z"}])
    def test_has_billed_where_sagemaker_counts_no_billed_seconds_but_it_had_its_instance(
        self, told: dict[str, Any]
    ) -> None:
        execution = jobs(job("Stopped", billed=None) | told, job())
        assert (execution.error, len(execution.asked("StartTraining"))) == ("TrainingFailed", 1)

    def test_is_believed_in_the_seconds_that_it_tells_as_billed_before_all_others(self) -> None:
        waited = {"TrainingTimeInSeconds": 900, "TrainingStartTime": "2026-11-25T12:00:00Z"}
        execution = jobs(job("Stopped", billed=0) | waited, job())
        assert (execution.status, len(execution.asked("StartTraining"))) == ("SUCCEEDED", 2)


class TestTrainingWithoutCapacity:
    WITHOUT = [job("Failed", reason=reason, billed=0) for reason in NO_INSTANCE]
    STOPPED = job("Stopped", "Stopped", billed=0)  # MaxPendingTimeInSeconds was over

    @pytest.mark.parametrize("ended", [*WITHOUT, STOPPED])
    def test_is_tried_again_under_a_name_of_its_own_and_the_adapter_is_that_jobs(self, ended: dict[str, Any]) -> None:
        execution = jobs(ended, job())
        assert [asked["TrainingJobName"] for asked in execution.asked("StartTraining")] == [RUN, f"{RUN}-try2"]
        assert execution.asked("DescribeTraining")[-1] == {"TrainingJobName": f"{RUN}-try2"}
        written = execution.asked("WriteReport")[0]["adapterUri"]
        assert written == f"s3://bucket/runs/{RUN}/training/{RUN}-try2/output/model/"

    def test_waits_five_minutes_for_the_only_type_and_ends_after_three_attempts(self) -> None:
        for ended in (*self.WITHOUT, self.STOPPED):
            execution = jobs(ended)
            names = [asked["TrainingJobName"] for asked in execution.asked("StartTraining")]
            assert names == [RUN, f"{RUN}-try2", f"{RUN}-try3"]
            assert execution.pauses("StartTraining") == [330, 330]
            assert execution.error == "NoCapacity"
            assert execution.cause == (
                f"AWS had no free {FIRST} for training in 3 attempts, and nothing was billed. Start again later, or list "
                "further types in training_instance_type (cdk.json), in order of preference, and deploy."
            )
            assert execution.asked("CreateEndpoint") == []

    def test_takes_the_next_type_of_the_list_at_once_and_begins_again_at_its_end(self) -> None:
        execution = jobs(self.STOPPED, planned=BOTH_TYPES)
        types = [asked["ResourceConfig"]["InstanceType"] for asked in execution.asked("StartTraining")]
        assert types == [FIRST, SECOND, FIRST]
        assert execution.pauses("StartTraining") == [35, 330]
        assert f"no free {FIRST} or {SECOND} for training" in str(execution.cause)
        assert jobs(self.STOPPED, job(), planned=BOTH_TYPES).asked("WriteReport")[0]["trainingInstanceType"] == SECOND


class TestAnEndpointWithoutCapacity:
    WITHOUT = [endpoint("Failed", f"Sorry. {reason}") for reason in NO_INSTANCE]

    @pytest.mark.parametrize("ended", WITHOUT)
    def test_goes_and_the_next_one_has_a_name_of_its_own(self, ended: dict[str, Any]) -> None:
        execution = endpoints(ended, endpoint())
        assert execution.asked("DeleteEndpointWithoutCapacity") == [{"EndpointName": RUN}]
        for state, field in (("CreateEndpointConfig", "EndpointConfigName"), ("CreateEndpoint", "EndpointName")):
            assert [asked[field] for asked in execution.asked(state)] == [RUN, f"{RUN}-try2"]
        assert execution.asked("DescribeEndpoint")[-1] == {"EndpointName": f"{RUN}-try2"}
        assert execution.asked("AskBaseModel")[0]["endpointName"] == f"{RUN}-try2"
        assert execution.status == "SUCCEEDED"
        assert not dict(execution.inputs)["DeleteEndpointWithoutCapacity"]
        assert not dict(execution.inputs)["WaitForEndpointCapacity"]

    @pytest.mark.parametrize("ended", WITHOUT)
    def test_waits_five_minutes_for_the_only_type_and_ends_after_three_attempts(self, ended: dict[str, Any]) -> None:
        execution = endpoints(ended)
        names = [asked["EndpointName"] for asked in execution.asked("CreateEndpoint")]
        assert names == [RUN, f"{RUN}-try2", f"{RUN}-try3"]
        assert execution.pauses("CreateEndpoint") == [330, 330]
        assert execution.error == "NoCapacity"
        assert execution.cause == (
            f"AWS had no free {FIRST} for the endpoint in 3 attempts. Start again later, or list further types in "
            f"hosting_instance_type (cdk.json) and deploy.{KEPT}"
        )

    def test_takes_the_next_type_of_the_list_at_once_and_begins_again_at_its_end(self) -> None:
        execution = endpoints(self.WITHOUT[0], planned=BOTH_TYPES)
        configs = execution.asked("CreateEndpointConfig")
        assert [asked["ProductionVariants"][0]["InstanceType"] for asked in configs] == [FIRST, SECOND, FIRST]
        assert execution.pauses("CreateEndpoint") == [35, 330]
        assert f"no free {FIRST} or {SECOND} for the endpoint" in str(execution.cause)
        assert (
            endpoints(self.WITHOUT[0], endpoint(), planned=BOTH_TYPES).asked("WriteReport")[0]["hostingInstanceType"]
            == SECOND
        )

    @pytest.mark.parametrize("error", ["SageMaker.SageMakerException", "States.Timeout"])
    def test_that_cannot_be_deleted_or_is_gone_already_is_left_to_tear_down(self, error: str) -> None:
        gone = Failure(error, f'Could not find endpoint "{RUN}".')
        scripts = account().script("sagemaker:describeEndpoint", self.WITHOUT[0], endpoint())
        scripts.script("${PreflightFunctionArn}", dict(BOTH_TYPES))
        execution = run(scripts.fail("DeleteEndpointWithoutCapacity", gone, for_ever=True))
        assert execution.status == "SUCCEEDED"
        assert execution.pauses("DeleteEndpointWithoutCapacity") == [5, 12.5, 31.25, 60]
        assert [asked["EndpointName"] for asked in execution.asked("CreateEndpoint")] == [RUN, f"{RUN}-try2"]
        assert execution.asked("CreateEndpointConfig")[-1]["ProductionVariants"][0]["InstanceType"] == SECOND
        assert execution.asked("WriteReport")[0]["hostingInstanceType"] == SECOND
        assert not dict(execution.inputs)["WaitForEndpointCapacity"]


@pytest.mark.parametrize("status", ["Failed", "OutOfService", "Deleting"])
@pytest.mark.parametrize("reason", ["The container did not pass the ping health check.", None])
def test_an_endpoint_that_will_never_serve_ends_the_run_and_names_the_adapter(status: str, reason: str | None) -> None:
    execution = endpoints(endpoint(status, reason))
    assert execution.error == "EndpointFailed"
    assert execution.cause == (
        f"Endpoint {RUN} became {status}: {reason or 'no reason given'} Its log is in CloudWatch, group "
        f"/aws/sagemaker/Endpoints/{RUN}.{KEPT}"
    )
    assert len(execution.asked("CreateEndpoint")) == 1


def test_an_adapter_of_an_earlier_run_is_served_and_nothing_is_trained() -> None:
    execution = run(account().script("${PreflightFunctionArn}", plan(adapterUri="s3://bucket/earlier/")))
    assert execution.status == "SUCCEEDED"
    assert execution.asked("StartTraining") == []
    (source,) = execution.asked("CreateModel")[0]["PrimaryContainer"]["AdditionalModelDataSources"]
    assert source["S3DataSource"]["S3Uri"] == "s3://bucket/earlier/"
    assert execution.asked("WriteReport")[0]["adapterUri"] == "s3://bucket/earlier/"
