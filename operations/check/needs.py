"""Which rights the state machines and the containers need, read from the definitions as Step Functions will get them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from common.contracts import run_folder
from common.names import PREFIX, trial_name
from common.resources import ARN_KINDS

# No execution can have this name's run: it only gives the patterns of the roles something to match.
RUN = f"{PREFIX}-check-aws"
_IMAGE = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com/([^:@]+)[:@]")


@dataclass(frozen=True)
class Need:
    """One right: an IAM action, the ARN that it is used on, and the context keys that conditions ask for.

    `is_of_others` where another account owns the resource and has to allow it too.
    """

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()
    is_of_others: bool = False


@dataclass(frozen=True)
class Unread:
    """A call that the check does not know to be authorised on what."""

    state: str
    call: str


@dataclass(frozen=True)
class Place:
    """Where the calls are made, and the bucket that the runs lie in."""

    account: str
    region: str
    bucket: str

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of this account and region."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


def of_definition(text: str, place: Place) -> tuple[list[Need], list[Unread]]:
    """What the states of a machine need of its role, and the calls that could not be read."""
    needs: dict[Need, None] = {}
    unread = []
    for name, state in _tasks(json.loads(text)):
        *_, service, operation = state["Resource"].split(":")
        found = list(_of_call(service, operation, state.get("Arguments", {}), place))
        needs.update(dict.fromkeys(found))
        if not found:
            unread.append(Unread(name, f"{service}:{operation}"))
    return list(needs), unread


def of_training(definition: str, place: Place) -> list[Need]:
    """What SageMaker needs of the training role: weights, corpus and code in, adapter and checkpoints out."""
    (call,) = _calls(definition, "createTrainingJob")[:1]
    runs = f"arn:aws:s3:::{place.bucket}/{run_folder.prefix(RUN)}"
    inputs = [f"{runs}{run_folder.CORPUS}", f"{runs}{run_folder.HELD_OUT}", f"{runs}{run_folder.CODE}train.py"]
    # Checkpoints are written while it trains, deleted as training deletes them, and read when SageMaker starts the job again.
    checkpoint = f"arn:aws:s3:::{place.bucket}/{run_folder.checkpoints(RUN)}checkpoint-1/{run_folder.ADAPTER_WEIGHTS}"
    outputs = [_adapter(place), checkpoint]
    return [
        *(Need("s3:GetObject", one) for one in (*inputs, checkpoint, *_weights(call))),
        *_decryption(call, place),
        *(Need("s3:PutObject", one) for one in outputs),
        Need("s3:DeleteObject", checkpoint),
        *_listings(call, place),
        *_container(call["AlgorithmSpecification"]["TrainingImage"], "/aws/sagemaker/TrainingJobs", place),
    ]


def of_hosting(definition: str, place: Place) -> list[Need]:
    """What SageMaker needs of the hosting role: weights and adapter in."""
    (call,) = _calls(definition, "createModel")[:1]
    return [
        *(Need("s3:GetObject", one) for one in (_adapter(place), *_weights(call))),
        *_decryption(call, place),
        *_listings(call, place),
        *_container(call["PrimaryContainer"]["Image"], f"/aws/sagemaker/Endpoints/{RUN}", place),
    ]


def _adapter(place: Place) -> str:
    """The object that training writes and hosting reads."""
    folder = run_folder.adapter_uri(place.bucket, RUN, "job").removeprefix("s3://")
    return f"arn:aws:s3:::{folder}{run_folder.ADAPTER_WEIGHTS}"


def of_scheduler(definition: str) -> list[Need]:
    """What EventBridge Scheduler needs of its role: to start TearDown."""
    (call,) = _calls(definition, "createSchedule")[:1]
    return [Need("states:StartExecution", call["Target"]["Arn"])]


def images(definition: str) -> list[str]:
    """The container images that a machine hands to SageMaker."""
    found = [call["AlgorithmSpecification"]["TrainingImage"] for call in _calls(definition, "createTrainingJob")]
    found += [call["PrimaryContainer"]["Image"] for call in _calls(definition, "createModel")]
    return sorted(set(found))


def _of_call(service: str, operation: str, arguments: dict[str, Any], place: Place) -> Iterator[Need]:
    action = f"{service}:{operation[0].upper()}{operation[1:]}"
    match service:
        case "lambda":
            yield Need("lambda:InvokeFunction", arguments["FunctionName"])
        case "sns" if "TopicArn" in arguments:
            yield Need(action, arguments["TopicArn"])
        case "scheduler" if "Name" in arguments:
            yield Need(action, place.arn("scheduler", f"schedule/default/{_name(arguments['Name'])}"))
            yield from _handed(arguments.get("Target", {}), "scheduler")
        case "s3" if operation == "listObjectsV2":
            prefix = run_folder.key(RUN, f"{run_folder.TRAINING}{run_folder.METRICS}")
            yield Need("s3:ListBucket", f"arn:aws:s3:::{place.bucket}", (("s3:prefix", prefix),))
        case "sagemaker":
            named = [
                place.arn("sagemaker", f"{kind}/{_name(arguments[key])}")
                for key, kind in ARN_KINDS.items()
                if key in arguments
            ]
            yield from (Need(action, resource) for resource in named)
            if named and "Tags" in arguments:
                # Only CreateEndpoint names two resources, and the endpoint, the last of them, is the one that is made.
                yield Need("sagemaker:AddTags", named[-1])
            yield from _handed(arguments, "sagemaker")


def _handed(arguments: dict[str, Any], service: str) -> Iterator[Need]:
    for key in ("RoleArn", "ExecutionRoleArn"):
        if key in arguments:
            yield Need("iam:PassRole", arguments[key], (("iam:PassedToService", f"{service}.amazonaws.com"),))


def _name(expression: str) -> str:
    """What the expression of a resource's name may come to: the run's name, or the one of its trial."""
    return trial_name(RUN) if "trialName" in expression else RUN


def _weights(call: dict[str, Any]) -> Iterator[str]:
    """An object under each S3 prefix that a call names as it is; the others are expressions and lie in the run's own prefix."""
    for uri in _strings(call):
        if uri.startswith("s3://"):
            yield f"arn:aws:s3:::{uri.removeprefix('s3://')}config.json"


