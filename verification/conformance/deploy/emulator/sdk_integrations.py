"""Step Functions' AWS SDK integrations of services that ministack's interpreter does not reach, by boto3.

Why it exists: the state machines call SageMaker and EventBridge Scheduler by `arn:aws:states:::aws-sdk:…`. ministack knows
neither service in such an ARN, and ends the execution with States.Runtime.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import ClientError
from error_names import SERVICES, error_name
from ministack.services import stepfunctions

_original = stepfunctions._invoke_aws_sdk_integration


@cache
def _client(service: str) -> Any:
    return boto3.client(service)  # region, credentials and addresses stand in the environment


def _modelled(client: Any) -> dict[str, str]:
    shapes = client.meta.service_model.error_shapes
    return {code: shape.name for shape in shapes for code in (shape.name, shape.error_code)}


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _invoke(resource: str, arguments: Any) -> Any:
    *_, service, action = resource.split(":")
    if service not in SERVICES:
        return _original(resource, arguments)
    client = _client(service)
    method = re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower()
    try:
        answer = getattr(client, method)(**arguments)
    except ClientError as error:
        known = error.response["Error"]
        name = error_name(service, str(known.get("Code", "")), _modelled(client))
        raise stepfunctions._ExecutionError(name, str(known.get("Message", ""))) from error
    answer.pop("ResponseMetadata", None)
    return json.loads(json.dumps(answer, default=_plain))


def install() -> None:
    """Put it in the place of ministack's own."""
    stepfunctions._invoke_aws_sdk_integration = _invoke
