"""Which IAM actions a call needs, on which resources: the rehearsal judges the calls of its roles by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from common.resources import ARN_KINDS

_IAM_PREFIX = {"stepfunctions": "states", "sagemaker-runtime": "sagemaker", "service-quotas": "servicequotas"}
_IAM_ACTION = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "lambda:Invoke": "lambda:InvokeFunction",
}


class Need(NamedTuple):
    """An IAM action, the ARN of its resource, and the context keys that conditions ask for."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


def needs(service: str, operation: str, request: Mapping[str, Any], region: str, account: str) -> Iterator[Need]:
    """Yield what IAM asks for before it lets a call through; "*" where the call names no resource.

    A request to S3 is the `path` of its address and the `prefix` that a listing asks for.
    """
    prefix = _IAM_PREFIX.get(service, service)
    action = f"{prefix}:{operation}"
    action = _IAM_ACTION.get(action, action)
    arn = f"arn:aws:{prefix}:{region}:{account}:"
    if service == "s3":
        yield _of_s3(request, action)
    elif service == "dynamodb" and operation == "TransactWriteItems":
        for item in request["TransactItems"]:
            ((kind, body),) = item.items()
            yield Need(f"dynamodb:{kind}Item", f"{arn}table/{body['TableName']}")
    elif service == "dynamodb":
        yield Need(action, f"{arn}table/{request['TableName']}")
    elif service == "lambda":
        yield Need(action, str(request["FunctionName"]))
    elif service == "stepfunctions":
        yield Need(action, str(request.get("stateMachineArn") or request["executionArn"]))
    elif service == "sns":
        yield Need(action, str(request.get("TopicArn", "*")))
    elif service == "scheduler":
        yield Need(action, f"{arn}schedule/default/{request.get('Name')}")
        if "Target" in request:
            yield _passing(str(request["Target"]["RoleArn"]), service)
    elif service == "ecr":  # the registry is another account's
        yield Need(action, f"arn:aws:ecr:{region}:{request['registryId']}:repository/{request['repositoryName']}")
    elif prefix == "sagemaker":
        yield from _of_sagemaker(operation, request, action, arn)
    else:
        yield Need(action, "*")


def _of_s3(request: Mapping[str, Any], action: str) -> Need:
    path = str(request["path"]).strip("/")
    if action == "s3:GetObject" and "versionId" in request:
        action = "s3:GetObjectVersion"
    if action != "s3:ListBucket":
        return Need(action, f"arn:aws:s3:::{path}")
    return Need(action, f"arn:aws:s3:::{path.split('/')[0]}", (("s3:prefix", str(request.get("prefix", ""))),))


def _of_sagemaker(operation: str, request: Mapping[str, Any], action: str, arn: str) -> Iterator[Need]:
    named = [f"{arn}{kind}/{request[key]}" for key, kind in ARN_KINDS.items() if key in request]
    if operation == "ListTags":
        yield Need(action, str(request["ResourceArn"]))
        return
    if "HubContentName" in request:  # JumpStart's, not the account's
        hub, model = request["HubName"], f"{request['HubContentName']}/{request['HubContentVersion']}"
        yield Need(action, f"{arn.rsplit(':', 2)[0]}:aws:hub-content/{hub}/Model/{model}")
        return
    if operation.startswith("List") or not named:
        yield Need(action, "*")
        return
    for resource in named:
        yield Need(action, resource)
    if request.get("Tags"):
        yield Need("sagemaker:AddTags", named[-1] if operation == "CreateEndpoint" else named[0])
    for key in ("RoleArn", "ExecutionRoleArn"):
        if key in request:
            yield _passing(str(request[key]), "sagemaker")


def _passing(role_arn: str, service: str) -> Need:
    return Need("iam:PassRole", role_arn, (("iam:PassedToService", f"{service}.amazonaws.com"),))
