"""Step Functions and EventBridge Scheduler, as far as the run, the tear-down and the sweeper use them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rehearsal.step_functions.executions import Execution
from verification.simulation.services import Pages, client_error
from verification.simulation.services.sagemaker import ACCOUNT, REGION
from verification.simulation.world import Process, World

MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:captune-fine-tuning"
TEAR_DOWN = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:captune-tear-down"
# EventBridge Scheduler keeps a minute.
SCHEDULER_SECONDS = 60


def execution_arn(machine: str, name: str) -> str:
    """The ARN of an execution."""
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"


@dataclass
class StepFunctions:
    """Executions that can be described, listed and stopped, and TearDown executions that can be started.

    `stop` ends an execution of FineTuning, and `start_tear_down` begins one of TearDown from its input and name.
    """

    world: World
    stop: Callable[[Execution, str, str], None]
    start_tear_down: Callable[[dict[str, str], str], None]
    executions: dict[str, Execution] = field(default_factory=dict)
    tear_downs: dict[str, Execution] = field(default_factory=dict)

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:
        """Status and times of an execution."""
        execution = self._execution(executionArn)
        answer: dict[str, Any] = {
            "executionArn": execution.arn,
            "name": execution.name,
            "status": execution.status,
            "startDate": execution.start,
        }
        answer |= {"error": execution.error, "cause": execution.cause} if execution.error else {}
        answer |= {"output": json.dumps(execution.output)} if execution.status == "SUCCEEDED" else {}
        return answer | ({"stopDate": execution.stop} if execution.stop else {})

    def stop_execution(self, *, executionArn: str, error: str = "", cause: str = "") -> dict[str, Any]:
        """Aborts an execution."""
        self.stop(self._execution(executionArn), error, cause)
        return {}

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:
        """Starts a TearDown; a name is used once."""
        arn = execution_arn(stateMachineArn, name)
        if arn in self.tear_downs:
            raise client_error("ExecutionAlreadyExists")
        self.start_tear_down(json.loads(input), name)
        return {"executionArn": arn}

    def get_paginator(self, operation: str) -> Pages:
        """The pages of `list_executions` and of `get_execution_history`."""
        return Pages(getattr(self, operation))

    def list_executions(self, *, stateMachineArn: str, statusFilter: str = "", **_: Any) -> dict[str, Any]:
        """The executions of a machine with a status, the newest first."""
        of = self.executions if stateMachineArn == MACHINE else self.tear_downs
        found = [one for one in of.values() if statusFilter in {"", one.status} and one.start <= self.world.now]
        names = (
            ("executionArn", "arn"),
            ("name", "name"),
            ("status", "status"),
            ("startDate", "start"),
            ("stopDate", "stop"),
        )
        told = [{key: value for key, name in names if (value := getattr(one, name))} for one in found]
        return {"executions": sorted(told, key=lambda one: one["startDate"], reverse=True)}

    def get_execution_history(self, *, executionArn: str, **_: Any) -> dict[str, Any]:
        """The states that an execution entered and left."""
        return {"events": self._execution(executionArn).history()}

    def _execution(self, arn: str) -> Execution:
        found = self.executions.get(arn) or self.tear_downs.get(arn)
        if found is None:
            raise client_error("ExecutionDoesNotExist")
        return found


@dataclass
class Scheduler:
    """One-time schedules that start a TearDown within the minute after their time."""

    world: World
    start_tear_down: Callable[[dict[str, str], str], None]
    # By name: when it fires, and which setting of it that was.
    entries: dict[str, tuple[datetime, int]] = field(default_factory=dict)
    _asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    _generation: int = 0

    def create_schedule(self, **asked: Any) -> dict[str, Any]:
        """A new schedule. Raises ClientError when there is one of that name or its time is past."""
        if asked["Name"] in self.entries:
            raise client_error("ConflictException", "Schedule already exists.")
        return self._set(asked)

    def get_schedule(self, *, Name: str) -> dict[str, Any]:
        """A schedule as it was asked for. Raises ClientError when there is none."""
        if Name not in self.entries:
            raise client_error("ResourceNotFoundException", "Schedule does not exist.")
        return {"Arn": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{Name}", **self._asked[Name]}

    def update_schedule(self, **asked: Any) -> dict[str, Any]:
        """Moves a schedule. Raises ClientError when there is none."""
        if asked["Name"] not in self.entries:
            raise client_error("ResourceNotFoundException", "Schedule does not exist.")
        return self._set(asked)

    def delete_schedule(self, *, Name: str) -> dict[str, Any]:
        """Removes a schedule. Raises ClientError when there is none."""
        if self.entries.pop(Name, None) is None:
            raise client_error("ResourceNotFoundException", "Schedule does not exist.")
        return {}

    def _set(self, asked: dict[str, Any]) -> dict[str, Any]:
        at = datetime.fromisoformat(asked["ScheduleExpression"][3:-1]).replace(tzinfo=UTC)
        if at < self.world.now.replace(microsecond=0):
            raise client_error("ValidationException", "The schedule's time is past.")
        self._asked[asked["Name"]] = asked
        self._generation += 1
        enabled = asked.get("State", "ENABLED") == "ENABLED"
        self.entries[asked["Name"]] = at, self._generation if enabled else 0
        wait = self.world.seconds_until(at) + self.world.random.uniform(0, SCHEDULER_SECONDS)
        event = json.loads(asked["Target"]["Input"])
        self.world.spawn(self._fire(asked["Name"], self._generation, event), max(0.0, wait))
        return {"ScheduleArn": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{asked['Name']}"}

    def _fire(self, name: str, generation: int, event: dict[str, str]) -> Process:
        yield from self.world.waiting_for("Scheduler")
        if self.entries.get(name, (None, 0))[1] == generation:
            self.start_tear_down(event, "")
