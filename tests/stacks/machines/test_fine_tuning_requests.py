"""What FineTuning asks of AWS, field by field where a field costs money, opens a door or decides what is measured."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.doubles.machines.fine_tuning_run import ADAPTER, ARN, FIRST, PLAN, RUN, account, plan, run

WEIGHTS = "${WeightsUri}"
TAGS = [{"Key": "project", "Value": "captune"}, {"Key": "run", "Value": RUN}]


def asked(state: str, **changes: Any) -> Any:
    """What the only call of a state is given, in a usual run of a plan with changes."""
    (arguments,) = run(account().script("${PreflightFunctionArn}", plan(**changes))).asked(state)
    return arguments


def test_preflight_is_told_which_execution_this_is_and_what_the_person_typed() -> None:
    execution = run()
    assert [call.operation for call in execution.calls[:2]] == ["${PreflightFunctionArn}", "${ReserveFunctionArn}"]
    (told,) = execution.asked("Preflight")
    assert told == {
        "executionName": "one",
        "executionArn": ARN,
        "definitionVersion": "${DefinitionVersion}",
        "input": {"samplesPerPrompt": 2},
    }


def test_the_budget_is_asked_for_the_whole_plan() -> None:
    assert asked("ReserveBudget") == PLAN


def test_the_input_is_staged_by_the_plan_once_the_run_owns_its_name_and_before_anything_needs_it() -> None:
    execution = run()
    assert execution.asked("StageInput") == [PLAN]
    calls = [call.state for call in execution.calls]
    assert calls.index("ReserveBudget") < calls.index("StageInput") < calls.index("TryModel")


class TestTheDeadMansSwitch:
    """It starts TearDown when everything else is lost. It is never taken away by AWS, for TearDown itself takes it away last."""

    def test_is_set_before_anything_bills(self) -> None:
        calls = [call.state for call in run().calls]
        assert calls.index("ReserveBudget") < calls.index("ScheduleTearDown") < calls.index("TryModel")

    def test_goes_off_at_the_latest_moment_of_the_plan_and_then_at_the_endpoints_own_deadline(self) -> None:
        execution = run(account().script("${PreflightFunctionArn}", plan(hosting_deadlineSeconds=3661)))
        (first,), (second,) = execution.asked("ScheduleTearDown"), execution.asked("SetEndpointDeadline")
        assert first["ScheduleExpression"] == "at(2026-11-26T01:00:00)"
        # The run began at 12:00:00 and a job was looked at after 30 seconds.
        assert second["ScheduleExpression"] == "at(2026-11-25T13:01:31)"
        assert first["Name"] == second["Name"] == RUN
        assert execution.states.index("SetEndpointDeadline") < execution.states.index("CreateEndpointConfig")

    @pytest.mark.parametrize("state", ["ScheduleTearDown", "SetEndpointDeadline"])
    def test_goes_off_on_time_in_utc_stays_and_tries_for_a_day(self, state: str) -> None:
        schedule = asked(state)
        assert schedule["ScheduleExpressionTimezone"] == "UTC"
        assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
        assert schedule["ActionAfterCompletion"] == "NONE"
        assert schedule["Target"]["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86400}

    @pytest.mark.parametrize("state", ["ScheduleTearDown", "SetEndpointDeadline"])
    def test_starts_the_tear_down_of_this_very_execution(self, state: str) -> None:
        target = asked(state)["Target"]
        assert (target["Arn"], target["RoleArn"]) == ("${TearDownArn}", "${SchedulerRoleArn}")
        assert json.loads(target["Input"]) == {
            "executionArn": ARN, "executionName": "one", "status": "UNKNOWN", "reason": "schedule",
        }  # fmt: skip


class TestTheTrainingJob:
    def test_runs_as_long_as_was_reserved_on_one_instance_of_the_reserved_type(self) -> None:
        job = asked("StartTraining", training_maxRuntimeSeconds=4711, training_instanceType="ml.g5.12xlarge")
        assert job["ResourceConfig"] == {"InstanceType": "ml.g5.12xlarge", "InstanceCount": 1, "VolumeSizeInGB": 100}
        assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 4711, "MaxPendingTimeInSeconds": 1800}

    def test_takes_its_count_disk_and_waiting_time_from_the_plan_alone(self) -> None:
        job = asked(
            "StartTraining", training_instanceCount=2, training_volumeSizeGb=33, training_maxPendingSeconds=7200
        )
        assert (job["ResourceConfig"]["InstanceCount"], job["ResourceConfig"]["VolumeSizeInGB"]) == (2, 33)
        assert job["StoppingCondition"]["MaxPendingTimeInSeconds"] == 7200

    def test_bears_the_runs_name_and_tags_and_takes_nothing_but_its_role(self) -> None:
        job = asked("StartTraining")
        assert (job["TrainingJobName"], job["Tags"], job["RoleArn"]) == (RUN, TAGS, "${TrainingRoleArn}")

    def test_reaches_no_network(self) -> None:
        assert asked("StartTraining")["EnableNetworkIsolation"] is True

    def test_runs_the_projects_own_script_in_the_pinned_image(self) -> None:
        algorithm = asked("StartTraining")["AlgorithmSpecification"]
        assert algorithm["TrainingImage"] == "${TrainingImage}"
        assert algorithm["ContainerEntrypoint"] == ["python3", "/opt/ml/input/data/code/train.py"]
        assert algorithm["ContainerArguments"] == ["--root", "/opt/ml"]
        assert algorithm["TrainingInputMode"] == "File"

    def test_is_given_the_hyperparameters_of_the_plan_and_prints_at_once(self) -> None:
        job = asked("StartTraining", training_hyperparameters={"epochs": "7", "seed": "1", "more_seeds": "2,3"})
        assert job["HyperParameters"] == {"epochs": "7", "seed": "1", "more_seeds": "2,3"}
        assert job["Environment"] == {"PYTHONUNBUFFERED": "1"}

    def test_reads_weights_corpus_evaluation_and_code_whole_and_as_they_are(self) -> None:
        channels = {channel.pop("ChannelName"): channel for channel in asked("StartTraining")["InputDataConfig"]}
        sources = {name: channel["DataSource"]["S3DataSource"] for name, channel in channels.items()}
        assert {name: source.pop("S3Uri") for name, source in sources.items()} == {
            "model": WEIGHTS,
            "corpus": "s3://bucket/corpus",
            "evaluation": "s3://bucket/evaluation",
            "code": "s3://bucket/code",
        }
        assert sources.pop("model").pop("ModelAccessConfig") == {"AcceptEula": True}
        whole = {"S3DataType": "S3Prefix", "S3DataDistributionType": "FullyReplicated"}
        assert all(source == whole for source in sources.values())
        for channel in channels.values():
            assert (channel["CompressionType"], channel["InputMode"]) == ("None", "File")
            assert {**channel["DataSource"]["S3DataSource"], "ModelAccessConfig": 0} == whole | {"ModelAccessConfig": 0}

    def test_writes_an_adapter_that_hosting_can_read_and_checkpoints(self) -> None:
        job = asked("StartTraining")
        assert job["OutputDataConfig"] == {
            "S3OutputPath": f"s3://bucket/runs/{RUN}/training/",
            "CompressionType": "NONE",
        }
        assert job["CheckpointConfig"] == {"S3Uri": "s3://bucket/checkpoints"}

    def test_has_its_losses_read_from_the_lines_that_training_prints(self) -> None:
        metrics = asked("StartTraining")["AlgorithmSpecification"]["MetricDefinitions"]
        lines = [
            "progress step=1 loss=2.5 tokens_per_second=31.0",
            "heldout model=base loss=3.25",
            "heldout model=tuned loss=2.75",
            "outside model=base loss=2.5",
            "outside model=tuned loss=2.25",
        ]
        read = {m["Name"]: [found[1] for line in lines if (found := re.search(m["Regex"], line))] for m in metrics}
        assert read == {
            "train:loss": ["2.5"],
            "train:tokens_per_second": ["31.0"],
            "heldout:base_loss": ["3.25"],
            "heldout:tuned_loss": ["2.75"],
            "outside:base_loss": ["2.5"],
            "outside:tuned_loss": ["2.25"],
        }


SERVER = {
    "SM_VLLM_MODEL": "/opt/ml/model",
    "SM_VLLM_SERVED_MODEL_NAME": "base",
    "SM_VLLM_ENABLE_LORA": "true",
    "SM_VLLM_MAX_LORA_RANK": "${LoraRank}",
    "SM_VLLM_MAX_LORAS": "2",
    "SM_VLLM_LORA_MODULES": '{"name":"${Domain}","path":"/opt/ml/additional-model-data-sources/adapter","base_model_name":"base"}',
    "SM_VLLM_MAX_MODEL_LEN": "4096",
    "SM_VLLM_GPU_MEMORY_UTILIZATION": "0.88",
    "SM_VLLM_DTYPE": "bfloat16",
    "SM_VLLM_MAX_NUM_SEQS": "${MaxConcurrentRequests}",
    "SM_VLLM_GENERATION_CONFIG": "vllm",
}
NOTHING_FETCHED_NOBODY_TOLD = {
    "STANDARD_AUTO_INSTALL_REQ": "false",
    "CUSTOM_SCRIPT_FILENAME": "none",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "OPT_OUT_TRACKING": "true",
}


@pytest.mark.parametrize(
    ("state", "name", "adapter"),
    [("TryModel", f"{RUN}-try0", "s3://bucket/trial/"), ("CreateModel", RUN, ADAPTER)],
)
class TestTheModel:
    def test_is_the_base_weights_under_their_licence_with_the_adapter_beside_them(
        self, state: str, name: str, adapter: str
    ) -> None:
        for accepted in (True, False):
            model = asked(state, acceptEula=accepted)
            container = model["PrimaryContainer"]
            assert (model["ModelName"], model["Tags"], container["Mode"]) == (name, TAGS, "SingleModel")
            as_it_is = {"S3DataType": "S3Prefix", "CompressionType": "None"}
            licence = {"ModelAccessConfig": {"AcceptEula": accepted}}
            assert container["ModelDataSource"] == {"S3DataSource": {"S3Uri": WEIGHTS, **as_it_is, **licence}}
            assert container["AdditionalModelDataSources"] == [
                {"ChannelName": "adapter", "S3DataSource": {"S3Uri": adapter, **as_it_is}}
            ]

    def test_reaches_no_network_and_takes_nothing_but_its_role(self, state: str, name: str, adapter: str) -> None:
        model = asked(state)
        assert model["EnableNetworkIsolation"] is True
        assert model["ExecutionRoleArn"] == "${HostingRoleArn}"
        assert model["PrimaryContainer"]["Image"] == "${HostingImage}"

    def test_is_served_as_it_was_measured_and_fetches_and_tells_nothing(
        self, state: str, name: str, adapter: str
    ) -> None:
        assert asked(state)["PrimaryContainer"]["Environment"] == SERVER | NOTHING_FETCHED_NOBODY_TOLD


@pytest.mark.parametrize(
    ("state", "name", "model"),
    [("TryEndpointConfig", f"{RUN}-try0", f"{RUN}-try0"), ("CreateEndpointConfig", RUN, RUN)],
)
def test_an_endpoint_is_of_the_reserved_type_and_count_and_starts_in_time_or_fails(
    state: str, name: str, model: str
) -> None:
    config = asked(
        state,
        hosting_instanceType="ml.g6.12xlarge",
        hosting_instanceCount=2,
        hosting_downloadSeconds=1100,
        hosting_startSeconds=800,
    )
    assert (config["EndpointConfigName"], config["Tags"]) == (name, TAGS)
    assert config["ProductionVariants"] == [
        {
            "VariantName": "AllTraffic",
            "ModelName": model,
            "InitialInstanceCount": 2,
            "InstanceType": "ml.g6.12xlarge",
            "InferenceAmiVersion": "${InferenceAmiVersion}",
            "ModelDataDownloadTimeoutInSeconds": 1100,
            "ContainerStartupHealthCheckTimeoutInSeconds": 800,
        }
    ]


def test_the_trial_is_taken_away_again_before_training() -> None:
    execution = run()
    assert execution.asked("RemoveTrialEndpointConfig") == [{"EndpointConfigName": f"{RUN}-try0"}]
    assert execution.asked("RemoveTrialModel") == [{"ModelName": f"{RUN}-try0"}]
    order = ["TryModel", "TryEndpointConfig", "RemoveTrialEndpointConfig", "RemoveTrialModel", "StartTraining"]
    assert [call.state for call in execution.calls if call.state in order] == order


def test_the_endpoint_has_one_name_wherever_it_is_named() -> None:
    execution = run()
    assert execution.asked("CreateEndpoint") == [{"EndpointName": RUN, "EndpointConfigName": RUN, "Tags": TAGS}]
    assert execution.asked("DescribeEndpoint") == [{"EndpointName": RUN}]


@pytest.mark.parametrize(
    ("state", "model", "key"), [("AskBaseModel", "base", "pre"), ("AskFineTunedModel", "${Domain}", "tuned")]
)
def test_both_models_are_asked_the_same_on_the_same_endpoint(state: str, model: str, key: str) -> None:
    same = {"runName": RUN, "endpointName": RUN, "promptsKey": "prompts", "samplesPerPrompt": 2, "seed": 42}
    assert asked(state) == same | {"model": model, "answersKey": key}
    assert {call.operation for call in run().calls if call.state == state} == {"${AskFunctionArn}"}


def test_the_report_is_told_what_was_planned_reserved_and_used() -> None:
    execution = run()
    assert execution.calls[-1].operation == "${ReportFunctionArn}"
    assert execution.asked("WriteReport") == [
        {
            "plan": PLAN,
            "reservation": {"reservedCents": 587, "committedCents": 600, "capCents": 2500},
            "adapterUri": ADAPTER,
            "trainingCut": False,
            "trainingJob": {"interruptions": 0, "trainingSeconds": 0, "billedSeconds": 900},
            "trainingInstanceType": FIRST,
            "hostingInstanceType": FIRST,
        }
    ]
