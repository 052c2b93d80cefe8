"""Time in moto's interpreter: waits that can be shortened, and executions that stop when they are told to.

moto waits in real seconds, sleeps through a stop while it waits for a retry, loses a stop that comes in the first
moments, and on a stop waits for the call in flight. AWS ends the execution at once and lets the call finish.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

from moto.core.responses import ActionResult
from moto.stepfunctions.parser.asl.component.common.retry.retrier_decl import RetrierDecl
from moto.stepfunctions.parser.asl.component.common.retry.retrier_outcome import RetrierOutcome
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import EvalTimeoutError, TimeoutSeconds
from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.program_state import ProgramRunning
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.responses import StepFunctionResponse

_Current = Callable[[], Any]
_lock = threading.Lock()


class _Halt:
    """The end of an environment's run: an event of its own, and the waiters to wake at it."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.waiters: list[threading.Event] = []


def _halt_of(env: Environment) -> _Halt:
    with _lock:
        halt: _Halt | None = getattr(env, "rehearsal_halt", None)
        if halt is None:
            halt = _Halt()
            env.rehearsal_halt = halt
        return halt


def _halt(env: Environment) -> None:
    halt = _halt_of(env)
    halt.event.set()
    with _lock:
        waiters = list(halt.waiters)
    for waiter in waiters:
        waiter.set()


def pause(env: Environment, seconds: float) -> None:
    """Wait `seconds`, or until the execution stops."""
    if seconds > 0:
        _halt_of(env).event.wait(seconds)


def install(current: _Current) -> None:
    """Patch moto; `current` returns the interpreter in force."""
    _wake_at_the_end()
    _shorten_waits(current)
    _end_tasks_at_once(current)
    _start_and_stop(current)


def _wake_at_the_end() -> None:
    def waking(original: Callable[..., None]) -> Callable[..., None]:
        def end(self: Environment, *args: Any, **kwargs: Any) -> None:
            with self._state_mutex:
                if self.program_state() is None or self.is_running():  # the first end counts; moto lets the last
                    original(self, *args, **kwargs)
            if not self.is_running():
                _halt(self)

        return end

    for name in ("set_stop", "set_timed_out", "set_error"):
        setattr(Environment, name, waking(getattr(Environment, name)))


def _scaled(current: _Current, seconds: float, attribute: str) -> float:
    interpreter = current()
    return seconds / getattr(interpreter, attribute) if interpreter is not None else seconds


def _shorten_waits(current: _Current) -> None:
    def wait(self: Any, env: Environment, wait_seconds: float) -> None:
        pause(env, _scaled(current, wait_seconds, "time_scale"))

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
        pause(env, _scaled(current, env.stack.pop(), "time_scale"))
        env.stack.append(RetrierOutcome.Executed)

    RetrierDecl._eval_body = retry


def _end_tasks_at_once(current: _Current) -> None:
    """A task in its own thread: its state ends with the call, with its timeout, or with the execution."""

    def evaluate(self: Any, env: Environment) -> None:
        self.timeout.eval(env=env)
        seconds = env.stack.pop()
        if not self.timeout.is_default_value():
            seconds = _scaled(current, seconds, "timeout_scale")
        frame = env.open_frame()
        frame.states.reset(input_value=env.states.get_input())
        frame.stack = copy.deepcopy(env.stack)
        outputs: list[Any] = []
        errors: list[Exception] = []
        wake, finished = threading.Event(), threading.Event()
        halt = _halt_of(env)
        with _lock:
            halt.waiters.append(wake)

        def perform() -> None:
            try:
                self._eval_execution(frame)
                outputs.extend(frame.stack)
            except Exception as error:  # handed to the state, which retries, catches or fails
                errors.append(error)
            finished.set()
            wake.set()

        if env.is_running():
            threading.Thread(target=perform, daemon=True, name=f"task-{self.name}").start()
            wake.wait(min(seconds, TimeoutSeconds.DEFAULT_TIMEOUT_SECONDS) if seconds < threading.TIMEOUT_MAX else None)
        with _lock:
            halt.waiters.remove(wake)
        on_time = finished.is_set()
        frame.set_ended()
        env.close_frame(frame)
        if not env.is_running():
            return  # stopped: the call may still finish, nobody hears its answer
        if not on_time:
            raise EvalTimeoutError()
        if errors:
            raise errors[-1]
        output = outputs.pop()
        env.stack.append(output)
        if not self._is_language_query_jsonpath():
            env.states.set_result(output)
        if self.output is not None:
            # An Output that cannot be evaluated is an error of the state, for its Retry and Catch; moto would look later.
            self.output.jsonata_template_value.eval(env=env)
            env.stack.pop()
        if self.assign_decl:
            self.assign_decl.eval(env=env)
        if self.result_selector:
            self.result_selector.eval(env=env)
        if self.result_path:
            self.result_path.eval(env)
        else:
            env.states.reset(input_value=env.stack.pop())

    ExecutionState._evaluate_with_timeout = evaluate


def _start_and_stop(current: _Current) -> None:
    def run(self: Program, env: Environment) -> None:
        """A program, inside its TimeoutSeconds."""
        if env.program_state() is None or env.is_running():
            env.next_state_name = self.start_at.start_at_name
        seconds = None
        if self.timeout_seconds is not None:
            seconds = _scaled(current, self.timeout_seconds.timeout_seconds, "timeout_scale")
        body = threading.Thread(target=self._eval_body, args=(env,), daemon=True)
        body.start()
        body.join(timeout=seconds)
        if body.is_alive():
            env.set_timed_out()
            body.join()  # at once, for everything that waits in it wakes at the end

    Program.eval = run

    def start(self: ExecutionWorker) -> None:
        """The environment exists before anyone can ask for a stop of it."""
        env = self._get_evaluation_environment()
        with env._state_mutex:
            env._program_state = ProgramRunning()
        threading.Thread(target=self._execution_logic, daemon=True, name="execution").start()

    ExecutionWorker.start = start

    def stop_execution(self: StepFunctionResponse) -> ActionResult:
        """StopExecution, with the error and the cause that moto leaves out."""
        backend = self.stepfunction_backend
        execution = backend.describe_execution(self._get_param("executionArn"))
        moment = datetime.now().astimezone()
        execution.stop(stop_date=moment, error=self._get_param("error"), cause=self._get_param("cause"))
        return ActionResult({"stopDate": moment})

    StepFunctionResponse.stop_execution = stop_execution

    original_start = StepFunctionsParserBackend.start_execution

    def start_execution(
        self: Any,
        state_machine_arn: str,
        name: str | None = None,
        execution_input: Any = None,
        trace_header: Any = None,
    ) -> Any:
        """A start without a name gets one, as AWS gives it; moto would call it None."""
        return original_start(self, state_machine_arn, name or str(uuid4()), execution_input, trace_header)

    StepFunctionsParserBackend.start_execution = start_execution

    describe = StepFunctionResponse.describe_execution

    def describe_execution(self: StepFunctionResponse) -> ActionResult:
        """DescribeExecution with the stop date of a TIMED_OUT execution, which moto leaves out."""
        answer = describe(self)
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        if execution.stop_date is not None:
            answer.result["stopDate"] = execution.stop_date
        return answer

    StepFunctionResponse.describe_execution = describe_execution
