"""What each actor may do: small lists of statements, each with its reason. Roles are put together in roles.py.

No statement allows every action. "*" as the resource appears only in `EVERYWHERE`, for actions that AWS authorises
on nothing narrower.
"""

from collections.abc import Mapping, Sequence

from aws_cdk import aws_iam as iam

from stacks.configuration.images import Image
from stacks.configuration.settings import Settings
from stacks.names import Arns

Statements = list[iam.PolicyStatement]

# Actions without resource-level permissions in the service authorization reference, by who needs them.
_REASONS: dict[str, tuple[str, ...]] = {
    "traces of Lambdas and state machines": (
        "xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets",
    ),
    "Step Functions writes its log through vended log delivery": (
        "logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery", "logs:ListLogDeliveries",
        "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
    ),
    "SageMaker pulls the container image": ("ecr:GetAuthorizationToken",),
    "SageMaker publishes metrics; a condition narrows it to its namespaces": ("cloudwatch:PutMetricData",),
    "Preflight reads quotas before a run needs them": (
        "servicequotas:GetServiceQuota", "servicequotas:ListServiceQuotas", "servicequotas:GetAWSDefaultServiceQuota",
        "servicequotas:ListAWSDefaultServiceQuotas",
    ),
    "Preflight asks the Price List for the hourly price": ("pricing:GetProducts",),
    "leftovers of the project are found by name prefix": (
        "sagemaker:ListTrainingJobs", "sagemaker:ListEndpoints", "sagemaker:ListEndpointConfigs", "sagemaker:ListModels",
    ),
}  # fmt: skip
EVERYWHERE = {action: reason for reason, actions in _REASONS.items() for action in actions}


def beginning(service: str) -> list[str]:
    """The actions in `EVERYWHERE` that begin like this, such as `logs:`."""
    return [action for action in EVERYWHERE if action.startswith(service)]


def allow(actions: Sequence[str], *resources: str, **conditions: Mapping[str, object]) -> iam.PolicyStatement:
    """Allows actions on resources. Each keyword is a condition operator with its map, e.g. StringEquals={…}."""
    return iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions or None)


def everywhere(*actions: str, **conditions: Mapping[str, object]) -> iam.PolicyStatement:
    """Allows actions that AWS authorises on no resource. Raises KeyError for one that has no reason in `EVERYWHERE`."""
    for action in actions:
        EVERYWHERE[action]
    return allow(actions, "*", **conditions)


def start_execution(machine_arn: str) -> iam.PolicyStatement:
    """Starts a state machine."""
    return allow(["states:StartExecution"], machine_arn)


def stop_execution(executions: str) -> iam.PolicyStatement:
    """Looks at an execution and stops it, as TearDown does at the deadline and the sweeper after the budget alarm."""
    return allow(["states:DescribeExecution", "states:StopExecution"], executions)


def pass_role(service: str, *role_arns: str) -> iam.PolicyStatement:
    """Hands these roles, and no others, to one service and no other."""
    return allow(["iam:PassRole"], *role_arns, StringEquals={"iam:PassedToService": f"{service}.amazonaws.com"})


def objects(bucket_arn: str, action: str, *patterns: str) -> iam.PolicyStatement:
    """One action on objects under key patterns, such as GetObject.

    Deleted objects stay as old versions in a versioned bucket, until its lifecycle ends them.
    """
    return allow([f"s3:{action}"], *(f"{bucket_arn}/{pattern}" for pattern in patterns))


def list_bucket(*bucket_arns: str) -> iam.PolicyStatement:
    """Lists buckets. Without it S3 answers a missing object with "access denied" instead of "not found"."""
    return allow(["s3:ListBucket"], *bucket_arns)


def list_folder(bucket_arn: str, prefix: str) -> iam.PolicyStatement:
    """Lists what lies in one folder of a bucket."""
    return allow(["s3:ListBucket"], bucket_arn, StringLike={"s3:prefix": f"{prefix}*"})


def decrypt_objects(arns: Arns, region: str, bucket_arn: str, prefix: str) -> iam.PolicyStatement:
    """Decrypts objects of a folder with any KMS key, through S3 only.

    S3 gives KMS the ARN of the object, or of the bucket with S3 Bucket Keys.
    """
    return allow(
        ["kms:Decrypt"],
        arns.keys(),
        StringEquals={"kms:ViaService": f"s3.{region}.amazonaws.com"},
        StringLike={"kms:EncryptionContext:aws:s3:arn": [bucket_arn, f"{bucket_arn}/{prefix}*"]},
    )


