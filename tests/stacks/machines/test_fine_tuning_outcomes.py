"""What FineTuning makes of what SageMaker says of its job and its endpoint: go on, wait, try again, or stop by name; and what decides in its requests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from failure import TrainingFailure
from inputs import find_model
from tests.doubles.machines.fine_tuning_run import (
    ADAPTER,
    ARN,
    HOSTING,
    KEPT,
    PLAN,
    RESERVATION,
    RUN,
    SECOND,
    TRAINING,
    endpoint,
    job,
    plan,
    run,
)
from tests.doubles.machines.walk import Walk
from verification.simulation.interpreter import Failure

NO_INSTANCE = [
    "CapacityError: There is none.",
    "InsufficientInstanceCapacity",
    "Unable to provision requested ML compute capacity.",
    "Request to service failed. If failure persists after retry, contact customer support.",
]
CUT, NOTHING_LEFT = job("Stopped", "MaxRuntimeExceeded"), {"KeyCount": 0}
WITHOUT_INSTANCE = [
    *(job("Failed", reason=reason, billed=0) for reason in NO_INSTANCE),
    job("Stopped", billed=0),  # MaxPendingTimeInSeconds was over
    job("Stopped", billed=None),
    job("Stopped", billed=0, TrainingTimeInSeconds=900, TrainingStartTime="2026-11-25T12:00:00Z"),
]
SPOT = plan(training_spot=True, training_instanceTypes=[TRAINING, SECOND])
TWO_TYPES = plan(training_instanceTypes=[TRAINING, SECOND], hosting_instanceTypes=[HOSTING, SECOND])
EARLIER = "s3://bucket/earlier/"


def interrupted(times: int) -> list[dict[str, Any]]:
    again = [{"Status": name} for name in ("Interrupted", "Starting", "Downloading", "Training")]
    return [{"Status": "Starting"}, {"Status": "Training"}, *(times * again)]


def report_event(execution: Walk) -> Any:
    """What WriteReport gets."""
    return execution.asked("WriteReport")[0]


def served(execution: Walk) -> Any:
    (model,) = execution.asked("CreateModel")
    return model["PrimaryContainer"]["AdditionalModelDataSources"][0]["S3DataSource"]["S3Uri"]


def test_each_model_is_asked_until_no_prompt_remains() -> None:
    remaining = [{"remaining": 2}, {"remaining": 1}, {"remaining": 0}]
    execution = run(AskBaseModel=remaining, AskFineTunedModel=remaining)
    assert [len(execution.asked(state)) for state in ("AskBaseModel", "AskFineTunedModel")] == [3, 3]


class TestTheAdapter:
    @pytest.mark.parametrize("said", ["s3://bucket/deep/model", "s3://bucket/deep/model/"])
    @pytest.mark.parametrize(
        "ended", [job(), CUT, job("Stopped", "MaxRuntimeExceeded", billed=0), job("Stopped", "MaxWaitTimeExceeded")]
    )
    def test_lies_where_sagemaker_says_also_of_a_job_that_was_cut(self, ended: dict[str, Any], said: str) -> None:
        cut = ended["TrainingJobStatus"] == "Stopped"
        looked = {"Bucket": "bucket", "Prefix": "deep/model/metrics.json", "MaxKeys": 1}
        for planned in (plan(), SPOT):
            execution = run(Preflight=planned, DescribeTraining=ended | {"ModelArtifacts": {"S3ModelArtifacts": said}})
            assert execution.asked("LookForAdapter") == cut * [looked]
            assert served(execution) == report_event(execution)["adapterUri"] == "s3://bucket/deep/model/"
            assert report_event(execution)["trainingCut"] is cut
            assert len(execution.asked("StartTraining") + execution.asked("StartSpotTraining")) == 1

    @pytest.mark.parametrize(
        ("ended", "kept"),
        [(job(ModelArtifacts={"S3ModelArtifacts": "s3://bucket/else"}), "s3://bucket/else/"), (CUT, ADAPTER)],
        ids=["where SageMaker says", "of a job that was cut"],
    )
    def test_is_named_where_the_run_fails_after_training(self, ended: dict[str, Any], kept: str) -> None:
        execution = run(DescribeTraining=ended, DescribeEndpoint=endpoint("Failed", "No luck."))
        assert execution.cause.endswith(KEPT.replace(ADAPTER, kept))

    @pytest.mark.parametrize("planned", [plan(adapterUri=EARLIER), plan(adapterUri=EARLIER, training_spot=True)])
    def test_of_an_earlier_run_is_served_and_nothing_is_trained(self, planned: dict[str, Any]) -> None:
        execution = run(Preflight=planned)
        assert execution.asked("StartTraining") == execution.asked("StartSpotTraining") == []
        assert served(execution) == report_event(execution)["adapterUri"] == EARLIER
        assert report_event(execution)["trainingJob"] == {}


class TestAJobThatRanOutOfTime:
    """It may have left its adapter all the same."""

    @pytest.mark.parametrize("billed", [1, 900])
    def test_on_spot_goes_on_with_what_it_left_when_its_wait_is_over(self, billed: int) -> None:
        execution = run(Preflight=SPOT, DescribeTraining=job("Stopped", "MaxWaitTimeExceeded", billed=billed))
        assert (execution.status, report_event(execution)["trainingCut"]) == ("SUCCEEDED", True)

    @pytest.mark.parametrize("planned", [plan(), SPOT], ids=["on demand", "spot"])
    def test_ends_as_out_of_time_where_it_left_nothing(self, planned: dict[str, Any]) -> None:
        execution = run(Preflight=planned, DescribeTraining=CUT, LookForAdapter=NOTHING_LEFT)
        assert (execution.error, execution.asked("CreateModel")) == ("TrainingOutOfTime", [])
        assert ADAPTER not in execution.cause

    def test_on_spot_ends_by_name_where_it_never_came_back(self) -> None:
        over = job("Stopped", "MaxWaitTimeExceeded", SecondaryStatusTransitions=interrupted(2))
        execution = run(Preflight=SPOT, DescribeTraining=over, LookForAdapter=NOTHING_LEFT)
        assert (execution.error, len(execution.asked("StartSpotTraining"))) == ("SpotOutOfTime", 1)
        facts = f'^Spot training job {RUN} was interrupted 2 times .* its 10800 seconds .*{{"spot": false}}'
        assert re.search(facts, execution.cause), execution.cause
        assert execution.asked("CreateModel") == []


@pytest.mark.parametrize("planned", [plan(), SPOT], ids=["on demand", "spot"])
@pytest.mark.parametrize(
    "ended",
    [
        job("Failed", reason=NO_INSTANCE[0], billed=900),
        job("Failed", reason=NO_INSTANCE[0], billed=1),
        job("Stopped", billed=1),
        job("Failed", reason="AlgorithmError: out of memory", billed=0),
        job("Failed", reason="AlgorithmError: the script said CapacityError", billed=0),
        job("Failed", billed=0),
        job("Stopped", billed=None, TrainingTimeInSeconds=900),
        job("Stopped", billed=None, TrainingStartTime="2026-11-25T12:00:00Z"),
    ],
)
def test_a_job_that_billed_or_failed_by_itself_is_not_started_again(ended: Any, planned: Any) -> None:
    execution = run(Preflight=planned, DescribeTraining=[ended, job()])
    assert execution.error == "TrainingFailed"
    assert len(execution.asked("StartTraining") + execution.asked("StartSpotTraining")) == 1


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_the_cause_of_a_failed_job_names_job_reason_and_log(status: str) -> None:
    cause = run(DescribeTraining=job(status, "Stopping", "Out of memory.")).cause
    assert cause.startswith(
        f"Training job {RUN} ended as {status} (Stopping): Out of memory. Its log is in CloudWatch, group /aws/"
    )
    left = f'metrics.json at {ADAPTER}, its adapter is there, and that address as "adapterUri"'
    assert (left in cause) is (status == "Stopped")
    assert cause.endswith("nothing again." if status == "Stopped" else "TrainingJobs.")
    assert "no reason given" in run(DescribeTraining=job(status)).cause


def reason_of_the_script(folder: Path, *files: str) -> str:
    """What the training script says of a model channel with these files."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    with pytest.raises(TrainingFailure) as refused:
        find_model(folder)
    return str(refused.value)


