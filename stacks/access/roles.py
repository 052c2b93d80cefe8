"""A role per actor. Policies are inline, so that a role exists with its rights before anything uses it."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.access import permissions
from stacks.configuration.catalog import Weights, gated_bucket, public_bucket
from stacks.configuration.images import Image
from stacks.names import PREFIX, Arns, Keys

# Services documented to send aws:SourceAccount when they assume a role. Lambda and EventBridge rules are not among them:
# the condition could lock them out, and only a principal with iam:PassRole can pass them the role.
_SEND_ACCOUNT = ("budgets", "sagemaker", "scheduler", "states")


def service_role(
    scope: Construct,
    role_id: str,
    *,
    service: str,
    purpose: str,
    statements: permissions.Statements,
    source_arn: str | None = None,
) -> iam.Role:
    """A role that one service may assume, for this account only where the service sends the account.

    `source_arn` narrows it further to resources of the service.
    """
    conditions: dict[str, object] = {}
    if service in _SEND_ACCOUNT:
        conditions["StringEquals"] = {"aws:SourceAccount": cdk.Stack.of(scope).account}
    if source_arn:
        conditions["ArnLike"] = {"aws:SourceArn": source_arn}
    return iam.Role(
        scope,
        role_id,
        assumed_by=iam.ServicePrincipal(f"{service}.amazonaws.com", conditions=conditions),
        description=purpose,
        inline_policies={"Permissions": iam.PolicyDocument(statements=statements)},
    )


def training_role(scope: cdk.Stack, bucket_arn: str, weights: Weights, image: Image) -> iam.Role:
    """The role of the training container: reads weights, corpus and code, writes adapter and checkpoints."""
    return service_role(
        scope,
        "TrainingRole",
        service="sagemaker",
        purpose="Captune: SageMaker reads weights and corpus and writes the adapter of a training job.",
        statements=[
            *_weights(Arns(scope), weights),
            # SageMaker writes checkpoints while it trains and reads them when it resumes.
            permissions.objects(bucket_arn, "GetObject", Keys.CODE, Keys.INPUT, Keys.CHECKPOINTS),
            permissions.objects(bucket_arn, "PutObject", Keys.TRAINING, Keys.CHECKPOINTS),
            # What training deletes of its checkpoints, SageMaker deletes in the bucket: else each start would bring all of them back.
            permissions.objects(bucket_arn, "DeleteObject", Keys.CHECKPOINTS),
            permissions.list_bucket(bucket_arn),
            *permissions.container(Arns(scope), image, "/aws/sagemaker/TrainingJobs"),
        ],
    )


def hosting_role(scope: cdk.Stack, bucket_arn: str, weights: Weights, image: Image) -> iam.Role:
    """The role of the endpoint's container: reads weights and adapter."""
    return service_role(
        scope,
        "HostingRole",
        service="sagemaker",
        purpose="Captune: SageMaker loads the base weights and the adapter into the endpoint.",
        statements=[
            *_weights(Arns(scope), weights),
            permissions.objects(bucket_arn, "GetObject", Keys.TRAINING),
            permissions.list_bucket(bucket_arn),
            *permissions.container(Arns(scope), image, f"/aws/sagemaker/Endpoints/{PREFIX}-*"),
        ],
    )


def _weights(arns: Arns, weights: Weights) -> permissions.Statements:
    """The user's folder and nothing beside it; else JumpStart's buckets, of which first runs most often lack the gated one.

    AWS documents read access to the public bucket for every JumpStart model.
    """
    if weights.own:
        bucket = arns.bucket(weights.bucket)
        return [
            permissions.objects(bucket, "GetObject", f"{weights.prefix}*"),
            permissions.list_folder(bucket, weights.prefix),
            permissions.decrypt_objects(arns, weights.region, bucket, weights.prefix),
        ]
    # Both, whichever these weights are in: a run that began before a deployment goes on reading its own.
    buckets = [arns.bucket(name) for name in (gated_bucket(weights.region), public_bucket(weights.region))]
    return [permissions.allow(["s3:GetObject"], *(f"{arn}/*" for arn in buckets)), permissions.list_bucket(*buckets)]
