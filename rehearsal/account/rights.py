"""What the deployed roles may do, and which IAM actions a call needs on which resources.

moto and the SageMaker stand-in check no rights; AWS does, so each call is compared with the policies here.

A call needs actions on resources, and each must be allowed by a policy of its role. A condition is compared with the request; one
whose key or operator is unknown here allows nothing. Whoever acts as no deployed role, such as the person at the console, may do
everything.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from rehearsal.calls import Call, ServiceError

from .clients import ACCOUNT

# How each service refuses, where not with AccessDeniedException and 400.
_REFUSALS = {"s3": ("AccessDenied", 403), "sns": ("AuthorizationError", 403), "lambda": ("AccessDeniedException", 403)}
_IAM_PREFIX = {"stepfunctions": "states", "sagemaker-runtime": "sagemaker", "service-quotas": "servicequotas"}
_IAM_ACTION = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "lambda:Invoke": "lambda:InvokeFunction",
}

# By what a request names a resource, the kind in its ARN. CreateEndpoint names two: the configuration, and then what it makes.
_ARN_KINDS = {
    "TrainingJobName": "training-job",
    "ModelName": "model",
    "EndpointConfigName": "endpoint-config",
    "EndpointName": "endpoint",
}


# Condition keys with their values.
Context = tuple[tuple[str, tuple[str, ...]], ...]


class Need(NamedTuple):
    """An IAM action, the ARN of its resource, and the values of each condition key that is known; () where the request leaves it out."""

    action: str
    resource: str
    context: Context = ()


class Rights:
    """The inline policies of every deployed role. Before `read` there are none, and every call may be made.

    `refused` are the calls that were refused, as "role: action on resource".
    """

    def __init__(self, region: str) -> None:
        self.refused: list[str] = []
        self._region = region
        self._statements: dict[str, list[dict[str, Any]]] = {}
        self._known: dict[tuple[str, Need], bool] = {}

    def read(self, iam: Any) -> None:
        """Read the policies of the account."""
        for name in [role["RoleName"] for role in iam.list_roles()["Roles"]]:
            self._statements[name] = []
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
                document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                # moto keeps a policy made by CloudFormation as Python writes it.
                read = ast.literal_eval(document) if isinstance(document, str) else document
                self._statements[name] += read["Statement"]

    def _allow(self, role: str, need: Need) -> bool:
        """Whether a role has a permission. You at the console and the simulated services are no deployed role: they have all."""
        if role not in self._statements:
            return True
        if (role, need) not in self._known:
            effects = {one["Effect"] for one in self._statements[role] if speaks_of(one, need)}
            self._known[role, need] = effects == {"Allow"}
        return self._known[role, need]

    def authorize(self, call: Call) -> None:
        """Raise the refusal of a call that its role may not make."""
        if call.access_key not in self._statements:
            return
        for need in needs(call.service, call.operation, call.request, self._region, ACCOUNT):
            if not self._allow(call.access_key, need):
                self.refused.append(f"{call.access_key}: {need.action} on {need.resource}")
                raise _refusal(call, need)

    def hide(self, call: Call) -> bool:
        """Whether S3 says "access denied" of a missing object, as it does to a role that may not list the bucket."""
        bucket = str(call.request.get("path", "")).strip("/").split("/")[0]
        return not self._allow(call.access_key, Need("s3:ListBucket", f"arn:aws:s3:::{bucket}"))

    def count(self, calls: Iterable[Call]) -> int:
        """How many of these calls deployed roles made."""
        return sum(call.access_key in self._statements for call in calls)


def _refusal(call: Call, need: Need) -> ServiceError:
    """The service's answer to a call without permission."""
    code, status = _REFUSALS.get(call.service, ("AccessDeniedException", 400))
    who = f"arn:aws:sts::{ACCOUNT}:assumed-role/{call.access_key}/rehearsal"
    return ServiceError(
        code,
        f"User: {who} is not authorized to perform: {need.action} on resource: {need.resource} because no identity-based policy "
        f"allows the {need.action} action",
        status,
    )


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """IAM's wildcards: * for any characters, ? for one."""
    return re.compile("".join({"*": ".*", "?": "."}.get(sign, re.escape(sign)) for sign in text), re.DOTALL)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def speaks_of(statement: Mapping[str, Any], need: Need) -> bool:
    """Whether a statement allows or denies what is needed."""
    return (
        any(_pattern(one).fullmatch(need.action) for one in _listed(statement["Action"]))
        and any(_pattern(one).fullmatch(need.resource) for one in _listed(statement["Resource"]))
        and all(
            _holds(operator, _listed(wanted), dict(need.context).get(key), unknown=statement["Effect"] == "Deny")
            for operator, conditions in statement.get("Condition", {}).items()
            for key, wanted in conditions.items()
        )
    )