@pytest.mark.parametrize("files", [[], ["model.tar.gz"], ["config.json"], ["sub/config.json"]])
def test_a_job_without_a_base_model_ends_by_name_with_a_way_out(tmp_path: Path, files: list[str]) -> None:
    for reason in (
        reason_of_the_script(tmp_path, *files),
        "ClientError: Data download failed:AccessDenied (403): Access Denied",
        "ClientError: No S3 objects found under S3 URL",
    ):
        execution = run(DescribeTraining=job("Failed", reason=reason, billed=130))
        assert (execution.error, execution.asked("CreateModel")) == ("WeightsUnusable", [])
        assert execution.cause.startswith(
            f"Training job {RUN} found no base model that it can train in its model channel, "
        )
        assert f"after 130 billed seconds: {reason} To use a copy of your own" in execution.cause
        assert "weights_uri" in execution.cause


class TestTrainingWithoutCapacity:
    @pytest.mark.parametrize("ended", WITHOUT_INSTANCE)
    def test_ends_the_run_after_the_one_wait(self, ended: dict[str, Any]) -> None:
        execution = run(DescribeTraining=ended)
        assert (execution.error, len(execution.asked("StartTraining"))) == ("NoCapacity", 1)
        facts = f"^AWS had no free {TRAINING} for training within 7200 seconds, and nothing was billed.* training_instance_type"
        assert re.search(facts, execution.cause), execution.cause
        assert execution.asked("CreateEndpoint") == []

    @pytest.mark.parametrize(
        "ended", [*WITHOUT_INSTANCE, *(job("Stopped", "MaxWaitTimeExceeded", billed=billed) for billed in (0, None))]
    )
    def test_ends_a_spot_run_which_has_waited_long_enough(self, ended: dict[str, Any]) -> None:
        execution = run(Preflight=SPOT, DescribeTraining=[ended, job()])
        assert (execution.error, len(execution.asked("StartSpotTraining"))) == ("NoCapacity", 1)
        assert execution.asked("StartTraining") == execution.asked("LookForAdapter") == []
        facts = f'no free spot {TRAINING} for training within 10800 seconds, and nothing was billed.*{{"spot": false}}'
        assert re.search(facts, execution.cause), execution.cause


