"""Which rights a recorded call needs, and whether its role's deployed policies give them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from rehearsal.account.cloud import Cloud
from rehearsal.sagemaker import Call

Need = tuple[str, str]  # an IAM action and the ARN of its resource
_IAM_PREFIX = {"stepfunctions": "states", "sagemaker-runtime": "sagemaker", "service-quotas": "servicequotas"}
_IAM_ACTION = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "lambda:Invoke": "lambda:InvokeFunction",
}
_SAGEMAKER_KINDS = {
    "TrainingJobName": "training-job",
    "ModelName": "model",
    "EndpointConfigName": "endpoint-config",
    "EndpointName": "endpoint",
}


def needs(call: Call, region: str, account: str) -> Iterator[Need]:
    """Yield what IAM would ask for before it let a call through."""
    request, service = call.request, call.service
    prefix = _IAM_PREFIX.get(service, service)
    action = f"{prefix}:{call.operation}"
    action = _IAM_ACTION.get(action, action)
    arn = f"arn:aws:{prefix}:{region}:{account}:"
    if service == "s3":
        path = str(request["path"]).strip("/")
        yield action, f"arn:aws:s3:::{path.split('/')[0] if action == 's3:ListBucket' else path}"
    elif service == "dynamodb" and call.operation == "TransactWriteItems":
        for item in request["TransactItems"]:
            ((kind, body),) = item.items()
            yield (
                f"dynamodb:{'ConditionCheck' if kind == 'ConditionCheck' else kind}Item",
                f"{arn}table/{body['TableName']}",
            )
    elif service == "dynamodb":
        yield action, f"{arn}table/{request['TableName']}"
    elif service == "lambda":
        yield action, str(request["path"]).split("/functions/")[1].removesuffix("/invocations")
    elif service == "stepfunctions":
        yield action, str(request.get("stateMachineArn") or request["executionArn"])
    elif service == "sns":
        yield action, str(request["TopicArn"])
    elif service == "scheduler":
        yield action, f"{arn}schedule/default/{str(request['path']).rpartition('/')[2]}"
        if "Target" in request:
            yield "iam:PassRole", str(request["Target"]["RoleArn"])
    elif service == "ecr":  # the registry is another account's
        yield action, f"arn:aws:ecr:{region}:{request['registryId']}:repository/{request['repositoryName']}"
    elif prefix == "sagemaker":
        yield from _sagemaker(call, action, arn)
    else:
        yield action, "*"


def _sagemaker(call: Call, action: str, arn: str) -> Iterator[Need]:
    request = call.request
    named = [f"{arn}{kind}/{request[key]}" for key, kind in _SAGEMAKER_KINDS.items() if key in request]
    if call.operation == "ListTags":
        yield action, str(request["ResourceArn"])
        return
    if call.operation.startswith("List") or not named:
        yield action, "*"
        return
    for resource in named:
        yield action, resource
    if request.get("Tags"):
        yield "sagemaker:AddTags", named[-1] if call.operation == "CreateEndpoint" else named[0]
    for key in ("RoleArn", "ExecutionRoleArn"):
        if key in request:
            yield "iam:PassRole", str(request[key])


class Rights:
    """The inline policies of every deployed role."""

    def __init__(self, cloud: Cloud) -> None:
        iam = cloud.client("iam")
        self._statements: dict[str, list[dict[str, Any]]] = {}
        for role in iam.list_roles()["Roles"]:
            name = role["RoleName"]
            self._statements[name] = []
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
                document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                # moto keeps a policy made by CloudFormation as Python writes it.
                read = ast.literal_eval(document) if isinstance(document, str) else document
                self._statements[name] += read["Statement"]

    def knows(self, role: str) -> bool:
        """Whether a role was deployed; the person at the console and the stand-in's own calls have none."""
        return role in self._statements

    def allow(self, role: str, need: Need) -> bool:
        """Whether a role's policies give it a right (conditions apart)."""
        action, resource = need
        matching = [
            statement["Effect"]
            for statement in self._statements[role]
            if any(fnmatchcase(action, pattern) for pattern in _listed(statement["Action"]))
            and any(fnmatchcase(resource, pattern) for pattern in _listed(statement["Resource"]))
        ]
        return "Allow" in matching and "Deny" not in matching


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def missing(cloud: Cloud) -> list[str]:
    """Return what the calls so far needed and their roles do not have."""
    rights, found = Rights(cloud), set()
    for call in cloud.calls:
        if rights.knows(call.access_key):
            for need in needs(call, cloud.region, "123456789012"):
                if not rights.allow(call.access_key, need):
                    found.add(f"{call.access_key}: {need[0]} on {need[1]}")
    return sorted(found)
