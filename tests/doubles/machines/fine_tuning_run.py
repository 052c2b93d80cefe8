"""A run of FineTuning: the plan that its Preflight writes, and what else its calls are usually answered."""

import copy
from collections.abc import Mapping
from typing import Any

from tests.doubles.machines.walk import Walk
from verification.simulation.definitions import machine, task_states

RUN = "captune-one"
ARN = "arn:aws:states:us-east-1:111122223333:execution:captune-fine-tuning:one"
# The types to train on and to serve on, and the second one of a longer list.
TRAINING, HOSTING, SECOND = "ml.g5.2xlarge", "ml.g6.2xlarge", "ml.g6e.2xlarge"
ADAPTER = f"s3://bucket/runs/{RUN}/training/{RUN}/output/model/"
# What the cause of a run that fails after its training ends with.
KEPT = (
    f' The adapter is saved: start a new execution with "adapterUri": "{ADAPTER}" in the input, without epochs, '
    "spot and heldOutside."
)
# No two of its numbers and addresses are the same, so that none can stand where another belongs.
PLAN: Mapping[str, Any] = {
    "runName": RUN,
    "executionName": "one",
    "executionArn": ARN,
    "bucket": "bucket",
    "acceptEula": True,
    "adapterUri": "",
    "serveOnly": False,
    "tearDownAt": "2026-11-26T01:00:00",
    "samplesPerPrompt": 2,
    "seed": 42,
    "training": {
        "instanceType": TRAINING,
        "instanceTypes": [TRAINING],
        "instanceCount": 3,
        "resources": {"InstanceType": TRAINING, "InstanceCount": 3, "VolumeSizeInGB": 100},
        "maxRuntimeSeconds": 4711,
        "maxPendingSeconds": 7200,
        "spot": False,
        "maxWaitSeconds": 10_800,
        "hyperparameters": {"epochs": "7", "seed": "2"},
        "corpusUri": "s3://bucket/corpus",
        "evaluationUri": "s3://bucket/evaluation",
        "codeUri": "s3://bucket/code",
        "outputUri": f"s3://bucket/runs/{RUN}/training/",
        "checkpointUri": "s3://bucket/checkpoints",
    },
    "hosting": {
        "instanceType": HOSTING,
        "instanceTypes": [HOSTING],
        "instances": {"InstanceType": HOSTING},
        "instanceCount": 1,
        "deadlineSeconds": 3661,
        "pauseSeconds": 290,
        "tryAgainSeconds": 1510,
        "downloadSeconds": 1100,
        "startSeconds": 800,
        "maxModelTokens": 4096,
        "trialName": f"{RUN}-try0",
        "trialAdapterUri": "s3://bucket/trial/",
    },
    "answers": {"preTrainedKey": "pre", "fineTunedKey": "tuned", "promptsKey": "prompts"},
}
RESERVATION = {"reservedCents": 587, "committedCents": 600, "capCents": 2500}
REPORT = {
    "run": RUN, "verdict": "improved", "reason": "because", "report": "report.html", "reportConsole": "console",
    "summary": "summary.json", "reservedCents": 587,
}  # fmt: skip


def job(
    status: str = "Completed", detail: str = "", reason: str | None = None, billed: int | None = 900, **more: Any
) -> dict[str, Any]:
    """What SageMaker says of a training job."""
    said = {"FailureReason": reason, "BillableTimeInSeconds": billed, **more}
    told = {name: value for name, value in said.items() if value is not None}
    return {"TrainingJobStatus": status, "SecondaryStatus": detail or status, **told}


def endpoint(
    status: str = "InService", reason: str | None = None, pools: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """What SageMaker says of an endpoint. `pools` are the instances of each type of a list."""
    listed = [{"InstanceType": kind, "CurrentInstanceCount": count} for kind, count in (pools or {}).items()]
    variants = [{"VariantName": "AllTraffic", **({"InstancePools": listed} if listed else {})}]
    said = {"EndpointStatus": status, "ProductionVariants": variants}
    return said | ({"FailureReason": reason} if reason is not None else {})


def plan(**changes: Any) -> dict[str, Any]:
    """The plan with changes, of which `training_` and `hosting_` go into those parts."""
    made = copy.deepcopy(dict(PLAN))
    for name, value in changes.items():
        part, _, key = name.partition("_")
        (made[part] if key else made)[key or name] = value
    return made


_USUAL: Mapping[str, Any] = {
    # What most services answer nobody reads.
    **dict.fromkeys(task_states("fine_tuning"), {"Anything": "said"}),
    "Preflight": PLAN,
    "ReserveBudget": RESERVATION | {"more": "left out"},
    "StageInput": {"inputDigest": "5eed"},
    "DescribeTraining": job(),
    "LookForAdapter": {"KeyCount": 1},
    "DescribeEndpoint": endpoint(),
    "AskBaseModel": {"remaining": 0},
    "AskFineTunedModel": {"remaining": 0},
    "WriteReport": REPORT | {"prose": "left out"},
}


def run(redrives: int | None = None, /, **scripts: Any) -> Walk:
    """Runs an execution named `one` to its end, with scripts for the calls of some states."""
    context = {"Name": "one", "Id": ARN} | ({} if redrives is None else {"RedriveCount": redrives})
    return Walk(machine("fine_tuning"), _USUAL, scripts, {"samplesPerPrompt": 2}, **context)
