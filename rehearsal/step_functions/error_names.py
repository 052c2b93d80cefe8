"""The names of errors as Step Functions gives them, patched into moto's interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel import branches_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_aws_sdk,
    state_task_service_lambda,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment

from rehearsal.sagemaker.validation import service_model

# How Step Functions spells a service in the error names of its AWS SDK integrations.
_SERVICE_NAMES = {
    "sagemaker": "SageMaker",
    "dynamodb": "DynamoDb",
    "sfn": "Sfn",
    "scheduler": "Scheduler",
    "sns": "Sns",
}


def aws_error_name(service: str, code: str, shape: str | None) -> str:
    """Return the name of a service error in an AWS SDK integration.

    Args:
        service: boto3's name of the service.
        code: the code in the answer.
        shape: the exception of the service's model that the code belongs to, None for a code it does not know.

    Step Functions uses the AWS SDK for Java: a modelled error is `<Service>.<Shape>`, with "Exception" at its end;
    any other code is `<Service>.<Service>Exception`.
    """
    name = _SERVICE_NAMES.get(service.lower(), service[:1].upper() + service[1:])
    error = shape or name
    return f"{name}.{error if error.endswith('Exception') else error + 'Exception'}"


@cache
def _modelled(service: str, code: str) -> str | None:
    for shape in service_model({"sfn": "stepfunctions"}.get(service, service)).error_shapes:
        if code in (shape.name, shape.error_code):
            return str(shape.name)
    return None


def install() -> None:
    """Patch moto, which says `sagemaker.sagemakerException` for an AWS SDK integration and `Lambda.` before any code."""
    service_class = state_task_service_aws_sdk.StateTaskServiceAwsSdk
    original = service_class._from_error

    def from_error(self: Any, env: Environment, ex: Exception) -> FailureEvent:
        if not isinstance(ex, state_task_service_aws_sdk.ClientError):
            return original(self, env=env, ex=ex)
        service, code = str(self.resource.api_name).lower(), str(ex.response["Error"].get("Code", ""))
        error = aws_error_name(service, code, _modelled(service, code))
        answer: Mapping[str, Any] = ex.response.get("ResponseMetadata", {})
        cause = (
            f"{ex.response['Error'].get('Message', '')} (Service: {error.split('.')[0]}, "
            f"Status Code: {answer.get('HTTPStatusCode')}, Request ID: {answer.get('RequestId')})"
        )
        event: FailureEvent = self._get_task_failure_event(env=env, error=error, cause=cause)
        return event

    service_class._from_error = from_error
    lambda_class = state_task_service_lambda.StateTaskServiceLambda
    named = lambda_class._error_cause_from_client_error

    def lambda_error(client_error: Any) -> tuple[str, str]:
        """What Lambda's model does not know, such as a missing permission, is an AWSLambdaException."""
        error, cause = named(client_error)
        known = _modelled("lambda", str(client_error.response["Error"].get("Code", "")))
        return error if known else "Lambda.AWSLambdaException", cause

    lambda_class._error_cause_from_client_error = staticmethod(lambda_error)
    # A branch may fail with an error of Step Functions' own, which moto refuses to pass on.
    branches_decl.CustomErrorName = type("BranchErrorName", (ErrorName,), {})
