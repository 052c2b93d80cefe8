"""One execution of a state machine with its history, in whatever time it runs."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_ENDS = {"SUCCEEDED": "Succeeded", "FAILED": "Failed", "TIMED_OUT": "TimedOut", "ABORTED": "Aborted"}
FAILURES = ("taskFailedEventDetails", "taskTimedOutEventDetails", "evaluationFailedEventDetails")


@dataclass(eq=False)
class Execution:
    """One execution. `heard` is called with each event of its history, and `reason` is who started it, where a proof wants to know."""

    name: str
    arn: str
    start: datetime
    machine: str = ""
    input: Any = None
    status: str = "RUNNING"
    stop: datetime | None = None
    error: str = ""
    cause: str = ""
    output: Any = None
    reason: str = ""
    is_over: bool = False  # whether it has ended and its event was published
    events: list[dict[str, Any]] = field(default_factory=list)
    heard: Callable[[Mapping[str, Any]], None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __repr__(self) -> str:
        return f"{self.machine.rpartition(':')[2]} {self.name} ({self.status})"

    def note(self, moment: datetime, kind: str, details: str = "", **told: Any) -> None:
        """Add an event to its history, unless it has ended."""
        with self._lock:
            if self.status == "RUNNING":
                self._add(moment, kind, details, told)

    def _add(self, moment: datetime, kind: str, details: str, told: Mapping[str, Any]) -> None:
        number = len(self.events) + 1
        event = {"id": number, "previousEventId": number - 1, "timestamp": moment, "type": kind}
        self.events.append(event | ({f"{details}EventDetails": told} if details else {}))
        if self.heard is not None:
            self.heard(self.events[-1])

    def end(self, status: str, moment: datetime, error: str = "", cause: str = "", output: Any = None) -> bool:
        """End it, unless it has ended before; whether it did."""
        with self._lock:
            if self.status != "RUNNING":
                return False
            self.error, self.cause, self.output, self.stop = error, cause, output, moment
            details = {} if status == "SUCCEEDED" else {"error": error, "cause": cause}
            self._add(moment, f"Execution{_ENDS[status]}", f"execution{_ENDS[status]}", details)
            self.status = status
            return True

    def history(self) -> list[dict[str, Any]]:
        """The events of its history so far."""
        return list(self.events)

    def visited(self) -> list[tuple[str, datetime]]:
        """The names of the states that it entered, in order, and when."""
        return [
            (event["stateEnteredEventDetails"]["name"], event["timestamp"])
            for event in self.history()
            if "stateEnteredEventDetails" in event
        ]

    def states(self) -> list[str]:
        """The names of the states that it entered, in order."""
        return [name for name, _ in self.visited()]

    def errors(self) -> list[str]:
        """The names of the errors that its states met, in order; a retried and a caught one alike."""
        return [str(event[kind]["error"]) for event in self.history() for kind in FAILURES if kind in event]


def execution_arn(machine: str, name: str) -> str:
    """The ARN of an execution of a state machine."""
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"


def context_of(execution: Execution, role: str = "") -> dict[str, Any]:
    """The context object of an execution, as far as a definition may read it."""
    began = execution.start.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told = {
        "Id": execution.arn,
        "Name": execution.name,
        "Input": execution.input,
        "StartTime": began,
        "RedriveCount": 0,
    }
    machine = {"Id": execution.machine, "Name": execution.machine.rpartition(":")[2]}
    return {"Execution": told | {"RoleArn": role}, "StateMachine": machine}