def _decryption(call: dict[str, Any], place: Place) -> Iterator[Need]:
    """S3 opens what a user's own folder has encrypted with a key of KMS in the role's name. JumpStart's buckets have none that is asked."""
    for weights in sorted(set(_weights(call))):
        if not weights.startswith("arn:aws:s3:::jumpstart-"):
            context = (
                ("kms:ViaService", f"s3.{place.region}.amazonaws.com"),
                ("kms:EncryptionContext:aws:s3:arn", weights),
            )
            yield Need("kms:Decrypt", place.arn("kms", "key/of-the-weights"), context)


def _listings(call: dict[str, Any], place: Place) -> Iterator[Need]:
    """SageMaker lists what lies under each prefix of a call."""
    yield Need("s3:ListBucket", f"arn:aws:s3:::{place.bucket}")
    for weights in sorted(set(_weights(call))):
        bucket, _, key = weights.partition("/")
        yield Need("s3:ListBucket", bucket, (("s3:prefix", key.removesuffix("config.json")),))


def _container(image: str, log_group: str, place: Place) -> Iterator[Need]:
    match = _IMAGE.match(image)
    if match:
        account, region, repository = match.groups()
        for action in ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"):
            of_others = account != place.account
            yield Need(action, f"arn:aws:ecr:{region}:{account}:repository/{repository}", is_of_others=of_others)
    yield Need("ecr:GetAuthorizationToken", "*")
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        yield Need(action, place.arn("logs", f"log-group:{log_group}:log-stream:one"))
    yield Need("cloudwatch:PutMetricData", "*", (("cloudwatch:namespace", "/aws/sagemaker/TrainingJobs"),))


def _calls(definition: str, operation: str) -> list[dict[str, Any]]:
    return [
        state["Arguments"] for _, state in _tasks(json.loads(definition)) if state["Resource"].endswith(f":{operation}")
    ]


def _tasks(machine: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, state in machine["States"].items():
        if state["Type"] == "Task":
            yield name, state
        for inner in [*state.get("Branches", []), *([state["ItemProcessor"]] if "ItemProcessor" in state else [])]:
            yield from _tasks(inner)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _strings(part)
    elif isinstance(value, str):
        yield value