class TestAnEndpointWithoutCapacity:
    @pytest.mark.parametrize("reason", NO_INSTANCE)
    def test_ends_the_run_when_no_other_try_fits_its_deadline(self, reason: str) -> None:
        """A failure seen after a minute, and pauses of 290 seconds: a try each 350, as long as 1,800 of 3,661 seconds are left."""
        execution = run(Preflight=TWO_TYPES, DescribeEndpoint=endpoint("Failed", f"Sorry. {reason}"))
        assert (execution.pauses("CreateEndpoint"), execution.error) == (6 * [350], "NoCapacity")
        types = f"{HOSTING} or {SECOND}"
        facts = f"^AWS had no free {types} for the endpoint in 7 attempts, and its deadline of 61 minutes .* hosting_instance_type .*{re.escape(KEPT)}$"
        assert re.search(facts, execution.cause), execution.cause
        assert f"The endpoint last said: Sorry. {reason}" in execution.cause

    @pytest.mark.parametrize(("looks", "tries"), [(31, 2), (32, 1)])
    def test_is_tried_again_only_while_its_endpoint_could_still_load_and_answer(self, looks: int, tries: int) -> None:
        waits = [endpoint("Creating")] * (looks - 1)
        failed = endpoint("Failed", NO_INSTANCE[1])
        # To the second: 1,860 of 3,660 are over, and 290 + 1,510 are needed.
        execution = run(Preflight=plan(hosting_deadlineSeconds=3660), DescribeEndpoint=[*waits, failed, failed])
        assert (execution.error, len(execution.asked("CreateEndpoint"))) == ("NoCapacity", tries)
        assert ("1 attempt," in execution.cause) is (tries == 1)
        assert f"The endpoint last said: {NO_INSTANCE[1]} Start again later" in execution.cause

    def test_is_no_lack_of_capacity_where_a_later_try_fails_by_itself_at_the_last_moment(self) -> None:
        looks = [endpoint("Failed", NO_INSTANCE[1]), *[endpoint("Creating")] * 53, endpoint("Failed", "No ping.")]
        execution = run(DescribeEndpoint=looks)
        assert execution.error == "EndpointFailed" and "became Failed: No ping." in execution.cause

    def test_counts_a_try_whose_endpoint_could_not_be_deleted(self) -> None:
        looks = [endpoint("Failed", NO_INSTANCE[1]), endpoint("Creating")]
        execution = run(DescribeEndpoint=looks, DeleteEndpointWithoutCapacity=Failure("States.Timeout"))
        assert "in 2 attempts" in execution.cause

    def test_names_the_lack_and_not_the_deadline_where_the_last_try_is_still_looking(self) -> None:
        execution = run(DescribeEndpoint=[endpoint("Failed", NO_INSTANCE[1]), endpoint("Creating")])
        assert (execution.error, len(execution.asked("CreateEndpoint"))) == ("NoCapacity", 2)
        assert (
            f"in 2 attempts, and its deadline of 61 minutes leaves no time for another. The endpoint last said: {NO_INSTANCE[1]} "
            in execution.cause
        )
        assert 3661 - 120 < execution.seconds - first_second(execution, "CreateEndpoint") < 3661


