"""What moto's interpreter of the Amazon States Language lacks, patched in once per process.

Each patch says what AWS does and what moto does instead. They act through the `Cloud` in use (its time scale, clock, clients by
role, `on_history` and `on_terminal`), so that one process can run one cloud after another.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from moto.stepfunctions.parser.api import EvaluationFailedEventDetails, ExecutionStatus, HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.common.string import string_expression
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import boto_client
from moto.stepfunctions.parser.backend import execution as execution_module
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker

from . import error_names, expressions, pacing

_in_force: list[Any] = []


def use(cloud: Any) -> None:
    """Make `cloud` the one in use, or none."""
    _in_force[:] = [cloud] if cloud is not None else []
    expressions.clock[:] = [cloud.clock if cloud is not None else lambda: datetime.now(UTC)]


def current() -> Any:
    """Return the cloud in use, or None."""
    return _in_force[0] if _in_force else None


@cache
def install() -> None:
    """Patch moto, once."""
    _use_jsonata()
    _use_clients_with_roles()
    error_names.install()
    _report_history_and_ends()
    pacing.install(current)
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


def is_terminal(execution: Any) -> bool:
    """Whether an execution of moto's has ended."""
    return execution.exec_status not in (None, ExecutionStatus.RUNNING)
