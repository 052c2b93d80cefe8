"""Step Functions, EventBridge Scheduler and the Price List, as far as the run, the tear-down and the sweeper use them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError, ConnectTimeoutError

from proof.defences import DEFENCES
from proof.world import Process, World

REGION = "us-east-1"
MACHINE = f"arn:aws:states:{REGION}:111122223333:stateMachine:captune-fine-tuning"
# EventBridge Scheduler keeps a minute.
SCHEDULER_SECONDS = 60


@dataclass
class StepFunctions:
    """Executions that can be described, listed, stopped, and TearDown executions that can be started."""

    world: World
    names: set[str] = field(default_factory=set)

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:
        """Status and times of an execution."""
        execution = self.world.executions.get(executionArn)
        if execution is None:
            raise _error("ExecutionDoesNotExist")
        answer: dict[str, Any] = {"status": execution.status, "startDate": execution.start}
        return answer | ({"stopDate": execution.stop} if execution.stop else {})

    def stop_execution(self, *, executionArn: str, error: str, cause: str) -> None:
        """Aborts an execution."""
        self.world.finish(self.world.executions[executionArn], "ABORTED")

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> None:
        """Starts a TearDown; a name is used once."""
        if name in self.names:
            raise _error("ExecutionAlreadyExists")
        self.names.add(name)
        self.world.tear_down(json.loads(input), 1)

    def get_paginator(self, operation: str) -> StepFunctions:
        """The pages of `list_executions`."""
        if operation != "list_executions":
            raise ValueError(operation)
        return self

    def paginate(self, *, stateMachineArn: str, statusFilter: str) -> Iterator[dict[str, Any]]:
        """The executions with a status."""
        found = [e.arn for e in self.world.executions.values() if e.status == statusFilter]
        yield {"executions": [{"executionArn": arn} for arn in found]}


@dataclass
class Scheduler:
    """One-time schedules that start a TearDown within the minute after their time."""

    world: World
    entries: dict[str, int] = field(default_factory=dict)
    _generation: int = 0

    def create(self, name: str, at: datetime, event: dict[str, str]) -> None:
        """A new schedule. Raises ClientError when there is one of that name or its time is past."""
        if name in self.entries:
            raise _error("ConflictException")
        self._set(name, at, event)

    def update(self, name: str, at: datetime, event: dict[str, str]) -> None:
        """Moves a schedule. Raises ClientError when there is none."""
        if name not in self.entries:
            raise _error("ResourceNotFoundException")
        self._set(name, at, event)

    def delete(self, name: str) -> None:
        """Removes a schedule if it is there."""
        self.entries.pop(name, None)

    def _set(self, name: str, at: datetime, event: dict[str, str]) -> None:
        if at < self.world.now:
            raise _error("ValidationException")
        self._generation += 1
        self.entries[name] = self._generation
        wait = (at - self.world.now) / timedelta(seconds=1) + self.world.random.uniform(0, SCHEDULER_SECONDS)
        self.world.spawn(self._fire(name, self._generation, event), wait)

    def _fire(self, name: str, generation: int, event: dict[str, str]) -> Process:
        if DEFENCES.dead_mans_switch and self.entries.get(name) == generation:
            self.world.tear_down(event)
        return
        yield (0.0, False)


@dataclass
class PriceList:
    """The Price List API: what an instance type costs today, when it answers at all."""

    hourly_usd: dict[str, str]
    answers: bool = True

    def get_paginator(self, operation: str) -> PriceList:
        """The pages of `get_products`."""
        if not self.answers:
            raise ConnectTimeoutError(endpoint_url="pricing")
        return self

    def paginate(self, *, ServiceCode: str, Filters: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
        """One product for training and one for hosting."""
        instance_type = next(f["Value"] for f in Filters if f["Field"] == "instanceName")
        usd = self.hourly_usd.get(instance_type)
        yield {"PriceList": [self._product(instance_type, use, usd) for use in ("Train", "Host")] if usd else []}

    def _product(self, instance_type: str, use: str, usd: str) -> str:
        dimension = {"unit": "Hrs", "pricePerUnit": {"USD": usd}}
        return json.dumps(
            {
                "product": {"attributes": {"usagetype": f"USE1-{use}:{instance_type}"}},
                "terms": {"OnDemand": {"term": {"priceDimensions": {"dimension": dimension}}}},
            }
        )


def _error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "StepFunctions")