def _like(wanted: str, given: str) -> bool:
    return _pattern(wanted).fullmatch(given) is not None


# Of a condition's value and the request's. Other operators are unknown here.
_COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "ArnEquals": _like,
    "StringEquals": lambda wanted, given: given == wanted,
    "StringLike": _like,
    "NumericLessThanEquals": lambda wanted, given: float(given) <= float(wanted),
}


def _holds(operator: str, wanted: Sequence[str], given: Sequence[str] | None, *, unknown: bool) -> bool:
    """Whether a condition holds. Like IAM, ForAllValues holds for a key that the request leaves out, and a plain operator does not."""
    every, _, comparison = operator.rpartition(":")
    if given is None or every not in ("", "ForAllValues") or comparison not in ("Null", *_COMPARISONS):
        return unknown
    if comparison == "Null":
        return wanted == ["false" if given else "true"]
    matches = [any(_COMPARISONS[comparison](one, value) for one in wanted) for value in given]
    return all(matches) and bool(every or matches)


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
    elif prefix == "sagemaker":
        yield from _of_sagemaker(operation, request, action, arn)
    elif operation == "TransactWriteItems":
        for item in request["TransactItems"]:
            ((kind, body),) = item.items()
            yield Need(f"dynamodb:{kind}Item", _RESOURCE["dynamodb"](body, arn), _leading_keys(body))
    else:
        context = _leading_keys(request) if service == "dynamodb" else ()
        yield Need(action, _RESOURCE[service](request, arn) if service in _RESOURCE else "*", context)
        if "Target" in request:
            yield _passing(str(request["Target"]["RoleArn"]), service)


# By service, the ARN that a request to it names, in full or after the beginning that all of the service's ARNs have.
_RESOURCE: Mapping[str, Callable[[Mapping[str, Any], str], str]] = {
    "dynamodb": lambda request, arn: f"{arn}table/{request['TableName']}",
    "lambda": lambda request, arn: str(request["FunctionName"]),
    "stepfunctions": lambda request, arn: str(request.get("stateMachineArn") or request["executionArn"]),
    "sns": lambda request, arn: str(request.get("TopicArn", "*")),
    "events": lambda request, arn: f"{arn}rule/{request.get('Name') or request.get('Rule')}",
    "scheduler": lambda request, arn: f"{arn}schedule/default/{request.get('Name')}",
    # The registry is another account's.
    "ecr": lambda request, arn: (
        f"{arn.rsplit(':', 2)[0]}:{request['registryId']}:repository/{request['repositoryName']}"
    ),
}


def _leading_keys(request: Mapping[str, Any]) -> Context:
    """The partition key of the one item that a request names; a scan names none."""
    key = request.get("Item") or request.get("Key") or {}
    return (("dynamodb:LeadingKeys", (str(key["pk"]["S"]),) if key else ()),)


def _hardware(request: Mapping[str, Any]) -> Context:
    """Instance types, in the newer lists too, and the longest time that a job or an endpoint's configuration asks for."""
    parts = [request.get("ResourceConfig", {}), *request.get("ProductionVariants", [])]
    lists = [one for part in parts for name in ("InstancePreferences", "InstancePools") for one in part.get(name, [])]
    types = tuple(str(one["InstanceType"]) for one in (*parts, *lists) if "InstanceType" in one)
    longest = request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
    seconds = () if longest is None else (str(longest),)
    return (("sagemaker:InstanceTypes", types), ("sagemaker:MaxRuntimeInSeconds", seconds))


def _of_s3(request: Mapping[str, Any], action: str) -> Need:
    path = str(request["path"]).strip("/")
    if action == "s3:GetObject" and "versionId" in request:
        action = "s3:GetObjectVersion"
    if action != "s3:ListBucket":
        return Need(action, f"arn:aws:s3:::{path}")
    return Need(action, f"arn:aws:s3:::{path.split('/')[0]}", (("s3:prefix", (str(request.get("prefix", "")),)),))


def _of_sagemaker(operation: str, request: Mapping[str, Any], action: str, arn: str) -> Iterator[Need]:
    named = [f"{arn}{kind}/{request[key]}" for key, kind in _ARN_KINDS.items() if key in request]
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
        yield Need(action, resource, _hardware(request))
    if request.get("Tags"):
        yield Need("sagemaker:AddTags", named[-1] if operation == "CreateEndpoint" else named[0])
    for key in ("RoleArn", "ExecutionRoleArn"):
        if key in request:
            yield _passing(str(request[key]), "sagemaker")


def _passing(role_arn: str, service: str) -> Need:
    return Need("iam:PassRole", role_arn, (("iam:PassedToService", (f"{service}.amazonaws.com",)),))
