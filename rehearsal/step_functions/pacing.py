"""Time in moto's interpreter: waits that can be shortened, and executions that stop at once.

moto waits in real seconds, sleeps through a stop while it waits for a retry, loses a stop that comes in the first
moments, and on a stop waits for the call in flight. AWS ends the execution at once and lets the call finish.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from moto.core.responses import ActionResult
from moto.stepfunctions.parser.asl.component.common.retry.retrier_decl import RetrierDecl
from moto.stepfunctions.parser.asl.component.common.retry.retrier_outcome import RetrierOutcome
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import EvalTimeoutError
from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.program_state import ProgramRunning
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.responses import StepFunctionResponse

_Current = Callable[[], Any]


def _changed(env: Environment) -> threading.Condition:
    """The condition on which whoever waits in an environment hears that its run has ended or its call has returned."""
    condition: threading.Condition = env.__dict__.setdefault("rehearsal_changed", threading.Condition())
    return condition


def _notify(env: Environment) -> None:
    with _changed(env):
        _changed(env).notify_all()


def _pause(current: _Current, env: Environment, seconds: float) -> None:
    """Wait `seconds` divided by the time scale of the cloud in use, or until the execution stops."""
    cloud = current()
    scale = cloud.time_scale if cloud is not None else 1
    with _changed(env):
        _changed(env).wait_for(lambda: not env.is_running(), seconds / scale)


def install(current: _Current) -> None:
    """Patch moto; `current` returns the cloud in use."""
    _wake_at_the_end()
    _shorten_waits(current)
    _end_tasks_at_once()
    _start_and_stop()
    _complete_the_api()


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


def _shorten_waits(current: _Current) -> None:
    def wait(self: Any, env: Environment, wait_seconds: float) -> None:
        _pause(current, env, wait_seconds)

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
        _pause(current, env, env.stack.pop())
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
            return  # stopped: the call may still finish, nobody hears its answer
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
