"""What moto's interpreter of the Amazon States Language lacks, patched in once per process.

Each patch says what AWS does and what moto does instead. They act through the `Interpreter` in force, which the
`Cloud` in use provides, so that one process can run one cloud after another.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import botocore.session
from moto.stepfunctions.parser.api import EvaluationFailedEventDetails, ExecutionStatus, HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.common.string import string_expression
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_aws_sdk,
    state_task_service_lambda,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped
from moto.stepfunctions.parser.asl.utils import boto_client
from moto.stepfunctions.parser.backend import execution as execution_module
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker

from . import expressions, pacing

# How Step Functions spells a service in the error names of its AWS SDK integrations.
_SERVICE_NAMES = {
    "sagemaker": "SageMaker",
    "dynamodb": "DynamoDb",
    "sfn": "Sfn",
    "scheduler": "Scheduler",
    "sns": "Sns",
}


class Interpreter(Protocol):
    """What the interpreter needs to know of the cloud it runs in."""

    time_scale: float  # Wait seconds and Retry intervals are divided by it
    timeout_scale: float  # TimeoutSeconds of executions and of tasks are divided by it

    @property
    def clock(self) -> Callable[[], datetime]:
        """The time of the executions."""

    def client_for(self, service: str, role_arn: str) -> Any:
        """Return a boto3 client that acts as a role."""

    def on_history(self, execution_arn: str, event: Mapping[str, Any]) -> None:
        """Take note of an event of an execution's history."""

    def on_terminal(self, execution: Any) -> None:
        """Take note that an execution has ended."""


_in_force: list[Interpreter] = []
_installed = threading.Lock()
_done: list[bool] = []


def use(interpreter: Interpreter | None) -> None:
    """Make `interpreter` the one in force, or none."""
    _in_force[:] = [interpreter] if interpreter is not None else []
    expressions.clock[:] = [interpreter.clock if interpreter is not None else lambda: datetime.now(UTC)]


def current() -> Interpreter | None:
    """Return the interpreter in force."""
    return _in_force[0] if _in_force else None


def install() -> None:
    """Patch moto. Safe to call any number of times."""
    with _installed:
        if _done:
            return
        _done.append(True)
        _use_jsonata()
        _use_clients_with_roles()
        _name_errors_as_aws_does()
        _report_history_and_ends()
        pacing.install(current)


def _use_jsonata() -> None:
    """JSONata: evaluated by jsonata-python; what gives nothing or fails is a States.QueryEvaluationError."""

    def evaluate(self: Any, env: Environment) -> None:
        variables: dict[str, Any] = {}
        store = env.variable_store
        variables.update(store._outer_scope)
        variables.update(store._inner_scope)
        states = dict(env.states._states_data)
        for name in ("result", "errorOutput"):  # moto keeps null where AWS has nothing
            if states.get(name) is None:
                states.pop(name, None)
        variables["states"] = states
        try:
            env.stack.append(expressions.evaluate(self.expression, variables))
        except expressions.ExpressionError as error:
            raise FailureEventException(_query_failure(env, str(error))) from error

    # mypy cannot follow assignments to methods; the attribute is checked by the tests.
    string_expression.StringJSONata._eval_body = evaluate
    string_expression.StringVariableSample._eval_body = evaluate


def _query_failure(env: Environment, cause: str) -> FailureEvent:
    name = StatesErrorName(typ=StatesErrorNameType.StatesQueryEvaluationError)
    details = EvaluationFailedEventDetails(error=name.error_name, cause=cause)
    return FailureEvent(
        env=env,
        error_name=name,
        event_type=HistoryEventType.EvaluationFailed,
        event_details=EventDetails(evaluationFailedEventDetails=details),
    )


def _use_clients_with_roles() -> None:
    """Clients: moto's go to port 5000, all alike and unchecked. Here: the right endpoint, the role, checked parameters."""
    original = boto_client.boto_client_for

    def client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        interpreter = current()
        if interpreter is None:
            return original(region=region, service=service, state_credentials=state_credentials)
        return interpreter.client_for(service, getattr(state_credentials, "role_arn", ""))

    boto_client.boto_client_for = client_for
    for module in list(sys.modules.values()):  # those that imported the function by its name
        if getattr(module, "boto_client_for", None) is original:
            module.boto_client_for = client_for  # type: ignore[attr-defined]


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


def _modelled(service: str, code: str) -> str | None:
    session = botocore.session.get_session()
    api = {"sfn": "stepfunctions"}.get(service, service)
    for shape in session.get_service_model(api).error_shapes:
        if code in (shape.name, shape.error_code):
            return str(shape.name)
    return None


def _name_errors_as_aws_does() -> None:
    """Errors of AWS SDK integrations: moto says `sagemaker.sagemakerException`."""
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


def _report_history_and_ends() -> None:
    """History and ends, which moto keeps to itself; and the error and cause of an end, which it drops."""
    publish = EventManager._publish_history_event

    def publish_and_tell(self: Any, **event: Any) -> None:
        publish(self, **event)
        tell: Callable[[Mapping[str, Any]], None] | None = getattr(self, "rehearsal_listener", None)
        if tell is not None:
            tell(self._history_event_list[-1])

    EventManager._publish_history_event = publish_and_tell

    environment = ExecutionWorker._get_evaluation_environment

    def environment_with_listener(self: Any) -> Environment:
        if self.env is None:
            env = environment(self)
            arn, interpreter = self._evaluation_details.execution_details.arn, current()
            if interpreter is not None:
                env.event_manager.rehearsal_listener = lambda event: interpreter.on_history(arn, event)
            started = env.states.context_object.context_object_data["Execution"]
            if isinstance(started["StartTime"], datetime):  # AWS gives ISO 8601 with a Z
                moment = started["StartTime"].astimezone(UTC)
                started["StartTime"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self.env = env
        return self.env

    ExecutionWorker._get_evaluation_environment = environment_with_listener

    communication = execution_module.BaseExecutionWorkerCommunication

    def terminated(self: Any) -> None:
        execution = self.execution
        state = execution.exec_worker.env.program_state()
        if isinstance(state, ProgramStopped):
            execution.error, execution.cause = state.error or None, state.cause or None
        self._reflect_execution_status()
        interpreter = current()
        if interpreter is not None:
            interpreter.on_terminal(execution)

    communication.terminated = terminated


def is_terminal(execution: Any) -> bool:
    """Whether an execution of moto's has ended."""
    return execution.exec_status not in (None, ExecutionStatus.RUNNING)


def output_of(execution: Any) -> Any:
    """Return what a successful execution gave, None for another."""
    return json.loads(json.dumps(execution.output, default=str)) if execution.output is not None else None
