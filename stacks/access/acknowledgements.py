"""Findings of cdk-nag that are right about the rule and wrong about this project: each one by name, with its reason.

A finding that is not listed here fails the synthesis.
"""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from constructs import Construct

from stacks.configuration.catalog import Weights, gated_bucket, public_bucket
from stacks.configuration.functions import FUNCTIONS, SAGEMAKER_KINDS
from stacks.configuration.settings import Settings
from stacks.fine_tuning_stack import FineTuningStack
from stacks.names import FINE_TUNING, Keys
from stacks.storage_stack import BUCKET_ARN_EXPORT

# Wildcards in IAM resources, by a short name: the resource as cdk-nag prints it, and why it has to be one.
_RUN_NAMES = "Run names exist only at run time; the prefix keeps every other resource of the account out."
_OF_RUNS: Mapping[str, str] = {
    "runs": Keys.RUNS, "answers": Keys.ANSWERS, "prompts": Keys.PROMPTS, "report": Keys.REPORTS, "code": Keys.CODE, "input": Keys.INPUT,
    "plans": Keys.PLANS, "trial adapter": Keys.TRIAL, "adapters": Keys.TRAINING, "checkpoints": Keys.CHECKPOINTS,
}  # fmt: skip
_WILDCARDS: Mapping[str, tuple[str, str]] = {
    "everywhere": ("*", "AWS authorises these actions on nothing narrower; permissions.EVERYWHERE gives each one's reason."),
    "corpora": (f"{{bucket}}/{Keys.CORPORA}", "Users name their own corpora; nothing else lies below this prefix."),
    **{name: (f"{{bucket}}/{keys}", _RUN_NAMES) for name, keys in _OF_RUNS.items()},
    "training jobs": ("arn:{partition}:sagemaker:{region}:{account}:training-job/captune-*", _RUN_NAMES),
    "models": ("arn:{partition}:sagemaker:{region}:{account}:model/captune-*", _RUN_NAMES),
    "endpoint configurations": ("arn:{partition}:sagemaker:{region}:{account}:endpoint-config/captune-*", _RUN_NAMES),
    "endpoints": ("arn:{partition}:sagemaker:{region}:{account}:endpoint/captune-*", _RUN_NAMES),
    "schedules": ("arn:{partition}:scheduler:{region}:{account}:schedule/default/captune-*", _RUN_NAMES),
    "executions": (
        f"arn:{{partition}}:states:{{region}}:{{account}}:execution:{FINE_TUNING}:*",
        "Executions are named when they start; all of them belong to this one machine.",
    ),
    "gated weights": (
        "arn:{partition}:s3:::{gated}/*",
        "JumpStart's bucket, read only; a narrower prefix would break on a new version of the weights.",
    ),
    "own weights": ("arn:{partition}:s3:::{own}*", "The user's own folder of weights, read only, and nothing beside it."),
    "keys of own weights": (
        "arn:{partition}:kms:{region}:*:key/*",
        "The KMS key is unknown at synthesis; conditions limit the permission to S3 and to that folder.",
    ),
    "public weights": ("arn:{partition}:s3:::{public}/*", "JumpStart's public bucket, read only, as AWS documents it."),
    "training log": (
        "arn:{partition}:logs:{region}:{account}:log-group:/aws/sagemaker/TrainingJobs:*",
        "SageMaker names the streams; the group is its own.",
    ),
    "endpoint log": (
        "arn:{partition}:logs:{region}:{account}:log-group:/aws/sagemaker/Endpoints/captune-*:*",
        "SageMaker names group and streams after the endpoint.",
    ),
}  # fmt: skip

_ROLES: Mapping[str, Sequence[str]] = {
    "TrainingRole": (
        "everywhere", "weights", "keys of weights", "code", "input", "adapters", "checkpoints",
        "training log",
    ),
    "HostingRole": ("everywhere", "weights", "keys of weights", "adapters", "endpoint log"),
    "TearDownRole": ("everywhere", "schedules"),
    "FineTuningRole": ("everywhere", *SAGEMAKER_KINDS, "schedules"),
}  # fmt: skip


def acknowledge_findings(storage: cdk.Stack, runs: FineTuningStack, guardrail: cdk.Stack, settings: Settings) -> None:
    """Acknowledges every finding that stays, on the construct where it arises. Raises RuntimeError (from jsii) when a construct named here no longer exists."""
    weights = settings.weights
    facts = {
        "bucket": BUCKET_ARN_EXPORT,
        "partition": runs.partition,
        "region": runs.region,
        # cdk-nag prints a reference that has no value at synthesis in angle brackets.
        "account": "<AWS::AccountId>" if cdk.Token.is_unresolved(runs.account) else runs.account,
        "gated": gated_bucket(runs.region),
        "public": public_bucket(runs.region),
        "own": f"{weights.bucket}/{weights.prefix}",
    }
    functions = runs.functions.all
    roles = {**_ROLES, **{f"Functions/{name}Role": ("everywhere", *FUNCTIONS[name].wildcards) for name in functions}}
    for path, wildcards in roles.items():
        for name in _spelled_out(wildcards, weights):
            resource, reason = _WILDCARDS[name]
            _acknowledge(_find(runs, path), f"AwsSolutions-IAM5[Resource::{resource.format(**facts)}]", reason)
    for name, function in functions.items():
        _acknowledge(
            _find(runs, f"Functions/{name}Role"),
            "Serverless-LambdaStarPermissions",
            "Tracing and list calls are authorised on nothing narrower; permissions.EVERYWHERE gives each one's reason.",
        )
        if FUNCTIONS[name].called_by:
            _acknowledge(
                function,
                "Serverless-LambdaDLQ",
                "Only a state machine calls it, synchronously: a failure is retried there and ends up in the execution.",
            )
    for queue in (_find(runs, "Functions/FailedSweeps"), _find(guardrail, "Undelivered")):
        for rule in ("AwsSolutions-SQS3", "Serverless-SQSRedrivePolicy"):
            _acknowledge(queue, rule, "It is a dead-letter queue itself.")
    _acknowledge(
        _find(guardrail, "RunEnded"),
        "Annotation::@aws-cdk/aws-events:ruleUnresolvedEnvironment",
        "Rule and state machine are in the account and region of this app, also where the account is not known yet.",
    )
    for stack, path, also in (
        (runs, "ResultsByEmail", "the same result is in the report and in the ledger"),
        (guardrail, "Alarm/AlarmsByEmail", "the alarm's state is in the console and on the dashboard"),
    ):
        if settings.alert_email:
            reason = f"An e-mail that bounces is no event to replay; {also}."
            _acknowledge(_find(stack, path), "Serverless-SNSRedrivePolicy", reason)
    _acknowledge(
        _find(storage, "AccessLogs"),
        "AwsSolutions-S1",
        "It holds the access log; logging its own access would never end.",
    )


def _spelled_out(wildcards: Sequence[str], weights: Weights) -> list[str]:
    """The wildcards with the places of the weights in place of "weights", and their keys in place of "keys of weights"."""
    stand_for = {
        "weights": ("own weights",) if weights.own else ("gated weights", "public weights"),
        "keys of weights": ("keys of own weights",) if weights.own else (),
    }
    return [name for each in wildcards for name in stand_for.get(each, (each,))]


def _find(scope: Construct, path: str) -> Construct:
    found = scope
    for part in path.split("/"):
        found = found.node.find_child(part)  # type: ignore[assignment]
    return found


def _acknowledge(construct: Construct, rule: str, reason: str) -> None:
    cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=rule, reason=reason))