LACKED = [endpoint("Failed", NO_INSTANCE[1])]


def first_second(execution: Walk, state: str) -> float:
    return next(call.second for call in execution.calls if call.state == state)


@pytest.mark.parametrize(
    ("looks", "deadline", "ends"), [([], 3660, 3600), ([], 3659, 3540), (LACKED, 3470, 3410), (LACKED, 3469, 3350)]
)
def test_a_run_waits_for_its_endpoint_until_two_minutes_are_left(looks: Any, deadline: int, ends: int) -> None:
    """Looks come every minute; after a try that lacked capacity the next one begins at 350 seconds."""
    planned = plan(hosting_deadlineSeconds=deadline)
    execution = run(Preflight=planned, DescribeEndpoint=[*looks, endpoint("Creating")])
    assert execution.seconds - first_second(execution, "CreateEndpoint") == ends
    assert execution.error == ("NoCapacity" if looks else "EndpointFailed")
    assert looks or f"{RUN} was still Creating when its deadline of 61 minutes came" in execution.cause


def test_a_run_that_only_serves_waits_for_its_endpoint_and_asks_nothing() -> None:
    planned = plan(adapterUri=EARLIER, serveOnly=True)
    execution = run(Preflight=planned, DescribeEndpoint=[endpoint("Creating"), endpoint()])
    assert (execution.status, execution.output["verdict"], execution.pauses("DescribeEndpoint")) == (
        "SUCCEEDED", "served", [60],
    )  # fmt: skip
    assert execution.asked("AskBaseModel") == execution.asked("WriteReport") == []
    assert run(Preflight=planned, DescribeEndpoint=endpoint("Failed", "No luck.")).error == "EndpointFailed"


class TestTheTypeThatSageMakerSelects:
    def test_is_told_to_the_report(self) -> None:
        trained = job(ResourceConfig={"SelectedInstanceType": SECOND, "SelectedInstanceCount": 1})
        served = endpoint(pools={HOSTING: 0, SECOND: 1})
        execution = run(Preflight=TWO_TYPES, DescribeTraining=trained, DescribeEndpoint=served)
        assert [report_event(execution)[f"{use}InstanceType"] for use in ("training", "hosting")] == [SECOND, SECOND]

    def test_is_the_first_of_the_list_while_sagemaker_does_not_tell(self) -> None:
        unknown = endpoint(pools={HOSTING: 0, SECOND: 0})
        execution = run(Preflight=TWO_TYPES, DescribeTraining=job(ResourceConfig={}), DescribeEndpoint=unknown)
        assert [report_event(execution)[f"{use}InstanceType"] for use in ("training", "hosting")] == [TRAINING, HOSTING]


@pytest.mark.parametrize("status", ["Failed", "OutOfService", "Deleting"])
@pytest.mark.parametrize("reason", ["No ping.", None, "AlgorithmError: the server said CapacityError."])
def test_an_endpoint_that_never_serves_ends_the_run_and_names_the_adapter(status: str, reason: str | None) -> None:
    execution = run(DescribeEndpoint=endpoint(status, reason))
    assert (execution.error, len(execution.asked("CreateEndpoint"))) == ("EndpointFailed", 1)
    facts = (
        f"^Endpoint {RUN} became {status}: {reason or 'no reason given'} .*group /aws/sagemaker/Endpoints/{RUN}.{KEPT}$"
    )
    assert re.search(facts, execution.cause), execution.cause


@pytest.mark.parametrize("times", [0, 1, 3])
def test_the_report_is_told_of_interruptions_and_of_seconds_taken_and_billed(times: int) -> None:
    ended = job(billed=1500, TrainingTimeInSeconds=4000, SecondaryStatusTransitions=interrupted(times))
    execution = run(Preflight=SPOT, DescribeTraining=[job("InProgress", "Interrupted", billed=300), ended])
    assert execution.pauses("DescribeTraining") == [60]
    assert report_event(execution)["trainingJob"] == {
        "interruptions": times,
        "trainingSeconds": 4000,
        "billedSeconds": 1500,
    }
    unknown = {"interruptions": 0, "trainingSeconds": 0, "billedSeconds": 0}
    assert report_event(run(DescribeTraining=job(billed=None)))["trainingJob"] == unknown


def test_the_report_is_told_of_plan_reservation_and_adapter() -> None:
    told = report_event(run())
    assert (told["plan"], told["reservation"], told["adapterUri"]) == (PLAN, RESERVATION, ADAPTER)
    assert told["trainingCut"] is False


