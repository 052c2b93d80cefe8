"""What FineTuning asks of AWS and of its Lambdas: every call of a usual run, in order, with every field of its request."""

from __future__ import annotations

import json
import re
from typing import Any
from unittest.mock import ANY

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

TRIAL, TAGS = f"{RUN}-try0", [{"Key": "project", "Value": "captune"}, {"Key": "run", "Value": RUN}]
LICENCE = {"ModelAccessConfig": {"AcceptEula": True}}
AS_IT_IS = {"S3DataType": "S3Prefix", "CompressionType": "None"}
SERVER = {
    "SM_VLLM_MODEL": "/opt/ml/model",
    "SM_VLLM_SERVED_MODEL_NAME": "base",
    "SM_VLLM_ENABLE_LORA": "true",
    "SM_VLLM_MAX_LORA_RANK": "${LoraRank}",
    # One more than there are adapters: verification/conformance/serving shows what happens with one place only.
    "SM_VLLM_MAX_LORAS": "2",
    "SM_VLLM_LORA_MODULES": '{"name":"${Domain}","path":"/opt/ml/additional-model-data-sources/adapter","base_model_name":"base"}',
    "SM_VLLM_MAX_MODEL_LEN": "4096",
    "SM_VLLM_GPU_MEMORY_UTILIZATION": "0.88",
    "SM_VLLM_DTYPE": "bfloat16",
    "SM_VLLM_MAX_NUM_SEQS": "${MaxConcurrentRequests}",
    "SM_VLLM_GENERATION_CONFIG": "vllm",
    # Nothing is installed or downloaded, and nobody is told.
    "STANDARD_AUTO_INSTALL_REQ": "false",
    "CUSTOM_SCRIPT_FILENAME": "none",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "OPT_OUT_TRACKING": "true",
}


def schedule(at: str) -> dict[str, Any]:
    """A schedule that starts TearDown on time, tries for a day, and stays until TearDown itself deletes it."""
    event = {"executionArn": ARN, "executionName": "one", "status": "UNKNOWN", "reason": "schedule"}
    return {
        "Name": RUN,
        "Description": ANY,
        "ScheduleExpression": f"at({at})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "NONE",
        "Target": {
            "Arn": "${TearDownArn}",
            "RoleArn": "${SchedulerRoleArn}",
            "Input": json.dumps(event, separators=(",", ":")),
            "RetryPolicy": {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86_400},
        },
    }


def model(name: str, adapter: str) -> dict[str, Any]:
    """The base weights under their licence with an adapter beside them, without network."""
    return {
        "ModelName": name,
        "ExecutionRoleArn": "${HostingRoleArn}",
        "EnableNetworkIsolation": True,
        "PrimaryContainer": {
            "Image": "${HostingImage}",
            "Mode": "SingleModel",
            "ModelDataSource": {"S3DataSource": {"S3Uri": "${WeightsUri}", **AS_IT_IS, **LICENCE}},
            "AdditionalModelDataSources": [{"ChannelName": "adapter", "S3DataSource": {"S3Uri": adapter, **AS_IT_IS}}],
            "Environment": SERVER,
        },
        "Tags": TAGS,
    }


def endpoint_config(name: str, model_name: str) -> dict[str, Any]:
    """One variant of the planned type and count, with the planned limits of its start."""
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": model_name,
        "InitialInstanceCount": 1,
        "InstanceType": HOSTING,
        "InferenceAmiVersion": "${InferenceAmiVersion}",
        "ModelDataDownloadTimeoutInSeconds": 1100,
        "ContainerStartupHealthCheckTimeoutInSeconds": 800,
    }
    return {"EndpointConfigName": name, "ProductionVariants": [variant], "Tags": TAGS}


def channel(name: str, uri: str, **licence: Any) -> dict[str, Any]:
    """An input channel that every instance gets whole."""
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated", **licence}
    return {
        "ChannelName": name,
        "CompressionType": "None",
        "InputMode": "File",
        "DataSource": {"S3DataSource": source},
    }


