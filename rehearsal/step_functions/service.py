"""Step Functions: the operations on state machines and executions, in whatever time these run."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from rehearsal.calls import ServiceError
from rehearsal.sagemaker.validation import check_request

from .executions import Execution, execution_arn
from .interpreter import unsupported

_PAGE = 100  # entries, if a request names no number
Answer = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """A state machine; `definition` is its text, and `role` the ARN of the role that it acts as."""

    name: str
    arn: str
    definition: str
    role: str
    created: datetime


class StepFunctions:
    """The service. `begin` runs an execution that was asked for, and `stop` ends one that runs (with error and cause)."""

    def __init__(
        self,
        owner: str,  # "region:account"
        clock: Callable[[], datetime],
        begin: Callable[[Execution], None],
        stop: Callable[[Execution, str, str], None],
    ) -> None:
        self._owner, self._clock, self._begin, self._end = owner, clock, begin, stop
        self.machines: dict[str, Machine] = {}
        self.executions: dict[str, Execution] = {}
        self._lock = threading.Lock()
        self._operations: Mapping[str, Callable[[Mapping[str, Any]], Answer]] = {
            "CreateStateMachine": self._create,
            "DescribeStateMachine": self._describe_machine,
            "ListStateMachines": self._list_machines,
            "StartExecution": self._start,
            "StopExecution": self._stop,
            "DescribeExecution": self._describe,
            "ListExecutions": self._list,
            "GetExecutionHistory": self._history,
        }

    def perform(self, operation: str, request: Mapping[str, Any]) -> Answer:
        """Check a request and return its answer. Raises ServiceError, as the service would answer."""
        if operation not in self._operations:
            raise ServiceError("UnknownOperationException", f"The rehearsal does not play {operation}.")
        check_request("stepfunctions", operation, request)
        return self._operations[operation](request)

    # state machines --------------------------------------------------------------------------------------------------

    def _create(self, request: Mapping[str, Any]) -> Answer:
        name, text = request["name"], request["definition"]
        try:
            problems = unsupported(json.loads(text))
        except ValueError as error:
            problems = [f"it is no JSON: {error}"]
        if problems:
            raise ServiceError("InvalidDefinition", f"Invalid State Machine Definition: {'; '.join(problems)}")
        arn = f"arn:aws:states:{self._owner}:stateMachine:{name}"
        with self._lock:
            made = self.machines.setdefault(arn, Machine(name, arn, text, request["roleArn"], self._clock()))
        if made.definition != text:
            raise ServiceError("StateMachineAlreadyExists", f"State Machine Already Exists: '{arn}'")
        return {"stateMachineArn": arn, "creationDate": made.created}

    def machine(self, arn: str) -> Machine:
        """The state machine of an ARN. Raises ServiceError when there is none."""
        if arn not in self.machines:
            raise ServiceError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")
        return self.machines[arn]

    def _describe_machine(self, request: Mapping[str, Any]) -> Answer:
        machine = self.machine(request["stateMachineArn"])
        more = {"status": "ACTIVE", "definition": machine.definition, "roleArn": machine.role}
        return _listed_machine(machine) | more

    def _list_machines(self, request: Mapping[str, Any]) -> Answer:
        return _page("stateMachines", [_listed_machine(one) for one in self.machines.values()], request)

    # executions ------------------------------------------------------------------------------------------------------

    def execution(self, arn: str) -> Execution:
        """The execution of an ARN. Raises ServiceError when there is none."""
        if arn not in self.executions:
            raise ServiceError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        return self.executions[arn]

    def of_machine(self, machine: str) -> list[Execution]:
        """The executions of a state machine (its ARN), in the order in which they were asked for."""
        return [one for one in list(self.executions.values()) if one.machine == machine]

    def _start(self, request: Mapping[str, Any]) -> Answer:
        """A name is used once; the same request is answered alike as long as its execution runs."""
        machine = self.machine(request["stateMachineArn"]).arn
        try:
            given = json.loads(request.get("input", "{}"))
        except ValueError as error:
            raise ServiceError("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'") from error
        name = request.get("name") or str(uuid4())
        asked = Execution(name, execution_arn(machine, name), self._clock(), machine, given)
        with self._lock:
            execution = self.executions.setdefault(asked.arn, asked)
        if execution is asked:
            self._begin(execution)
        elif execution.status != "RUNNING" or execution.input != given:
            raise ServiceError("ExecutionAlreadyExists", f"Execution Already Exists: '{asked.arn}'")
        return {"executionArn": execution.arn, "startDate": execution.start}

    def _stop(self, request: Mapping[str, Any]) -> Answer:
        execution = self.execution(request["executionArn"])
        self._end(execution, request.get("error", ""), request.get("cause", ""))
        return {"stopDate": execution.stop}

    def _describe(self, request: Mapping[str, Any]) -> Answer:
        execution = self.execution(request["executionArn"])
        answer = {**_listed(execution), "input": json.dumps(execution.input)}
        answer |= {key: text for key in ("error", "cause") if (text := getattr(execution, key))}
        return answer | ({"output": json.dumps(execution.output)} if execution.status == "SUCCEEDED" else {})

    def _list(self, request: Mapping[str, Any]) -> Answer:
        """The latest first."""
        machine, status = self.machine(request["stateMachineArn"]).arn, request.get("statusFilter")
        found = [one for one in self.of_machine(machine) if status in (None, one.status)]
        return _page("executions", [_listed(one) for one in reversed(found)], request)

    def _history(self, request: Mapping[str, Any]) -> Answer:
        """As AWS gives it without execution data, which is not kept."""
        events = self.execution(request["executionArn"]).history()
        return _page("events", events[::-1] if request.get("reverseOrder") else events, request)


def _listed_machine(machine: Machine) -> Answer:
    named = {"stateMachineArn": machine.arn, "name": machine.name}
    return {**named, "type": "STANDARD", "creationDate": machine.created}


def _listed(execution: Execution) -> Answer:
    named = {"executionArn": execution.arn, "stateMachineArn": execution.machine, "name": execution.name}
    answer = {**named, "status": execution.status, "startDate": execution.start}
    return answer | ({"stopDate": execution.stop} if execution.stop else {})


def _page(name: str, entries: list[Any], request: Mapping[str, Any]) -> Answer:
    begin = int(request.get("nextToken", 0))
    end = begin + (request.get("maxResults") or _PAGE)
    return {name: entries[begin:end]} | ({"nextToken": str(end)} if end < len(entries) else {})
