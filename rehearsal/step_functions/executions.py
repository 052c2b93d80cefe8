"""Executions as a person sees them: status, error, history, and the states they went through."""

import json
import threading
import time
from typing import Any

from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from rehearsal.account.clients import ACCOUNT
from rehearsal.events import Events


class Execution:
    """One execution. Every property shows the present."""

    def __init__(self, moto_execution: Any, ended: set[str]) -> None:
        self._moto, self._ended = moto_execution, ended
        self.arn: str = moto_execution.exec_arn
        self.name: str = moto_execution.name
        self.machine: str = moto_execution.state_machine.arn
        self.input: Any = moto_execution.input_data

    def __repr__(self) -> str:
        return f"{self.machine.rpartition(':')[2]} {self.name} ({self.status})"

    @property
    def status(self) -> str:
        """RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED."""
        return str(self._moto.exec_status.value) if self._moto.exec_status else "RUNNING"

    @property
    def is_over(self) -> bool:
        """Whether it has ended and its event was published."""
        return self.arn in self._ended

    @property
    def error(self) -> str | None:
        """The name of the error it failed or was aborted with."""
        return self._moto.error or None

    @property
    def cause(self) -> str | None:
        """The cause of the failure or abort."""
        return self._moto.cause or None

    @property
    def output(self) -> Any:
        """The output of a successful execution."""
        return json.loads(json.dumps(self._moto.output, default=str))

    def run_out_of_time(self) -> None:
        """End it as its TimeoutSeconds would, now: a test need not wait for it."""
        self._moto.exec_worker.env.set_timed_out()

    def stop(self, error: str, cause: str) -> None:
        """Stop it, if it still runs."""
        if self.status == "RUNNING":
            self._moto.stop(stop_date=None, error=error, cause=cause)

    def history(self) -> list[dict[str, Any]]:
        """The events of its history."""
        env = self._moto.exec_worker.env if self._moto.exec_worker else None
        return list(env.event_manager.get_event_history()) if env is not None else []

    def states(self) -> list[str]:
        """The names of the states in the order in which they were entered."""
        return [
            event["stateEnteredEventDetails"]["name"] for event in self.history() if "stateEnteredEventDetails" in event
        ]


class Executions:
    """All executions of one cloud; `changed` is notified when one ends."""

    def __init__(self, region: str, changed: threading.Condition) -> None:
        self._region, self._changed = region, changed
        self._ended: set[str] = set()
        self.version = 0  # grows with every end

    def _machines(self) -> list[Any]:
        return list(stepfunctions_parser_backends[ACCOUNT][self._region].state_machines)

    def all(self) -> list[Execution]:
        """Every execution, in the order in which they started."""
        found = [one for machine in self._machines() for one in list(machine.executions)]
        return [Execution(one, self._ended) for one in sorted(found, key=lambda one: one.start_date)]

    def get(self, arn: str) -> Execution:
        """Return the execution of an ARN."""
        return next(one for one in self.all() if one.arn == arn)

    def of_machine(self, machine: str) -> list[Execution]:
        """The executions of a state machine (its ARN), in the order in which they started."""
        return [one for one in self.all() if one.machine == machine]

    def running(self) -> list[Execution]:
        """The executions that have not ended."""
        return [one for one in self.all() if not one.is_over]

    def ended(self, arn: str) -> None:
        """Take note of an end, after its event was published."""
        with self._changed:
            self._ended.add(arn)
            self.version += 1
            self._changed.notify_all()

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
                    raise TimeoutError(f"not settled after {timeout:g} s: {running}")

    def stop_all(self, timeout: float = 10) -> None:
        """Stop what runs and wait for it (seconds)."""
        for one in self.running():
            one.stop("RehearsalEnded", "The rehearsal's cloud was closed.")
        with self._changed:
            self._changed.wait_for(lambda: not self.running(), timeout)

    def forget(self) -> None:
        """Forget every execution."""
        for machine in self._machines():
            machine.executions.clear()
        self._ended.clear()
