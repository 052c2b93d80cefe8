"""What moto's interpreter of the Amazon States Language lacks, patched in once per process.

Each patch says what AWS does and what moto does instead. They act through the `Cloud` in use (its time scale, clock, clients by
role, `on_history` and `on_terminal`), so that one process can run one cloud after another.
"""

import copy
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from moto.core.responses import ActionResult
from moto.stepfunctions.parser.api import EvaluationFailedEventDetails, HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.common.retry.retrier_decl import RetrierDecl
from moto.stepfunctions.parser.asl.component.common.retry.retrier_outcome import RetrierOutcome
from moto.stepfunctions.parser.asl.component.common.string import string_expression
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import EvalTimeoutError
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel import branches_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_aws_sdk,
    state_task_service_lambda,
)
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
from moto.stepfunctions.parser.asl.eval.program_state import ProgramRunning, ProgramStopped
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import boto_client
from moto.stepfunctions.parser.backend import execution as execution_module
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.responses import StepFunctionResponse

from rehearsal import jsonata
from rehearsal.sagemaker.validation import service_model

_in_force: list[Any] = []


def use(cloud: Any) -> None:
    """Make `cloud` the one in use, or none."""
    _in_force[:] = [cloud] if cloud is not None else []


def current() -> Any:
    """Return the cloud in use, or None."""
    return _in_force[0] if _in_force else None


@cache
def install() -> None:
    """Patch moto, once."""
    _use_jsonata()
    _use_clients_with_roles()
    _name_errors()
    _report_history_and_ends()
    _wake_at_the_end()
    _shorten_waits()
    _end_tasks_at_once()
    _start_and_stop()
    _complete_the_api()
    _read_a_definition_once()


def _read_a_definition_once() -> None:
    """One reading serves every execution of a definition; moto reads anew for each, for a third of its time.

    The executions share what was read, which keeps nothing of them; a name under which each keeps its own must be there before.
    """
    EvalComponent.heap_key = property(lambda self: str(id(self)))
    read = lru_cache(maxsize=16)(AmazonStateLanguageParser.parse)
    AmazonStateLanguageParser.parse = staticmethod(read)


def _use_jsonata() -> None:
    """JSONata: evaluated by jsonata-python; what gives nothing or fails is a States.QueryEvaluationError."""

    def evaluate(self: Any, env: Environment) -> None:
        store, states = env.variable_store, dict(env.states._states_data)
        for name in ("result", "errorOutput"):  # moto keeps null where AWS has nothing
            if states.get(name) is None:
                states.pop(name, None)
        variables = {**store._outer_scope, **store._inner_scope, "states": states}
        try:
            env.stack.append(jsonata.evaluate(self.expression, variables, current().clock))
        except jsonata.ExpressionError as error:
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
        cloud = current()
        if cloud is None:
            return original(region=region, service=service, state_credentials=state_credentials)
        return cloud.client_for(service, getattr(state_credentials, "role_arn", ""))

    boto_client.boto_client_for = client_for
    for module in list(sys.modules.values()):  # those that imported the function by its name
        if getattr(module, "boto_client_for", None) is original:
            module.boto_client_for = client_for  # type: ignore[attr-defined]


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
            arn, cloud = self._evaluation_details.execution_details.arn, current()
            if cloud is not None:
                env.event_manager.rehearsal_listener = lambda event: cloud.on_history(arn, event)
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
        cloud = current()
        if cloud is not None:
            cloud.on_terminal(execution)

    communication.terminated = terminated


# the names of errors ---------------------------------------------------------------------------------------------------

# How Step Functions spells a service in the error names of its AWS SDK integrations.
_SERVICE_NAMES = {
    "sagemaker": "SageMaker",
    "dynamodb": "DynamoDb",
    "sfn": "Sfn",
    "scheduler": "Scheduler",
    "sns": "Sns",
}