JOB = {
    "TrainingJobName": RUN,
    "RoleArn": "${TrainingRoleArn}",
    "AlgorithmSpecification": {
        "TrainingImage": "${TrainingImage}",
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/train.py"],
        "ContainerArguments": ["--root", "/opt/ml"],
        "MetricDefinitions": ANY,
    },
    "HyperParameters": {"epochs": "7", "seed": "2"},
    "Environment": {"PYTHONUNBUFFERED": "1"},
    "InputDataConfig": [
        {**channel("model", "${WeightsUri}", **LICENCE), "ContentType": "application/x-sagemaker-model"},
        *(channel(name, f"s3://bucket/{name}") for name in ("corpus", "evaluation", "code")),
    ],
    "OutputDataConfig": {"S3OutputPath": f"s3://bucket/runs/{RUN}/training/", "CompressionType": "NONE"},
    "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints"},
    "ResourceConfig": {"InstanceType": TRAINING, "InstanceCount": 3, "VolumeSizeInGB": 100},
    "StoppingCondition": {"MaxRuntimeInSeconds": 4711, "MaxPendingTimeInSeconds": 7200},
    "EnableNetworkIsolation": True,
    "Tags": TAGS,
}
ASK = {"runName": RUN, "endpointName": RUN, "promptsKey": "prompts", "samplesPerPrompt": 2, "seed": 42}
# By state, in the order of the calls: what is called, and with which arguments or payload.
CALLS: dict[str, tuple[str, Any]] = {
    "Preflight": (
        "${PreflightFunctionArn}",
        {
            "executionName": "one",
            "executionArn": ARN,
            "definitionVersion": "${DefinitionVersion}",
            "input": {"samplesPerPrompt": 2},
        },
    ),
    "ReserveBudget": ("${ReserveFunctionArn}", PLAN),
    "ScheduleTearDown": ("scheduler:createSchedule", schedule("2026-11-26T01:00:00")),
    "StageInput": ("${StageFunctionArn}", PLAN),
    "TryModel": ("sagemaker:createModel", model(TRIAL, "s3://bucket/trial/")),
    "TryEndpointConfig": ("sagemaker:createEndpointConfig", endpoint_config(TRIAL, TRIAL)),
    "StartTraining": ("sagemaker:createTrainingJob", JOB),
    "DescribeTraining": ("sagemaker:describeTrainingJob", {"TrainingJobName": RUN}),
    "CreateModel": ("sagemaker:createModel", model(RUN, ADAPTER)),
    # The run began at 12:00:00, its job was looked at after a minute, and its endpoint may live for 3,661 seconds.
    "SetEndpointDeadline": ("scheduler:updateSchedule", schedule("2026-11-10T13:02:01")),
    "CreateEndpointConfig": ("sagemaker:createEndpointConfig", endpoint_config(RUN, RUN)),
    "CreateEndpoint": (
        "sagemaker:createEndpoint",
        {"EndpointName": RUN, "EndpointConfigName": RUN, "Tags": TAGS},
    ),
    "DescribeEndpoint": ("sagemaker:describeEndpoint", {"EndpointName": RUN}),
    "AskBaseModel": ("${AskFunctionArn}", ASK | {"model": "base", "answersKey": "pre"}),
    "AskFineTunedModel": ("${AskFunctionArn}", ASK | {"model": "${Domain}", "answersKey": "tuned"}),
    "WriteReport": (
        "${ReportFunctionArn}",
        {
            "plan": PLAN,
            "reservation": RESERVATION,
            "adapterUri": ADAPTER,
            "trainingCut": False,
            "trainingJob": {"interruptions": 0, "trainingSeconds": 0, "billedSeconds": 900},
            "trainingInstanceType": TRAINING,
            "hostingInstanceType": HOSTING,
        },
    ),
}


@pytest.mark.parametrize("state", CALLS)
def test_each_state_calls_once_with_exactly_these_fields(state: str) -> None:
    made = [(call.operation, call.arguments) for call in run().calls if call.state == state]
    assert made == [CALLS[state]]


def test_a_usual_run_reserves_then_schedules_its_end_then_pays() -> None:
    execution = run()
    called = [call.state for call in execution.calls]
    assert [state for state in called if state in CALLS] == list(CALLS)
    # The definition is written in this order, and whatever asks a service for something is here.
    assert called == [state for state in task_states("fine_tuning") if state in called]
    assert all(call.operation.endswith("FunctionArn}") for call in execution.calls if call.state not in CALLS)
    assert (execution.status, execution.output) == ("SUCCEEDED", REPORT)


def test_the_licence_is_accepted_only_where_the_plan_accepts_it() -> None:
    execution = run(Preflight=plan(acceptEula=False))
    requests = [execution.asked(state) for state in ("TryModel", "StartTraining", "CreateModel")]
    assert ["'AcceptEula': False" in str(request) for request in requests] == [True, True, True]


def test_a_spot_job_differs_only_in_spot_and_how_long_it_may_wait() -> None:
    execution = run(Preflight=plan(training_spot=True))
    spot = {"MaxRuntimeInSeconds": 4711, "MaxWaitTimeInSeconds": 10_800}
    assert execution.asked("StartSpotTraining") == [
        JOB | {"EnableManagedSpotTraining": True, "StoppingCondition": spot}
    ]
    assert execution.asked("StartTraining") == []


def test_lists_of_types_reach_sagemaker_as_they_are_planned() -> None:
    pools = {
        "InstancePools": [{"InstanceType": HOSTING, "Priority": 1}],
        "VariantInstanceProvisionTimeoutInSeconds": 300,
    }
    resources = {"InstancePreferences": [{"InstanceType": TRAINING}], "InstanceCount": 3, "VolumeSizeInGB": 100}
    execution = run(Preflight=plan(training_resources=resources, hosting_instances=pools))
    assert execution.asked("StartTraining") == [JOB | {"ResourceConfig": resources}]
    for state in ("TryEndpointConfig", "CreateEndpointConfig"):
        ((variant,),) = (asked["ProductionVariants"] for asked in execution.asked(state))
        assert (pools.items() <= variant.items(), "InstanceType" in variant) == (True, False)


def test_losses_are_read_from_the_lines_that_training_prints() -> None:
    metrics = run().asked("StartTraining")[0]["AlgorithmSpecification"]["MetricDefinitions"]
    lines = [
        "progress step=1 loss=2.5 tokens_per_second=31.0",
        "heldout model=base loss=3.25",
        "heldout model=tuned loss=2.75",
        "outside model=base loss=1.5",
        "outside model=tuned loss=1.25",
    ]
    read = {m["Name"]: [found[1] for line in lines if (found := re.search(m["Regex"], line))] for m in metrics}
    assert read == {
        "train:loss": ["2.5"],
        "train:tokens_per_second": ["31.0"],
        "heldout:base_loss": ["3.25"],
        "heldout:tuned_loss": ["2.75"],
        "outside:base_loss": ["1.5"],
        "outside:tuned_loss": ["1.25"],
    }
