"""What FineTuning makes of what SageMaker says of its job and its endpoint: go on, wait, try again, or stop by name; and what decides in its requests."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from failure import TrainingFailure
from inputs import find_model
from rehearsal.step_functions.interpreter import Failure
from tests.doubles.machines.fine_tuning_run import (
    ADAPTER,
    ARN,
    HOSTING,
    KEPT,
    PLAN,
    REPORT,
    RESERVATION,
    RUN,
    SECOND,
    TRAINING,
    endpoint,
    job,
    plan,
    run,
)
from tests.doubles.machines.walk import USUAL, Walk

NO_INSTANCE = [
    "CapacityError: There is none.",
    "InsufficientInstanceCapacity",
    "Unable to provision requested ML compute capacity.",
    "Request to service failed. If failure persists after retry, contact customer support.",
]
CUT = job("Stopped", "MaxRuntimeExceeded")
LACKED = endpoint("Failed", NO_INSTANCE[1])
WAITED = partial(job, "Stopped", "MaxWaitTimeExceeded")  # on spot
SPOT = plan(training_spot=True, training_instanceTypes=[TRAINING, SECOND])
TWO_TYPES = plan(training_instanceTypes=[TRAINING, SECOND], hosting_instanceTypes=[HOSTING, SECOND])
EARLIER = "s3://bucket/earlier/"
INTERRUPTED = [{"Status": name} for name in ("Interrupted", "Starting", "Downloading", "Training")]


def report_event(execution: Walk) -> Any:
    """What WriteReport gets."""
    return execution.asked("WriteReport")[0]


def served(execution: Walk) -> Any:
    (model,) = execution.asked("CreateModel")
    return model["PrimaryContainer"]["AdditionalModelDataSources"][0]["S3DataSource"]["S3Uri"]


def started(execution: Walk) -> list[Any]:
    return execution.asked("StartTraining") + execution.asked("StartSpotTraining")


def test_each_model_is_asked_until_no_prompt_remains() -> None:
    remaining = [{"remaining": 2}, {"remaining": 1}, {"remaining": 0}]
    execution = run(AskBaseModel=remaining, AskFineTunedModel=remaining)
    assert [len(execution.asked(state)) for state in ("AskBaseModel", "AskFineTunedModel")] == [3, 3]


def test_a_successful_run_answers_with_the_verdict_and_the_addresses() -> None:
    assert run().output == REPORT


on_both = pytest.mark.parametrize("planned", [plan(), SPOT], ids=["on demand", "spot"])


@on_both
@pytest.mark.parametrize("said", ["s3://bucket/deep/model", "s3://bucket/deep/model/"])
@pytest.mark.parametrize(
    "ended", [job(), CUT, job("Stopped", "MaxRuntimeExceeded", billed=0), WAITED(), WAITED(billed=1)]
)
def test_the_adapter_lies_where_sagemaker_says_also_of_a_job_that_was_cut(ended: Any, said: str, planned: Any) -> None:
    cut = ended["TrainingJobStatus"] == "Stopped"
    artifacts = {"ModelArtifacts": {"S3ModelArtifacts": said}}
    execution = run(Preflight=planned, DescribeTraining=ended | artifacts)
    looked = {"Bucket": "bucket", "Prefix": "deep/model/metrics.json", "MaxKeys": 1}
    assert execution.asked("LookForAdapter") == cut * [looked]
    assert served(execution) == report_event(execution)["adapterUri"] == "s3://bucket/deep/model/"
    assert (report_event(execution)["trainingCut"], len(started(execution))) == (cut, 1)
    lost = run(Preflight=planned, DescribeTraining=ended | artifacts, DescribeEndpoint=endpoint("Failed", "No luck."))
    assert lost.cause.endswith(KEPT.replace(ADAPTER, "s3://bucket/deep/model/"))


@pytest.mark.parametrize("spot", [False, True])
def test_the_adapter_of_an_earlier_run_is_served_and_nothing_is_trained(spot: bool) -> None:
    execution = run(Preflight=plan(adapterUri=EARLIER, training_spot=spot))
    assert started(execution) == []
    assert served(execution) == report_event(execution)["adapterUri"] == EARLIER
    assert report_event(execution)["trainingJob"] == {}


# What the cause of each says, on demand and on spot.
SAID = {
    "NoCapacity": (
        f"^AWS had no free {TRAINING} for training within 7200 seconds. Nothing was billed.* training_instance_type",
        f'no free spot {TRAINING} for training within 10800 seconds. Nothing was billed.*{{"spot": false}}',
    ),
    "TrainingOutOfTime": 2 * (f"^Training job {RUN} reached its time limit of 4711 seconds ",),
    "SpotOutOfTime": 2 * (f'^Spot training job {RUN} was interrupted 2 times .* of 10800 seconds.*{{"spot": false}}',),
    "TrainingFailed": 2 * (f"^Training job {RUN} ended as .* Read its log in CloudWatch, group /aws/",),
}


@on_both
@pytest.mark.parametrize(
    ("error", "ended"),
    [
        *(("NoCapacity", job("Failed", reason=reason, billed=0)) for reason in NO_INSTANCE),
        *(("NoCapacity", job("Stopped", billed=billed)) for billed in (0, None)),  # MaxPendingTimeInSeconds was over
        ("NoCapacity", job("Stopped", billed=0, TrainingTimeInSeconds=900, TrainingStartTime="2026-11-25T12:00:00Z")),
        *(("NoCapacity", WAITED(billed=billed)) for billed in (0, None)),
        *(("TrainingFailed", job("Failed", reason=NO_INSTANCE[0], billed=billed)) for billed in (1, 900)),
        ("TrainingFailed", job("Failed", reason="AlgorithmError: the script said CapacityError", billed=0)),
        ("TrainingFailed", job("Failed", billed=0)),
        ("TrainingFailed", job("Stopped", billed=1)),
        ("TrainingFailed", job("Stopped", billed=None, TrainingTimeInSeconds=900)),
        ("TrainingFailed", job("Stopped", billed=None, TrainingStartTime="2026-11-25T12:00:00Z")),
        ("TrainingOutOfTime", CUT),
        ("SpotOutOfTime", WAITED(SecondaryStatusTransitions=2 * INTERRUPTED)),
    ],
)
def test_a_job_that_leaves_no_adapter_ends_the_run_by_name_after_the_one_try(
    error: str, ended: Any, planned: Any
) -> None:
    execution = run(Preflight=planned, DescribeTraining=[ended, job()], LookForAdapter={"KeyCount": 0})
    assert (execution.error, len(started(execution)), execution.asked("CreateModel")) == (error, 1, [])
    assert len(execution.asked("LookForAdapter")) == error.endswith("OutOfTime")
    assert re.search(SAID[error][planned is SPOT], execution.cause), execution.cause


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_the_cause_of_a_failed_job_names_its_reason_and_what_it_may_have_left(status: str) -> None:
    cause = run(DescribeTraining=job(status, "Stopping", "Out of memory.")).cause
    assert cause.startswith(f"Training job {RUN} ended as {status} (Stopping): Out of memory. Read its log ")
    left = f'metrics.json exists at {ADAPTER}, pass that address as "adapterUri"'
    assert (left in cause) is (status == "Stopped")
    assert "no reason given" in run(DescribeTraining=job(status)).cause


@pytest.mark.parametrize("files", [[], ["model.tar.gz"], ["config.json"]])
def test_a_job_without_a_base_model_ends_by_name_with_a_way_out(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(TrainingFailure) as refused:
        find_model(tmp_path)
    for reason in (
        str(refused.value),
        "ClientError: Data download failed:AccessDenied",
        "ClientError: No S3 objects found",
    ):
        execution = run(DescribeTraining=job("Failed", reason=reason, billed=130))
        assert (execution.error, execution.asked("CreateModel")) == ("WeightsUnusable", [])
        assert f"after 130 billed seconds: {reason} To train from a copy" in execution.cause
        assert "captune copy-weights" in execution.cause


class TestAnEndpointWithoutCapacity:
    @pytest.mark.parametrize("reason", NO_INSTANCE)
    def test_ends_the_run_when_no_other_try_fits_its_deadline(self, reason: str) -> None:
        """A failure seen after a minute, and pauses of 290 seconds: a try each 350, as long as 1,800 of 3,661 seconds are left."""
        execution = run(Preflight=TWO_TYPES, DescribeEndpoint=endpoint("Failed", f"Sorry. {reason}"))
        assert (execution.pauses("CreateEndpoint"), execution.error) == (6 * [350], "NoCapacity")
        types = f"{HOSTING} or {SECOND}"
        facts = f"^AWS had no free {types} for the endpoint in 7 attempts, and its deadline of 61 minutes .* hosting_instance_type .*{re.escape(KEPT)}$"
        assert re.search(facts, execution.cause), execution.cause
        assert f"The last reason: Sorry. {reason}" in execution.cause

    @pytest.mark.parametrize(("looks", "tries"), [(31, 2), (32, 1)])
    def test_is_tried_again_only_while_its_endpoint_could_still_load_and_answer(self, looks: int, tries: int) -> None:
        waits = [endpoint("Creating")] * (looks - 1)
        # To the second: 1,860 of 3,660 are over, and 290 + 1,510 are needed.
        execution = run(Preflight=plan(hosting_deadlineSeconds=3660), DescribeEndpoint=[*waits, LACKED, LACKED])
        assert (execution.error, len(execution.asked("CreateEndpoint"))) == ("NoCapacity", tries)
        assert ("1 attempt," in execution.cause) is (tries == 1)
        assert f"The last reason: {NO_INSTANCE[1]} Start a new execution later" in execution.cause

    def test_is_no_lack_of_capacity_where_a_later_try_fails_by_itself_at_the_last_moment(self) -> None:
        execution = run(DescribeEndpoint=[LACKED, *[endpoint("Creating")] * 53, endpoint("Failed", "No ping.")])
        assert execution.error == "EndpointFailed" and "became Failed: No ping." in execution.cause

    @pytest.mark.parametrize("deleted", [USUAL, Failure("States.Timeout")])
    def test_names_the_lack_and_not_the_deadline_where_the_last_try_is_still_looking(self, deleted: Any) -> None:
        execution = run(DescribeEndpoint=[LACKED, endpoint("Creating")], DeleteEndpointWithoutCapacity=deleted)
        assert (execution.error, len(execution.asked("CreateEndpoint"))) == ("NoCapacity", 2)
        assert "in 2 attempts, and its deadline of 61 minutes leaves no time for another. " in execution.cause
        assert f"The last reason: {NO_INSTANCE[1]} Start" in execution.cause


@pytest.mark.parametrize(
    ("looks", "deadline", "ends"), [([], 3660, 3600), ([], 3659, 3540), ([LACKED], 3470, 3410), ([LACKED], 3469, 3350)]
)
def test_a_run_waits_for_its_endpoint_until_two_minutes_are_left(looks: Any, deadline: int, ends: int) -> None:
    """Looks come every minute; after a try that lacked capacity the next one begins at 350 seconds."""
    planned = plan(hosting_deadlineSeconds=deadline)
    execution = run(Preflight=planned, DescribeEndpoint=[*looks, endpoint("Creating")])
    began = next(call.second for call in execution.calls if call.state == "CreateEndpoint")
    assert execution.seconds - began == ends
    assert execution.error == ("NoCapacity" if looks else "EndpointFailed")
    assert looks or f"{RUN} was still Creating when its deadline of 61 minutes came" in execution.cause


def test_a_run_that_only_serves_waits_for_its_endpoint_and_asks_nothing() -> None:
    planned = plan(adapterUri=EARLIER, serveOnly=True)
    execution = run(Preflight=planned, DescribeEndpoint=[endpoint("Creating"), endpoint()])
    reason = f"It served the adapter {EARLIER} and asked nothing."
    assert execution.output == {"run": RUN, "verdict": "served", "reason": reason, "reservedCents": 587}
    assert execution.pauses("DescribeEndpoint") == [60]
    assert execution.asked("AskBaseModel") == execution.asked("WriteReport") == []
    assert run(Preflight=planned, DescribeEndpoint=endpoint("Failed", "No luck.")).error == "EndpointFailed"


@pytest.mark.parametrize(
    ("selected", "counts", "told"),
    [
        ({"SelectedInstanceType": SECOND}, {HOSTING: 0, SECOND: 1}, [SECOND, SECOND]),
        ({}, {HOSTING: 0}, [TRAINING, HOSTING]),
    ],
    ids=["the selected one", "the first of the list while SageMaker does not tell"],
)
def test_the_report_is_told_which_type_sagemaker_selected(selected: Any, counts: Any, told: list[str]) -> None:
    trained, serving = job(ResourceConfig=selected), endpoint(pools=counts)
    execution = run(Preflight=TWO_TYPES, DescribeTraining=trained, DescribeEndpoint=serving)
    assert [report_event(execution)[f"{use}InstanceType"] for use in ("training", "hosting")] == told


@pytest.mark.parametrize("status", ["Failed", "OutOfService", "Deleting"])
@pytest.mark.parametrize("reason", ["No ping.", None, "AlgorithmError: the server said CapacityError."])
def test_an_endpoint_that_never_serves_ends_the_run_and_names_the_adapter(status: str, reason: str | None) -> None:
    execution = run(DescribeEndpoint=endpoint(status, reason))
    assert (execution.error, len(execution.asked("CreateEndpoint"))) == ("EndpointFailed", 1)
    facts = f"^Endpoint {RUN} became {status}: {reason or 'no reason given'} .*group /aws/sagemaker/Endpoints/{RUN}, and correct the problem.{KEPT}$"
    assert re.search(facts, execution.cause), execution.cause


@pytest.mark.parametrize("times", [0, 1, 3])
def test_the_report_is_told_of_interruptions_and_of_seconds_taken_and_billed(times: int) -> None:
    ended = job(billed=1500, TrainingTimeInSeconds=4000, SecondaryStatusTransitions=times * INTERRUPTED)
    execution = run(Preflight=SPOT, DescribeTraining=[job("InProgress", "Interrupted", billed=300), ended])
    assert execution.pauses("DescribeTraining") == [60]
    told = {"interruptions": times, "trainingSeconds": 4000, "billedSeconds": 1500}
    assert report_event(execution)["trainingJob"] == told
    unknown = dict.fromkeys(told, 0)
    assert report_event(run(DescribeTraining=job(billed=None)))["trainingJob"] == unknown


def test_the_report_is_told_of_plan_and_reservation() -> None:
    told = report_event(run())
    assert (told["plan"], told["reservation"]) == (PLAN, RESERVATION)


# Requests. The table of failures calls every state, and AWS's models check the fields of each request.

SERVED = ["HostingRoleArn", "HostingImage", "WeightsUri", "LoraRank", "Domain", "MaxConcurrentRequests"]
SERVER, ENDS = ["InferenceAmiVersion"], ["TearDownArn", "SchedulerRoleArn"]
CONTAINERS = ["TryModel", "StartTraining", "CreateModel"]


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


def test_a_container_has_no_network() -> None:
    isolated = [call.arguments["EnableNetworkIsolation"] for call in run().calls if call.state in CONTAINERS]
    assert isolated == [True, True, True]


@pytest.mark.parametrize(
    ("state", "at"),
    # The run began at 12:00:00, its job was looked at after a minute, and its endpoint may live for 3,661 seconds.
    [("ScheduleTearDown", "2026-11-26T01:00:00"), ("SetEndpointDeadline", "2026-11-10T13:02:01")],
)
def test_a_schedule_starts_teardown_on_time_and_for_a_day_where_it_cannot(state: str, at: str) -> None:
    (schedule,) = run().asked(state)
    event = {"executionArn": ARN, "executionName": "one", "status": "UNKNOWN", "reason": "schedule"}
    assert (schedule["Name"], schedule["ScheduleExpression"]) == (RUN, f"at({at})")
    assert json.loads(schedule["Target"]["Input"]) == event
    assert schedule["Target"]["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86_400}


def test_the_licence_is_accepted_only_where_the_plan_accepts_it() -> None:
    for accepted in (True, False):
        execution = run(Preflight=plan(acceptEula=accepted))
        requests = [execution.asked(state) for state in CONTAINERS]
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
