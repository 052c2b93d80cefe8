"""What FineTuning asks of AWS and of its Lambdas: every call of a usual run in order, with what decides in its request.

That each request has the fields that the service knows, AWS's models check in every run; what it is made of is in the definition.
"""

from __future__ import annotations

import json
import re

import pytest

from tests.doubles.machines.fine_tuning_run import (
    ADAPTER,
    ARN,
    HOSTING,
    PLAN,
    REPORT,
    RESERVATION,
    RUN,
    TRAINING,
    plan,
    run,
)
from verification.simulation.definitions import task_states

TRIAL = f"{RUN}-try0"
SERVED = {"HostingRoleArn", "HostingImage", "WeightsUri", "LoraRank", "Domain", "MaxConcurrentRequests"}
ENDS = {"TearDownArn", "SchedulerRoleArn"}
# By state, in the order of the calls: what is called, and which of the deployment's own values its request names.
CALLS: dict[str, tuple[str, set[str]]] = {
    "Preflight": ("${PreflightFunctionArn}", {"DefinitionVersion"}),
    "ReserveBudget": ("${ReserveFunctionArn}", set()),
    "ScheduleTearDown": ("scheduler:createSchedule", ENDS),
    "StageInput": ("${StageFunctionArn}", set()),
    "TryModel": ("sagemaker:createModel", SERVED),
    "TryEndpointConfig": ("sagemaker:createEndpointConfig", {"InferenceAmiVersion"}),
    "StartTraining": ("sagemaker:createTrainingJob", {"TrainingRoleArn", "TrainingImage", "WeightsUri"}),
    "DescribeTraining": ("sagemaker:describeTrainingJob", set()),
    "CreateModel": ("sagemaker:createModel", SERVED),
    "SetEndpointDeadline": ("scheduler:updateSchedule", ENDS),
    "CreateEndpointConfig": ("sagemaker:createEndpointConfig", {"InferenceAmiVersion"}),
    "CreateEndpoint": ("sagemaker:createEndpoint", set()),
    "DescribeEndpoint": ("sagemaker:describeEndpoint", set()),
    "AskBaseModel": ("${AskFunctionArn}", set()),
    "AskFineTunedModel": ("${AskFunctionArn}", {"Domain"}),
    "WriteReport": ("${ReportFunctionArn}", set()),
}


@pytest.mark.parametrize("state", CALLS)
def test_each_state_calls_once_with_the_deployments_own_names(state: str) -> None:
    (call,) = (call for call in run().calls if call.state == state)
    assert (call.operation, set(re.findall(r"\$\{(\w+)\}", json.dumps(call.arguments)))) == CALLS[state]


def test_a_usual_run_reserves_then_schedules_its_end_then_pays() -> None:
    execution = run()
    called = [call.state for call in execution.calls]
    assert [state for state in called if state in CALLS] == list(CALLS)
    # The definition is written in this order, and whatever asks a service for something is here.
    assert called == [state for state in task_states("fine_tuning") if state in called]
    assert all(call.operation.endswith("FunctionArn}") for call in execution.calls if call.state not in CALLS)
    assert (execution.status, execution.output) == ("SUCCEEDED", REPORT)


def test_each_resource_is_called_by_the_runs_name_and_each_role_stands_in_its_place() -> None:
    execution = run()
    (job,), (trial,), (model,) = (execution.asked(state) for state in ("StartTraining", "TryModel", "CreateModel"))
    assert (job["TrainingJobName"], trial["ModelName"], model["ModelName"]) == (RUN, TRIAL, RUN)
    assert (job["RoleArn"], model["ExecutionRoleArn"]) == ("${TrainingRoleArn}", "${HostingRoleArn}")
    assert (model["PrimaryContainer"]["Image"], job["EnableNetworkIsolation"]) == ("${HostingImage}", True)
    assert trial == {**model, "ModelName": TRIAL, "PrimaryContainer": trial["PrimaryContainer"]}
    assert trial["EnableNetworkIsolation"] and job["AlgorithmSpecification"]["TrainingImage"] == "${TrainingImage}"
    assert (job["ResourceConfig"]["InstanceType"], job["StoppingCondition"]["MaxRuntimeInSeconds"]) == (TRAINING, 4711)
    for state, name in (("TryEndpointConfig", TRIAL), ("CreateEndpointConfig", RUN)):
        ((variant,),) = (asked["ProductionVariants"] for asked in execution.asked(state))
        assert (variant["ModelName"], variant["InstanceType"], variant["InitialInstanceCount"]) == (name, HOSTING, 1)
        assert (
            variant["ModelDataDownloadTimeoutInSeconds"] + variant["ContainerStartupHealthCheckTimeoutInSeconds"]
            == 1900
        )


@pytest.mark.parametrize(
    ("state", "at"),
    # The run began at 12:00:00, its job was looked at after a minute, and its endpoint may live for 3,661 seconds.
    [("ScheduleTearDown", "2026-11-26T01:00:00"), ("SetEndpointDeadline", "2026-11-10T13:02:01")],
)
def test_a_schedule_starts_tear_down_on_time_and_stays_until_it_is_deleted(state: str, at: str) -> None:
    (schedule,) = run().asked(state)
    target = schedule["Target"]
    event = {"executionArn": ARN, "executionName": "one", "status": "UNKNOWN", "reason": "schedule"}
    assert (schedule["Name"], schedule["ScheduleExpression"]) == (RUN, f"at({at})")
    assert (target["Arn"], target["RoleArn"], json.loads(target["Input"])) == (
        "${TearDownArn}", "${SchedulerRoleArn}", event,
    )  # fmt: skip
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86_400}


def test_the_report_is_told_of_plan_reservation_and_training() -> None:
    (told,) = run().asked("WriteReport")
    assert (told["plan"], told["reservation"], told["adapterUri"]) == (PLAN, RESERVATION, ADAPTER)
    assert told["trainingJob"] == {"interruptions": 0, "trainingSeconds": 0, "billedSeconds": 900}
    assert told["trainingCut"] is False


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