# Requests. The table of failures calls every state, and AWS's models check the fields of each request.

SERVED = ["HostingRoleArn", "HostingImage", "WeightsUri", "LoraRank", "Domain", "MaxConcurrentRequests"]
SERVER, ENDS = ["InferenceAmiVersion"], ["TearDownArn", "SchedulerRoleArn"]


def test_each_request_has_the_deployments_own_values_in_their_places() -> None:
    found = {call.state: re.findall(r"\$\{(\w+)\}", json.dumps(call.arguments)) for call in run().calls}
    assert {state: names for state, names in found.items() if names} == {
        "Preflight": ["DefinitionVersion"],
        "ScheduleTearDown": ENDS,
        "TryModel": SERVED,
        "TryEndpointConfig": SERVER,
        "StartTraining": ["TrainingRoleArn", "TrainingImage", "WeightsUri"],
        "CreateModel": SERVED,
        "SetEndpointDeadline": ENDS,
        "CreateEndpointConfig": SERVER,
        "AskFineTunedModel": ["Domain"],
    }


@pytest.mark.parametrize("state", ["TryModel", "StartTraining", "CreateModel"])
def test_a_container_has_no_network(state: str) -> None:
    assert run().asked(state)[0]["EnableNetworkIsolation"] is True


@pytest.mark.parametrize(
    ("state", "at"),
    # The run began at 12:00:00, its job was looked at after a minute, and its endpoint may live for 3,661 seconds.
    [("ScheduleTearDown", "2026-11-26T01:00:00"), ("SetEndpointDeadline", "2026-11-10T13:02:01")],
)
def test_a_schedule_starts_tear_down_on_time_and_for_a_day_where_it_cannot(state: str, at: str) -> None:
    (schedule,) = run().asked(state)
    event = {"executionArn": ARN, "executionName": "one", "status": "UNKNOWN", "reason": "schedule"}
    assert (schedule["Name"], schedule["ScheduleExpression"]) == (RUN, f"at({at})")
    assert json.loads(schedule["Target"]["Input"]) == event
    assert schedule["Target"]["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86_400}


def test_the_licence_is_accepted_only_where_the_plan_accepts_it() -> None:
    for accepted in (True, False):
        execution = run(Preflight=plan(acceptEula=accepted))
        requests = [execution.asked(state) for state in ("TryModel", "StartTraining", "CreateModel")]
        assert [f"'AcceptEula': {accepted}" in str(request) for request in requests] == [True, True, True]


def test_a_spot_job_differs_only_in_spot_and_how_long_it_may_wait() -> None:
    execution = run(Preflight=plan(training_spot=True))
    spot = {"MaxRuntimeInSeconds": 4711, "MaxWaitTimeInSeconds": 10_800}
    (job,) = run().asked("StartTraining")
    assert execution.asked("StartSpotTraining") == [
        job | {"EnableManagedSpotTraining": True, "StoppingCondition": spot}
    ]
    assert execution.asked("StartTraining") == []


def test_lists_of_types_reach_sagemaker_as_they_are_planned() -> None:
    pools = {
        "InstancePools": [{"InstanceType": HOSTING, "Priority": 1}],
        "VariantInstanceProvisionTimeoutInSeconds": 300,
    }
    resources = {"InstancePreferences": [{"InstanceType": TRAINING}], "InstanceCount": 3, "VolumeSizeInGB": 100}
    execution = run(Preflight=plan(training_resources=resources, hosting_instances=pools))
    assert execution.asked("StartTraining")[0]["ResourceConfig"] == resources
    for state in ("TryEndpointConfig", "CreateEndpointConfig"):
        ((variant,),) = (asked["ProductionVariants"] for asked in execution.asked(state))
        assert (pools.items() <= variant.items(), "InstanceType" in variant) == (True, False)


def test_losses_are_read_from_the_lines_that_training_prints() -> None:
    metrics = run().asked("StartTraining")[0]["AlgorithmSpecification"]["MetricDefinitions"]
    lines = [
        "progress step=1 loss=2.5 tokens_per_second=31.0",
        *(f"{text} model={model} loss=3.25" for text in ("heldout", "outside") for model in ("base", "tuned")),
    ]
    read = {m["Name"]: [found[1] for line in lines if (found := re.search(m["Regex"], line))] for m in metrics}
    assert read.pop("train:loss") == ["2.5"] and read.pop("train:tokens_per_second") == ["31.0"]
    assert read == {f"{text}:{model}_loss": ["3.25"] for text in ("heldout", "outside") for model in ("base", "tuned")}
