"""Which rights the state machines and the containers need, read from their definitions, and whether the roles allow them, as IAM evaluates it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from captune.check.findings import Findings, ok, problem, warning
from common.contracts import run_folder
from common.names import PREFIX, trial_name
from common.resources import ARN_KINDS
from rehearsal.account.needs import Need
from rehearsal.account.needs import needs as needs_of

# No execution can have this name's run: it only gives the patterns of the roles something to match.
RUN = f"{PREFIX}-check-aws"
_NOBODY_ALLOWS, _DENIED = "no statement allows it", "an explicit deny"
_FIXES = {
    _DENIED: "if the budget alarm went off: captune release; else ask who set that deny",
    _NOBODY_ALLOWS: "make deploy; if it stays, add it in stacks/access/permissions.py",
}
_S3_PREFIX = re.compile(r'"s3://([^"]+/)"')
_IMAGE = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com/([^:@]+)[:@]")


@dataclass(frozen=True)
class Place:
    """Where the calls are made, and the bucket that the runs lie in."""

    account: str
    region: str
    bucket: str

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of this account and region."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


def of_definition(text: str, place: Place) -> tuple[list[Need], list[str]]:
    """What the states of a machine need of its role, and the calls that could not be read."""
    needs: dict[Need, None] = {}
    unread = []
    for name, state in _tasks(json.loads(text)):
        *_, service, operation = state["Resource"].split(":")
        request = _request(service, state.get("Arguments", {}), place)
        found = list(needs_of(service, operation[0].upper() + operation[1:], request, place.region, place.account))
        if all(need.resource != "*" for need in found):
            needs.update(dict.fromkeys(found))
        else:
            unread.append(f"{service}:{operation} ({name})")
    return list(needs), unread


def of_training(definition: str, place: Place) -> list[Need]:
    """What SageMaker needs of the training role: weights, corpus and code in, adapter and checkpoints out."""
    (call,) = _calls(definition, "createTrainingJob")[:1]
    runs = f"arn:aws:s3:::{place.bucket}/{run_folder.prefix(RUN)}"
    inputs = [f"{runs}{run_folder.CORPUS}", f"{runs}{run_folder.HELD_OUT}", f"{runs}{run_folder.CODE}train.py"]
    # Checkpoints are written while it trains, deleted as training deletes them, and read when SageMaker starts the job again.
    checkpoint = f"arn:aws:s3:::{place.bucket}/{run_folder.checkpoints(RUN)}checkpoint-1/{run_folder.ADAPTER_WEIGHTS}"
    image, log_group = call["AlgorithmSpecification"]["TrainingImage"], "/aws/sagemaker/TrainingJobs"
    return [
        *_of_container(call, image, log_group, [*inputs, checkpoint], place),
        *(Need("s3:PutObject", one) for one in (_adapter(place), checkpoint)),
        Need("s3:DeleteObject", checkpoint),
    ]


def of_hosting(definition: str, place: Place) -> list[Need]:
    """What SageMaker needs of the hosting role: weights and adapter in."""
    (call,) = _calls(definition, "createModel")[:1]
    image, log_group = call["PrimaryContainer"]["Image"], f"/aws/sagemaker/Endpoints/{RUN}"
    return list(_of_container(call, image, log_group, [_adapter(place)], place))


def _of_container(
    call: dict[str, Any], image: str, log_group: str, inputs: Sequence[str], place: Place
) -> Iterator[Need]:
    """What every container needs: its inputs and the weights, its image, its log and its metrics.

    The weights are each S3 prefix that the call names as it is; the others are expressions and lie in the run's own prefix.
    """
    weights = [f"arn:aws:s3:::{uri}config.json" for uri in sorted(set(_S3_PREFIX.findall(json.dumps(call))))]
    yield from (Need("s3:GetObject", one) for one in (*inputs, *weights))
    yield Need("s3:ListBucket", f"arn:aws:s3:::{place.bucket}")
    for one in weights:
        bucket, _, key = one.partition("/")
        yield Need("s3:ListBucket", bucket, (("s3:prefix", key.removesuffix("config.json")),))
        # S3 decrypts a user's own folder in the role's name. JumpStart's buckets have no key that is asked for.
        if not bucket.startswith("arn:aws:s3:::jumpstart-"):
            by = ("kms:ViaService", f"s3.{place.region}.amazonaws.com"), ("kms:EncryptionContext:aws:s3:arn", one)
            yield Need("kms:Decrypt", place.arn("kms", "key/of-the-weights"), by)
    if match := _IMAGE.match(image):
        account, region, repository = match.groups()
        for action in ("ecr:BatchGetImage", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer"):
            of_others = account != place.account
            yield Need(action, f"arn:aws:ecr:{region}:{account}:repository/{repository}", is_of_others=of_others)
    yield Need("ecr:GetAuthorizationToken", "*")
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        yield Need(action, place.arn("logs", f"log-group:{log_group}:log-stream:one"))
    yield Need("cloudwatch:PutMetricData", "*", (("cloudwatch:namespace", "/aws/sagemaker/TrainingJobs"),))


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


def _request(service: str, arguments: dict[str, Any], place: Place) -> dict[str, Any]:
    """What a state calls with, its expressions filled in where they name a resource."""
    names = {key: _name(arguments[key]) for key in (*ARN_KINDS, "Name") if key in arguments}
    if service != "s3":
        return {**arguments, **names}
    return {"path": place.bucket, "prefix": run_folder.key(RUN, f"{run_folder.TRAINING}{run_folder.METRICS}")}


def _name(expression: str) -> str:
    """What the expression of a resource's name may come to: the run's name, or the one of its trial."""
    return trial_name(RUN) if "trialName" in expression else RUN


def _calls(definition: str, operation: str) -> list[dict[str, Any]]:
    tasks = [state for _, state in _tasks(json.loads(definition))]
    return [state["Arguments"] for state in tasks if state["Resource"].endswith(f":{operation}")]


def _tasks(machine: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, state in machine["States"].items():
        if state["Type"] == "Task":
            yield name, state
        for inner in [*state.get("Branches", []), *([state["ItemProcessor"]] if "ItemProcessor" in state else [])]:
            yield from _tasks(inner)


@dataclass(frozen=True)
class Role:
    """One role: what it is for, its inline policies as the template has them, and its ARN once it is deployed."""

    title: str
    policies: Sequence[dict[str, Any]]
    arn: str | None = None


def _reason(result: dict[str, Any]) -> str:
    """Who refuses, as far as IAM says."""
    if result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations") is False:
        return "a policy of your organisation"
    if result.get("PermissionsBoundaryDecisionDetail", {}).get("AllowedByPermissionsBoundary") is False:
        return "the permissions boundary of the role"
    return _DENIED if result["EvalDecision"] == "explicitDeny" else _NOBODY_ALLOWS


def check(iam: Any, role: Role, needs: Sequence[Need], unread: Sequence[str] = ()) -> Findings:
    """Simulates every right: on the template's policies, or on the deployed role with all that is attached to it.

    A deployed role is judged with its organisation's policies and its boundary, which the template does not know.
    """
    subject = f"rights of {role.title}"
    refused = [refusal for group in _groups(needs) for refusal in _refusals(iam, role, group)]
    # IAM knows no policy of a resource's owner, who may allow it.
    untold = [need for need, reason in refused if need.is_of_others and reason == _NOBODY_ALLOWS]
    where = "as deployed" if role.arn else "as the template has them"
    if len(refused) == len(untold):
        yield ok(subject, f"all {len(needs) - len(untold)} are allowed, {where}")
    for need, reason in refused:
        if need not in untold:
            text = f"{need.action} on {need.resource} is refused: {reason}, {where}"
            yield problem(subject, text, _FIXES.get(reason, "ask your administrator to allow it"))
    if untold:
        resources = ", ".join(sorted({need.resource for need in untold}))
        text = f"IAM's simulation does not tell whether the owner of {resources} allows it"
        yield warning(subject, text, "nothing: TryModel of the first run tells, before anything is paid")
    if unread:
        fix = "add to rehearsal/account/needs.py which resource it is authorised on"
        yield warning(subject, f"not simulated: {', '.join(unread)}", fix)


def _groups(needs: Sequence[Need]) -> list[list[Need]]:
    """Needs that one request can ask for: IAM evaluates every action of a request on every resource of it."""
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[Need]] = {}
    for need in needs:
        groups.setdefault((need.resource, need.context), []).append(need)
    return list(groups.values())


def _refusals(iam: Any, role: Role, group: Sequence[Need]) -> Iterator[tuple[Need, str]]:
    """The needs that are refused, each with who refuses it."""
    first = group[0]
    request: dict[str, Any] = {"ActionNames": [need.action for need in group], "ResourceArns": [first.resource]}
    if first.context:
        request["ContextEntries"] = [
            {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for key, value in first.context
        ]
    if role.arn:
        pages = iam.get_paginator("simulate_principal_policy").paginate(PolicySourceArn=role.arn, **request)
    else:
        documents = [json.dumps(document) for document in role.policies]
        pages = iam.get_paginator("simulate_custom_policy").paginate(PolicyInputList=documents, **request)
    results = {result["EvalActionName"]: result for page in pages for result in page["EvaluationResults"]}
    for need in group:
        # An action that IAM leaves out of its answer is one that it does not know.
        result = results.get(need.action, {"EvalDecision": "implicitDeny"})
        if result["EvalDecision"] != "allowed":
            yield need, _reason(result)
