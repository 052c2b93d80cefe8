"""ministack with what it lacks for this project. Runs in ministack's own environment, started by ../account.py.

.rehearsal/ministack/bin/python verification/conformance/deploy/emulator
"""

import json
import re
from datetime import datetime
from functools import cache
from typing import Any
from uuid import uuid4

import boto3
from botocore.exceptions import ClientError
from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id
from ministack.services import budgets, stepfunctions
from ministack.services.cloudformation import provisioners

# By boto3's name: Step Functions' in the names of errors.
_SERVICES = {"sagemaker": "SageMaker", "scheduler": "Scheduler"}
Made = tuple[str, dict[str, Any]]
_invoke_other = stepfunctions._invoke_aws_sdk_integration
_resource_other = iam_actions.extract_resource_arn
_resolve_other = iam_evaluator._resolve_condition_key


# Step Functions: the state machines call SageMaker and EventBridge Scheduler by `arn:aws:states:::aws-sdk:…`. ministack
# knows neither service in such an ARN, and ends the execution with States.Runtime. Here boto3 calls them.


@cache
def _client(service: str) -> Any:
    return boto3.client(service)  # region, credentials and addresses stand in the environment


def _invoke(resource: str, arguments: Any) -> Any:
    *_, service, action = resource.split(":")
    if service not in _SERVICES:
        return _invoke_other(resource, arguments)
    client = _client(service)
    method = re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower()
    try:
        answer = getattr(client, method)(**arguments)
    except ClientError as error:
        known, shapes = error.response["Error"], client.meta.service_model.error_shapes
        modelled = {code: shape.name for shape in shapes for code in (shape.name, shape.error_code)}
        # A code that the service's model lacks gets the service's own name.
        name = modelled.get(known.get("Code", ""), _SERVICES[service]).removesuffix("Exception")
        message = str(known.get("Message", ""))
        raise stepfunctions._ExecutionError(f"{_SERVICES[service]}.{name}Exception", message) from error
    answer.pop("ResponseMetadata", None)
    return json.loads(json.dumps(answer, default=lambda v: v.isoformat() if isinstance(v, datetime) else str(v)))


# AWS Budgets: ministack has its API, but its CloudFormation knows neither type and refuses the whole stack. The budget goes
# through that API, which checks it. Of budget actions ministack has nothing: the action is a name without anything behind it.


def _create_budget(logical_id: str, properties: dict[str, Any], stack_name: str) -> Made:
    budget = dict(properties["Budget"])
    name = budget.setdefault("BudgetName", f"{stack_name}-{logical_id}-{uuid4().hex[:12]}")
    notifications = properties.get("NotificationsWithSubscribers", [])
    request = {"AccountId": get_account_id(), "Budget": budget, "NotificationsWithSubscribers": notifications}
    status, _, body = budgets._create_budget(request)
    if status >= 400:
        raise ValueError(f"AWS::Budgets::Budget was rejected: {json.loads(body)}")
    return name, {}


def _delete_budget(name: str, properties: dict[str, Any]) -> None:
    budgets._delete_budget({"AccountId": get_account_id(), "BudgetName": name})


def _create_action(logical_id: str, properties: dict[str, Any], stack_name: str) -> Made:
    if properties["BudgetName"] not in budgets._budgets:
        raise ValueError(f"AWS::Budgets::BudgetsAction names a budget that does not exist: {properties['BudgetName']}")
    action = str(uuid4())
    return action, {"ActionId": action}


# Rights: the emulator's own IAM holds each call of a role against its policies (AUTH=true). Two things are decided here. The policies
# refuse a connection without TLS, and the emulator is called over plain HTTP on this machine. And a rule of the default bus has no bus in
# its ARN, as the emulator's own EventBridge spells it but not its IAM, which also overlooks the rule that ListTargetsByRule names.


def _resource(service: str, method: str, path: str, headers: Any, body: bytes, query: Any, *place: str) -> str:
    found = str(_resource_other(service, method, path, headers, body, query, *place))
    rule = json.loads(body or b"{}").get("Rule") if service == "events" else None
    return f"arn:aws:events:{':'.join(place)}:rule/{rule}" if rule else found.replace(":rule/default/", ":rule/")


def _resolve(key: str, context: Any) -> Any:
    return "true" if key.lower() == "aws:securetransport" else _resolve_other(key, context)


stepfunctions._invoke_aws_sdk_integration = _invoke
iam_actions.extract_resource_arn = _resource
iam_evaluator._resolve_condition_key = _resolve
provisioners._RESOURCE_HANDLERS |= {
    "AWS::Budgets::Budget": {"create": _create_budget, "delete": _delete_budget},
    "AWS::Budgets::BudgetsAction": {"create": _create_action, "delete": lambda action, properties: None},
}
app.main()
