"""What the state machines call beside Lambda: AWS itself, with the names that its errors have in a state machine."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from proof.simulation.aws.interpreter import Failure
from proof.simulation.cloud import Cloud

_SDK = re.compile(r"arn:aws:states:::aws-sdk:(\w+):(\w+)")
_SPELT = {"sagemaker": "SageMaker", "scheduler": "Scheduler", "sns": "Sns", "s3": "S3", "sfn": "Sfn"}
# Codes that the service's model knows; every other one is <Service>.<Service>Exception.
_MODELLED = {"ResourceInUse", "ResourceLimitExceeded", "ConflictException", "ResourceNotFoundException"}


def name_of(function: str) -> str:
    """A Lambda's module, from the placeholder of its ARN: `TearDownFunctionArn` is `teardown`."""
    return function.removesuffix("FunctionArn").lower()


def aws_call(cloud: Cloud, resource: str, asked: dict[str, Any]) -> Any:
    """One call of an AWS SDK integration. Raises Failure as Step Functions names it."""
    found = _SDK.fullmatch(resource)
    if found is None:
        raise ValueError(f"the proof knows no resource {resource}")
    service, operation = found.groups()
    spelt = _SPELT[service]
    if cloud.world.outage(service) is not None:
        seconds = cloud.world.random.uniform(1, 30)
        raise Failure(f"{spelt}.SdkClientException", f"{spelt} is away", seconds)
    try:
        return getattr(cloud.clients()[service], xform_name(operation))(**asked)
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        named = code if code in _MODELLED else spelt
        raise Failure(f"{spelt}.{named.removesuffix('Exception')}Exception", message) from error


def polled(cloud: Cloud, resource: str, asked: dict[str, Any]) -> datetime | None:
    """Until when a poll of a job or an endpoint sees nothing new."""
    name = asked.get("TrainingJobName") or asked.get("EndpointName")
    if not name or "describe" not in resource.lower():
        return None
    return cloud.world.sagemaker.unchanged_until(str(name))
