"""Step Functions, EventBridge Scheduler and the Price List, as far as the run, the tear-down and the sweeper use them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError, ConnectTimeoutError

from proof.simulation.aws.instances import REGION as REGION
from proof.simulation.defences import DEFENCES
from proof.simulation.world import Execution, Process, World

MACHINE = f"arn:aws:states:{REGION}:111122223333:stateMachine:captune-fine-tuning"
TEAR_DOWN = f"arn:aws:states:{REGION}:111122223333:stateMachine:captune-tear-down"
# EventBridge Scheduler keeps a minute.
SCHEDULER_SECONDS = 60


@dataclass
class StepFunctions:
    """Executions that can be described, listed, stopped, and TearDown executions that can be started."""

    world: World

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:
        """Status and times of an execution."""
        execution = self._execution(executionArn)
        answer: dict[str, Any] = {
            "executionArn": execution.arn, "name": execution.name, "status": execution.status, "startDate": execution.start
        }  # fmt: skip
        answer |= {"error": execution.error, "cause": execution.cause} if execution.error else {}
        return answer | ({"stopDate": execution.stop} if execution.stop else {})

    def stop_execution(self, *, executionArn: str, error: str = "", cause: str = "") -> dict[str, Any]:
        """Aborts an execution."""
        self.world.finish(self._execution(executionArn), "ABORTED")
        return {}

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:
        """Starts a TearDown; a name is used once."""
        if f"{TEAR_DOWN.replace(':stateMachine:', ':execution:')}:{name}" in self.world.tear_downs:
            raise _error("ExecutionAlreadyExists")
        self.world.tear_down(json.loads(input), 1, name)
        return {}

    def get_paginator(self, operation: str) -> _Pages:
        """The pages of `list_executions` and of `get_execution_history`."""
        return _Pages(getattr(self, operation))

    def list_executions(self, *, stateMachineArn: str, statusFilter: str = "", **_: Any) -> dict[str, Any]:
        """The executions of a machine with a status."""
        of = self.world.executions if stateMachineArn == MACHINE else self.world.tear_downs
        found = [one for one in of.values() if statusFilter in {"", one.status}]
        return {
            "executions": [
                {"executionArn": one.arn, "name": one.name, "status": one.status, "startDate": one.start}
                for one in found
            ]
        }

    def get_execution_history(self, *, executionArn: str, **_: Any) -> dict[str, Any]:
        """The states that an execution entered and left."""
        events: list[dict[str, Any]] = []
        before = ""
        for name, moment in self._execution(executionArn).visited:
            if before:
                events.append({"timestamp": moment, "stateExitedEventDetails": {"name": before}})
            events.append({"timestamp": moment, "stateEnteredEventDetails": {"name": name}})
            before = name
        return {"events": events}

    def _execution(self, arn: str) -> Execution:
        found = self.world.executions.get(arn) or self.world.tear_downs.get(arn)
        if found is None:
            raise _error("ExecutionDoesNotExist")
        return found


@dataclass(frozen=True)
class _Pages:
    call: Callable[..., dict[str, Any]]

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        yield self.call(**asked)


@dataclass
class Scheduler:
    """One-time schedules that start a TearDown within the minute after their time."""

    world: World
    entries: dict[str, int] = field(default_factory=dict)
    _generation: int = 0

    def create_schedule(self, **asked: Any) -> dict[str, Any]:
        """A new schedule. Raises ClientError when there is one of that name or its time is past."""
        if asked["Name"] in self.entries:
            raise _error("ConflictException")
        return self._set(asked)

    def update_schedule(self, **asked: Any) -> dict[str, Any]:
        """Moves a schedule. Raises ClientError when there is none."""
        if asked["Name"] not in self.entries:
            raise _error("ResourceNotFoundException")
        return self._set(asked)

    def delete_schedule(self, *, Name: str) -> dict[str, Any]:
        """Removes a schedule. Raises ClientError when there is none."""
        if self.entries.pop(Name, None) is None:
            raise _error("ResourceNotFoundException")
        return {}

    def _set(self, asked: dict[str, Any]) -> dict[str, Any]:
        at = datetime.fromisoformat(asked["ScheduleExpression"][3:-1]).replace(tzinfo=UTC)
        if at < self.world.now.replace(microsecond=0):
            raise _error("ValidationException")
        self._generation += 1
        self.entries[asked["Name"]] = self._generation if asked.get("State", "ENABLED") == "ENABLED" else 0
        wait = (at - self.world.now) / timedelta(seconds=1) + self.world.random.uniform(0, SCHEDULER_SECONDS)
        event = json.loads(asked["Target"]["Input"])
        self.world.spawn(self._fire(asked["Name"], self._generation, event), max(0.0, wait))
        return {}

    def _fire(self, name: str, generation: int, event: dict[str, str]) -> Process:
        while (over := self.world.down_until("Scheduler")) is not None:
            yield (over - self.world.now) / timedelta(seconds=1) + self.world.random.uniform(0, 60), False
        if DEFENCES.dead_mans_switch and self.entries.get(name) == generation:
            self.world.tear_down(event)


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


@dataclass(frozen=True)
class ServiceQuotas:
    """The same quota for every instance type."""

    value: int = 100

    def get_service_quota(self, **asked: Any) -> dict[str, Any]:
        """The quota in force."""
        return {"Quota": {"Value": self.value}}

    def list_service_quotas(self, **asked: Any) -> dict[str, Any]:
        """The quotas by name, of which none is told."""
        return {"Quotas": []}

    list_aws_default_service_quotas = list_service_quotas


@dataclass(frozen=True)
class Storage:
    """S3, as far as the money is concerned: objects are kept, and the weights are where they should be."""

    objects: dict[str, bytes] = field(default_factory=dict)

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **_: Any) -> dict[str, Any]:
        """Keeps an object."""
        self.objects[Key] = Body
        return {}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        """An object that was kept."""
        if Key not in self.objects:
            raise _error("NoSuchKey")
        return {"Body": io.BytesIO(self.objects[Key])}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        """The size of an object that was kept."""
        if Key not in self.objects:
            raise _error("404")
        return {"ContentLength": len(self.objects[Key])}

    def list_objects_v2(self, **asked: Any) -> dict[str, Any]:
        """That there is something below every prefix: an adapter that was cut is found as its job wrote it."""
        return {"KeyCount": 1}


@dataclass(frozen=True)
class Topic:
    """SNS."""

    messages: list[str] = field(default_factory=list)

    def publish(self, **asked: Any) -> dict[str, Any]:
        """Keeps the subject of a message."""
        self.messages.append(str(asked.get("Subject", "")))
        return {}


def _error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "StepFunctions")
