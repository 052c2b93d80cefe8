"""The calls of Task states: what they ask of a service, and how Step Functions names what goes wrong."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from rehearsal.sagemaker.validation import service_model, violations

from .interpreter import Failure

# How Step Functions spells a service in the error names of its AWS SDK integrations.
_SPELT = {"sagemaker": "SageMaker", "dynamodb": "DynamoDb", "lambda": "Lambda"}


@cache
def error_name(service: str, code: str) -> str:
    """The name of a service error in a state machine: `<Service>.<Shape>`, with "Exception" at its end.

    Step Functions uses the AWS SDK for Java: a code that the service's model does not know is `<Service>.<Service>Exception`, of Lambda
    `Lambda.AWSLambdaException`.
    """
    spelt = _SPELT.get(service, service[:1].upper() + service[1:])
    known = (shape.name for shape in service_model(service).error_shapes if code in (shape.name, shape.error_code))
    unknown = "AWSLambda" if service == "lambda" else spelt
    return f"{spelt}.{str(next(known, unknown)).removesuffix('Exception')}Exception"


@cache
def operations(service: str) -> dict[str, str]:
    """The operations of a service by the methods of its boto3 client."""
    return {xform_name(name): name for name in service_model(service).operation_names}


def complaints(service: str, operation: str, arguments: Mapping[str, Any]) -> str:
    """What AWS's model has to say against a request: missing or unknown fields, wrong types, bounds, choices, patterns.

    `operation` is named as boto3's method or as in a state's resource. A `${Placeholder}`, which a deployment fills, is not judged.
    """
    shape = service_model(service).operation_model(operations(service)[xform_name(operation)]).input_shape
    return "; ".join(words for words in violations(shape, arguments) if "${" not in words) if shape else ""


def call_service(client: Any, service: str, operation: str, asked: Mapping[str, Any]) -> Any:
    """Call a service by a client of boto3's kind. Raises Failure as Step Functions names it."""
    try:
        return getattr(client, xform_name(operation))(**asked)
    except ClientError as error:
        told, name = error.response["Error"], error_name(service, str(error.response["Error"].get("Code", "")))
        raise Failure(name, told.get("Message", "") + _metadata(name, error.response)) from error
    except BotoCoreError as error:  # no answer, or none that can be read
        raise Failure(f"{error_name(service, '').split('.')[0]}.SdkClientException", str(error)) from error


def perform(client: Any, resource: str, asked: Mapping[str, Any]) -> Any:
    """What a task's resource gives for its arguments, as plain JSON values. Raises Failure.

    `resource` is Lambda's optimized integration or one of the AWS SDK.
    """
    service, operation = resource.split(":")[-2:]
    if service == "lambda":
        payload = asked.get("Payload", {})
        answer = call_service(client, service, operation, {**asked, "Payload": json.dumps(payload).encode()})
        content = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise Failure(content.get("errorType", "Exception"), json.dumps(content, separators=(",", ":")))
        return {"ExecutedVersion": "$LATEST", "StatusCode": answer["StatusCode"], "Payload": content}
    if words := complaints(service, operation, asked):
        raise Failure("States.Runtime", words)
    answer = call_service(client, service, operation, asked)
    return json.loads(
        json.dumps({key: part for key, part in answer.items() if key != "ResponseMetadata"}, default=_text)
    )


def _metadata(name: str, response: Mapping[str, Any]) -> str:
    """What the cause of a service's error ends with, if an answer came."""
    answer = response.get("ResponseMetadata")
    if not answer:
        return ""
    status, request = answer.get("HTTPStatusCode"), answer.get("RequestId")
    return f" (Service: {name.split('.')[0]}, Status Code: {status}, Request ID: {request})"


def _text(value: Any) -> str:
    """A moment as Step Functions writes it."""
    return str(value.isoformat().replace("+00:00", "Z"))
