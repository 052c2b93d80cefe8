"""A run of FineTuning: the usual account, the plan that its Preflight writes, and the walk of the definition."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from rehearsal.step_functions.walk import Walk
from stacks.state_machine import load_definition
from tests.doubles.machines.scripted_account import ScriptedAccount
from tests.doubles.machines.stacks_bench import ROOT

DEFINITION = load_definition(ROOT / "stacks" / "fine_tuning.asl.yaml")
RUN = "captune-one"
ARN = "arn:aws:states:us-east-1:111122223333:execution:captune-fine-tuning:one"
FIRST, SECOND = "ml.g5.2xlarge", "ml.g6.2xlarge"
ADAPTER = f"s3://bucket/runs/{RUN}/training/{RUN}/output/model/"
# What the cause of a run that fails after its training ends with.
KEPT = (
    f' What was trained is not lost: start again with "adapterUri": "{ADAPTER}" in the input, and without epochs, seeds, '
    "spot and heldOutside."
)
PLAN: Mapping[str, Any] = {
    "runName": RUN,
    "executionName": "one",
    "executionArn": ARN,
    "bucket": "bucket",
    "acceptEula": True,
    "adapterUri": "",
    "tearDownAt": "2026-11-26T01:00:00",
    "samplesPerPrompt": 2,
    "seed": 42,
    "training": {
        "instanceType": FIRST,
        "instanceTypes": [FIRST],
        "instanceCount": 1,
        "volumeSizeGb": 100,
        "maxRuntimeSeconds": 7200,
        "maxPendingSeconds": 1800,
        "spot": False,
        "maxWaitSeconds": 0,
        "hyperparameters": {"epochs": "3"},
        "corpusUri": "s3://bucket/corpus",
        "evaluationUri": "s3://bucket/evaluation",
        "codeUri": "s3://bucket/code",
        "outputUri": f"s3://bucket/runs/{RUN}/training/",
        "checkpointUri": "s3://bucket/checkpoints",
    },
    "hosting": {
        "instanceType": FIRST,
        "instanceTypes": [FIRST],
        "instanceCount": 1,
        "deadlineSeconds": 3600,
        "downloadSeconds": 1200,
        "startSeconds": 900,
        "maxModelTokens": 4096,
        "trialName": f"{RUN}-try0",
        "trialAdapterUri": "s3://bucket/trial/",
    },
    "answers": {"preTrainedKey": "pre", "fineTunedKey": "tuned", "promptsKey": "prompts"},
}
REPORT = {
    "run": RUN, "verdict": "improved", "reason": "because", "report": "report.html", "reportConsole": "console",
    "summary": "summary.json", "reservedCents": 587, "prose": "left out",
}  # fmt: skip
_DESCRIBED = {"status", "detail", "reason", "billedSeconds", "artifacts", "remaining"}
# The first states get the answer of the one before, whose fields they do not need; the last ones end with it.
_READERS = {
    "Preflight", "ReserveBudget", "ScheduleTearDown", "StageInput", "BaseModelDone", "FineTunedModelDone",
    "TrainingOutOfTime", "Done",
}  # fmt: skip


def job(
    status: str = "Completed", detail: str = "", reason: str | None = None, billed: int | None = 900
) -> dict[str, Any]:
    """What SageMaker says of a training job."""
    said: dict[str, Any] = {"TrainingJobStatus": status, "SecondaryStatus": detail or status}
    said |= {"FailureReason": reason} if reason is not None else {}
    said |= {"BillableTimeInSeconds": billed} if billed is not None else {}
    return said


def endpoint(status: str = "InService", reason: str | None = None) -> dict[str, Any]:
    """What SageMaker says of an endpoint."""
    return {"EndpointStatus": status} | ({"FailureReason": reason} if reason is not None else {})


def account() -> ScriptedAccount:
    """An account in which every call goes well at once."""
    return ScriptedAccount(
        {
            "${PreflightFunctionArn}": dict(PLAN),
            "${ReserveFunctionArn}": {
                "reservedCents": 587,
                "committedCents": 600,
                "capCents": 2500,
                "more": "left out",
            },
            "${AskFunctionArn}": {"remaining": 0},
            "${ReportFunctionArn}": REPORT,
            "${StageFunctionArn}": {"inputDigest": "5eed"},
            "scheduler:createSchedule": {"ScheduleArn": "arn"},
            "scheduler:updateSchedule": {"ScheduleArn": "arn"},
            "sagemaker:createModel": {"ModelArn": "arn"},
            "sagemaker:createEndpointConfig": {"EndpointConfigArn": "arn"},
            "sagemaker:deleteEndpointConfig": {"Anything": "said"},
            "sagemaker:deleteModel": {"Anything": "said"},
            "sagemaker:createTrainingJob": {"TrainingJobArn": "arn"},
            "sagemaker:describeTrainingJob": job(),
            "s3:listObjectsV2": {"KeyCount": 1},
            "sagemaker:createEndpoint": {"EndpointArn": "arn"},
            "sagemaker:describeEndpoint": endpoint(),
            "sagemaker:deleteEndpoint": {"Anything": "said"},
        }
    )


def plan(**changes: Any) -> dict[str, Any]:
    """The plan with changes, of which `training_` and `hosting_` go into those parts."""
    made = copy.deepcopy(dict(PLAN))
    for name, value in changes.items():
        part, _, key = name.partition("_")
        if key:
            made[part][key] = value
        else:
            made[name] = value
    return made


def _hands_on_only_what_is_read(walk: Walk) -> None:
    """A state gets nothing, or what it reads. What is handed on needlessly fills the log and may hold what nobody shall read."""
    for name, given in walk.inputs:
        if name.startswith(("WaitFor", "Describe", "Ask")):
            # Again, after a Choice that found nothing new; or for a job that an attempt without an answer has started.
            known = _DESCRIBED | ({"Error", "Cause"} if name.endswith("Training") else set())
            assert given.keys() <= known, name
        elif name == "StopWithReason":
            assert given.keys() <= {"Error", "Cause", "found"}, name
        else:
            # A Choice reads what it is given, but for those that only look at the problem or the plan.
            assert not given or name in _READERS or name.endswith("?"), name


def run(with_account: ScriptedAccount | None = None, most_steps: int = 400, **context: Any) -> Walk:
    """Walks an execution named `one` to its end."""
    execution = {"Name": "one", "Id": ARN} | context
    given = {"samplesPerPrompt": 2}
    walk = Walk(DEFINITION, with_account or account(), given, execution, most_steps).run()
    _hands_on_only_what_is_read(walk)
    return walk
