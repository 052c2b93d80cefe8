"""Step Functions by the clock: each execution in a thread of its own, and each of its calls and branches beside it.

AWS ends a stopped execution at once and lets its call finish, whose answer nobody hears.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from werkzeug.wrappers import Response

from rehearsal import threads
from rehearsal.account.clients import ACCOUNT
from rehearsal.calls import Call, json_answer
from rehearsal.events import Events, status_change

from . import integrations
from .executions import Execution, context_of
from .interpreter import Failure, Interpreter, Steps, status_of
from .service import StepFunctions

T = TypeVar("T")
_FOREVER = threading.TIMEOUT_MAX / 2
# Calls the resource of a task with its arguments, and returns what AWS answers. Raises Failure.
Perform = Callable[[str, Any], Any]


class _Ended(Exception):
    """The execution has ended, or the branch with its Parallel state."""


class Run:
    """One execution, which runs from `start` on until it ends or `wake` finds that it has ended.

    Wait seconds and retry intervals are divided by `scale`. `finish` is called with status, error, cause and output when it ends by itself.
    """

    def __init__(
        self,
        execution: Execution,
        definition: Mapping[str, Any],
        role: str,
        *,
        clock: Callable[[], datetime],
        scale: float,
        perform: Perform,
        finish: Callable[[Execution, str, str, str, Any], None],
    ) -> None:
        self.scale = scale
        self._execution, self._clock, self._perform, self._finish = execution, clock, perform, finish
        self._changed = threading.Condition()
        self._interpreter = Interpreter(self, definition, context_of(execution, role), self._call, execution)

    @property
    def now(self) -> datetime:
        """The present moment."""
        return self._clock()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, daemon=True, name="execution").start()

    def wake(self) -> None:
        """Notice that the execution has ended, or that a call or a branch has."""
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            output = self._drive(self._interpreter.run(self._execution.input), threading.Event())
        except _Ended:
            return
        except Failure as failure:
            self._finish(self._execution, status_of(failure), failure.error, failure.cause or "", None)
        except Exception as error:  # a mistake of the rehearsal must be seen, not hang the caller
            self._finish(self._execution, "FAILED", "States.Runtime", f"the rehearsal failed: {error!r}", None)
        else:
            self._finish(self._execution, "SUCCEEDED", "", "", output)

    def _drive(self, steps: Steps[T], gone: threading.Event) -> T:
        """Go through the steps with their waits. Raises _Ended with the execution, or when `gone` is set."""

        def over() -> bool:
            return self._execution.status != "RUNNING" or gone.is_set()

        while True:
            try:
                seconds, answered = next(steps)
            except StopIteration as done:
                result: T = done.value
                return result
            with self._changed:
                self._changed.wait_for(lambda: over() or (callable(answered) and answered()), min(seconds, _FOREVER))  # noqa: B023
            if over():
                steps.close()
                raise _Ended

    def _beside(self, work: Callable[[], T]) -> "Future[T]":
        """Do work in a thread of its own."""
        result = threads.begin(work, "task")
        result.add_done_callback(lambda _: self.wake())
        return result

    def _call(self, state: str, resource: str, asked: Any) -> Steps[Any]:
        answer = self._beside(lambda: self._perform(resource, asked))
        while not answer.done():
            yield _FOREVER, answer.done
        return answer.result()

    # what the interpreter asks of the time -----------------------------------------------------------------------------

    def jitter(self, seconds: float) -> float:
        """A pause of up to so many seconds."""
        return random.uniform(0, seconds)

    def side_by_side(self, branches: list[Steps[Any]]) -> Steps[list[Any]]:
        """Each branch in a thread; the first that fails ends the others."""
        gone = threading.Event()
        running = [self._beside(partial(self._drive, steps, gone)) for steps in branches]

        def failed() -> list[BaseException]:
            return [error for one in running if one.done() and (error := one.exception()) is not None]

        def settled() -> bool:
            return bool(failed()) or all(one.done() for one in running)

        try:
            while not settled():
                yield _FOREVER, settled
            for error in failed():
                raise error
            return [one.result() for one in running]
        finally:
            gone.set()
            self.wake()


class Executions(StepFunctions):
    """The service, whose executions run by the clock.

    Tasks call by the clients of `client_for` (service, the machine's role). `publish` is given each event for EventBridge, `heard` each event of a
    history (with the execution's ARN), and `changed` is notified when an execution ends.
    """

    def __init__(
        self,
        region: str,
        clock: Callable[[], datetime],
        scale: float,
        changed: threading.Condition,
        client_for: Callable[[str, str], Any],
        publish: Callable[[Mapping[str, Any]], None],
        heard: Callable[[str, Mapping[str, Any]], None],
    ) -> None:
        super().__init__(f"{region}:{ACCOUNT}", clock, self._run, partial(self.end, "ABORTED"))
        self._scale, self._changed, self._client_for = scale, changed, client_for
        self._publish, self._heard = publish, heard
        self._runs: dict[str, Run] = {}
        self.version = 0  # grows with every end

    def answer(self, call: Call, region: str, body: bytes) -> Response:
        """Answer a call that a `Gateway` passes on. Raises ServiceError, as the service would answer."""
        return json_answer(self.perform(call.operation, call.request))

    def _run(self, execution: Execution) -> None:
        machine = self.machine(execution.machine)

        def perform(resource: str, asked: Any) -> Any:
            return integrations.perform(self._client_for(resource.split(":")[-2], machine.role), resource, asked)

        execution.heard = partial(self._heard, execution.arn)
        self._runs[execution.arn] = run = Run(
            execution, json.loads(machine.definition), machine.role,
            clock=self._clock, scale=self._scale, perform=perform, finish=self._finish,
        )  # fmt: skip
        execution.note(self._clock(), "ExecutionStarted", "executionStarted", roleArn=machine.role)
        self._publish(status_change(execution))
        run.start()

    def end(self, status: str, execution: Execution, error: str = "", cause: str = "") -> None:
        """End an execution as a stop does ("ABORTED") or as its TimeoutSeconds do ("TIMED_OUT"), if it still runs."""
        self._finish(execution, status, error, cause, None)

    def _finish(self, execution: Execution, status: str, error: str, cause: str, output: Any) -> None:
        if not execution.end(status, self._clock(), error, cause, output):
            return
        self._runs[execution.arn].wake()
        try:
            self._publish(status_change(execution))
        finally:
            with self._changed:
                execution.is_over = True
                self.version += 1
                self._changed.notify_all()

    # what a rehearsal looks at ------------------------------------------------------------------------------------------

    def all(self) -> list[Execution]:
        """Every execution, in the order in which they started."""
        return list(self.executions.values())

    def running(self) -> list[Execution]:
        """The executions that have not ended."""
        return [one for one in self.all() if not one.is_over]

    def settle(self, execution: Execution | None, events: Events, timeout: float) -> None:
        """Wait until an execution (or every one) has ended, and what its end caused; see `Cloud.settle`."""

        def settled() -> bool:
            version = (events.version, self.version)
            running = [one for one in self.running() if execution is None or one.machine != execution.machine]
            quiet = (execution is None or execution.is_over) and not running and events.is_idle
            # An end may cause a delivery and a delivery a start while we look: then we look again.
            return quiet and version == (events.version, self.version)

        deadline = time.monotonic() + timeout
        with self._changed:
            while not settled():
                if not self._changed.wait(deadline - time.monotonic()):
                    running = ", ".join(str(one) for one in self.running()) or "deliveries"
                    raise TimeoutError(f"still running after {timeout:g} s: {running}")

    def stop_all(self, timeout: float = 10) -> None:
        """Stop what runs and wait for it (seconds)."""
        for one in self.running():
            self.end("ABORTED", one, "RehearsalEnded", "The rehearsal's cloud was closed.")
        with self._changed:
            self._changed.wait_for(lambda: not self.running(), timeout)

    def forget(self) -> None:
        """Forget every execution."""
        self.executions.clear()
        self._runs.clear()