def ledger(table_arn: str, *reads: str, writes: Sequence[str]) -> Statements:
    """Reads any item of the ledger, and puts items whose keys have one of these patterns. IAM looks at each item of a transaction."""
    return [
        allow([f"dynamodb:{action}" for action in reads], table_arn),
        allow(["dynamodb:PutItem"], table_arn, **{"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(writes)}}),
    ]


def container(arns: Arns, image: Image, log_group: str) -> Statements:
    """What SageMaker does for any container: pull its image, write its log, publish its metrics."""
    return [
        everywhere("ecr:GetAuthorizationToken"),
        allow(
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            arns.repository(image.registry_account, image.repository),
        ),
        allow(
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            arns.log_group(log_group),
        ),
        everywhere(
            "cloudwatch:PutMetricData", StringLike={"cloudwatch:namespace": ["/aws/sagemaker/*", "AWS/SageMaker"]}
        ),
    ]


def create_resources(arns: Arns, settings: Settings) -> Statements:
    """FineTuning starts and watches training jobs, makes model, endpoint configuration and endpoint, and deletes an endpoint that found no capacity.

    IAM holds what bills by the hour to the deployed settings, whatever a plan says.
    """
    return [
        allow(
            ["sagemaker:CreateTrainingJob"],
            arns.sagemaker("training-job"),
            NumericLessThanEquals={"sagemaker:MaxRuntimeInSeconds": str(settings.max_training_seconds)},
            **_instance_types(settings.training_instance_type),
        ),
        allow(["sagemaker:DescribeTrainingJob", "sagemaker:AddTags"], arns.sagemaker("training-job")),
        allow(["sagemaker:CreateModel", "sagemaker:AddTags"], arns.sagemaker("model")),
        allow(
            ["sagemaker:CreateEndpointConfig"],
            arns.sagemaker("endpoint-config"),
            **_instance_types(settings.hosting_instance_type),
        ),
        # CreateEndpoint is authorised on the endpoint and on its configuration.
        allow(["sagemaker:CreateEndpoint", "sagemaker:AddTags"], arns.sagemaker("endpoint-config")),
        allow(
            ["sagemaker:CreateEndpoint", "sagemaker:DescribeEndpoint", "sagemaker:DeleteEndpoint", "sagemaker:AddTags"],
            arns.sagemaker("endpoint"),
        ),
    ]


def _instance_types(types: Sequence[str]) -> dict[str, Mapping[str, object]]:
    """The conditions of a request for these instance types and no others.

    ForAllValues also holds for a request whose types IAM does not see. AWS does not document whether it sees those of InstancePreferences
    and InstancePools, by which a list is sent; one type is sent as InstanceType, which it sees, so that Null can demand it.
    """
    only: dict[str, Mapping[str, object]] = {"ForAllValues:StringEquals": {"sagemaker:InstanceTypes": list(types)}}
    return only if len(types) > 1 else {**only, "Null": {"sagemaker:InstanceTypes": "false"}}


def remove_resources(arns: Arns) -> Statements:
    """TearDown finds, stops and deletes whatever of the project bills, and the sweeper does where TearDown cannot be started.

    ListTags tells the project's resources from others of similar names; DescribeEndpoint and its configuration give an endpoint's cost.
    """
    return [
        everywhere(*beginning("sagemaker:List")),
        allow(["sagemaker:StopTrainingJob", "sagemaker:ListTags"], arns.sagemaker("training-job")),
        allow(
            ["sagemaker:DeleteEndpoint", "sagemaker:DescribeEndpoint", "sagemaker:ListTags"], arns.sagemaker("endpoint")
        ),
        allow(
            ["sagemaker:DeleteEndpointConfig", "sagemaker:DescribeEndpointConfig", "sagemaker:ListTags"],
            arns.sagemaker("endpoint-config"),
        ),
        allow(["sagemaker:DeleteModel", "sagemaker:ListTags"], arns.sagemaker("model")),
    ]


def deny_new_spending() -> iam.PolicyStatement:
    """Attached to the FineTuning role at 100 % of the budget: nothing more that bills by the hour may be made.

    Its Lambdas and the schedule stay allowed: a refused run then says why, and its schedule still starts TearDown.
    """
    return iam.PolicyStatement(
        effect=iam.Effect.DENY, actions=["sagemaker:Create*", "sagemaker:UpdateEndpoint*"], resources=["*"]
    )