def aws_error_name(service: str, code: str, shape: str | None) -> str:
    """The name of a service error in an AWS SDK integration, by boto3's name of the service.

    Step Functions uses the AWS SDK for Java: an error with a `shape` in the service's model is `<Service>.<Shape>`, with "Exception" at its end;
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


def _name_errors() -> None:
    """moto says `sagemaker.sagemakerException` for an AWS SDK integration and `Lambda.` before any code."""
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


# time: waits that can be shortened, and executions that stop at once ----------------------------------------------------
# moto waits in real seconds, sleeps through a stop while it waits for a retry, loses a stop that comes in the first moments,
# and on a stop waits for the call in flight. AWS ends the execution at once and lets the call finish.


def _changed(env: Environment) -> threading.Condition:
    """Notified when the run of an environment has ended or its call has returned."""
    condition: threading.Condition = env.__dict__.setdefault("rehearsal_changed", threading.Condition())
    return condition


def _notify(env: Environment) -> None:
    with _changed(env):
        _changed(env).notify_all()


def _pause(env: Environment, seconds: float) -> None:
    """Wait `seconds` divided by the time scale of the cloud in use, or until the execution stops."""
    cloud = current()
    scale = cloud.time_scale if cloud is not None else 1
    with _changed(env):
        _changed(env).wait_for(lambda: not env.is_running(), seconds / scale)


def _wake_at_the_end() -> None:
    def waking(original: Callable[..., None]) -> Callable[..., None]:
        def end(self: Environment, *args: Any, **kwargs: Any) -> None:
            with self._state_mutex:
                if self.program_state() is None or self.is_running():  # the first end counts; moto lets the last
                    original(self, *args, **kwargs)
            _notify(self)

        return end

    for name in ("set_stop", "set_timed_out", "set_error"):
        setattr(Environment, name, waking(getattr(Environment, name)))


def _shorten_waits() -> None:
    def wait(self: Any, env: Environment, wait_seconds: float) -> None:
        _pause(env, wait_seconds)

    WaitFunction._wait_interval = wait

    def retry(self: Any, env: Environment) -> None:
        self.error_equals.eval(env)
        if not env.stack.pop():
            env.stack.append(RetrierOutcome.Skipped)
            return
        self.max_attempts.eval(env=env)
        if not env.stack.pop().value:  # MaxAttemptsOutcome.EXHAUSTED is False
            env.stack.append(RetrierOutcome.Failed)
            return
        for part in (self.interval_seconds, self.backoff_rate, self.max_delay_seconds, self.jitter_strategy):
            part.eval(env=env)
        _pause(env, env.stack.pop())
        env.stack.append(RetrierOutcome.Executed)

    RetrierDecl._eval_body = retry


def _end_tasks_at_once() -> None:
    """A task in its own thread: its state ends with the call, with its timeout, or with the execution."""

    def evaluate(self: Any, env: Environment) -> None:
        self.timeout.eval(env=env)
        seconds = env.stack.pop()
        frame = env.open_frame()
        frame.states.reset(input_value=env.states.get_input())
        frame.stack = copy.deepcopy(env.stack)
        outputs: list[Any] = []
        errors: list[Exception] = []

        def perform() -> None:
            try:
                self._eval_execution(frame)
                outputs.append(frame.stack.pop())
            except Exception as error:  # the state retries, catches or fails
                errors.append(error)
            _notify(env)

        if env.is_running():
            threading.Thread(target=perform, daemon=True, name=f"task-{self.name}").start()
        with _changed(env):
            on_time = _changed(env).wait_for(lambda: outputs or errors or not env.is_running(), seconds)
        frame.set_ended()
        env.close_frame(frame)
        if not env.is_running():
            return  # stopped: the call may still finish, its answer is dropped
        if not on_time:
            raise EvalTimeoutError()
        if errors:
            raise errors[-1]
        env.stack.append(outputs[-1])
        env.states.set_result(outputs[-1])
        if self.output is not None:
            # An Output that cannot be evaluated is an error of the state, for its Retry and Catch; moto would look later.
            self.output.jsonata_template_value.eval(env=env)
            env.stack.pop()
        if self.assign_decl:
            self.assign_decl.eval(env=env)
        self.result_path.eval(env)

    ExecutionState._evaluate_with_timeout = evaluate


def _start_and_stop() -> None:
    def run(self: Program, env: Environment) -> None:
        """A program, inside its TimeoutSeconds."""
        if env.program_state() is None or env.is_running():
            env.next_state_name = self.start_at.start_at_name
        body = threading.Thread(target=self._eval_body, args=(env,), daemon=True)
        body.start()
        body.join(timeout=self.timeout_seconds.timeout_seconds if self.timeout_seconds is not None else None)
        if body.is_alive():
            env.set_timed_out()
            body.join()  # at once, for everything that waits in it wakes at the end

    Program.eval = run

    def start(self: ExecutionWorker) -> None:
        """The environment exists before anyone can stop it."""
        env = self._get_evaluation_environment()
        with env._state_mutex:
            env._program_state = ProgramRunning()
        threading.Thread(target=self._execution_logic, daemon=True, name="execution").start()

    ExecutionWorker.start = start


def _complete_the_api() -> None:
    def stop_execution(self: StepFunctionResponse) -> ActionResult:
        """StopExecution, with the error and the cause that moto leaves out."""
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        moment = datetime.now().astimezone()
        execution.stop(stop_date=moment, error=self._get_param("error"), cause=self._get_param("cause"))
        return ActionResult({"stopDate": moment})

    StepFunctionResponse.stop_execution = stop_execution
    describe = StepFunctionResponse.describe_execution

    def describe_execution(self: StepFunctionResponse) -> ActionResult:
        """DescribeExecution with the stop date of a TIMED_OUT execution, which moto leaves out."""
        answer = describe(self)
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        if execution.stop_date is not None:
            answer.result["stopDate"] = execution.stop_date
        return answer

    StepFunctionResponse.describe_execution = describe_execution
