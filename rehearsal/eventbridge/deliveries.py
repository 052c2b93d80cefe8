"""Where events come from and go to: EventBridge's rules and the schedules in moto, state machines and Lambdas."""

from __future__ import annotations

import json
import threading
from typing import Any, Protocol
from uuid import uuid4

from botocore import xform_name
from moto.events.models import events_backends
from moto.scheduler.models import scheduler_backends

from rehearsal.account.clients import ACCOUNT

from .shapes import Delivery

_ATTEMPTS = 3  # AWS tries for 24 hours; a rehearsal need not
_SDK_TARGET = "arn:aws:scheduler:::aws-sdk:"


class FunctionFailed(RuntimeError):
    """The function was reached and ended with an error, so that the event is Lambda's to try again and to give up."""


class Account(Protocol):
    """The account in which is delivered, as far as a delivery needs it."""

    region: str
    time_scale: float

    def client(self, service: str, identity: str) -> Any:
        """A boto3 client that acts as an identity."""

    def dead_letters_of(self, function_arn: str) -> str:
        """The queue (ARN) of the events that a function has failed on, empty where it has none."""


class Deliverer:
    """The two ends of the deliveries of one account."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def rules(self) -> list[tuple[Any, list[dict[str, Any]]]]:
        """The enabled rules that have a pattern, with their targets."""
        return [(rule, rule.targets) for rule in self._enabled_rules() if not rule.scheduled_expression]

    def timed_rules(self) -> list[tuple[Any, list[dict[str, Any]]]]:
        """The enabled rules that fire at a rate, with their targets."""
        return [(rule, rule.targets) for rule in self._enabled_rules() if rule.scheduled_expression]

    def _enabled_rules(self) -> list[Any]:
        backend = events_backends[ACCOUNT][self._account.region]
        rules = [rule for bus in backend.event_buses.values() for rule in bus.rules.values()]
        return [rule for rule in rules if rule.state != "DISABLED"]

    def schedules(self) -> list[Any]:
        """The schedules of EventBridge Scheduler."""
        backend = scheduler_backends[ACCOUNT][self._account.region]
        return [
            schedule for group in list(backend.schedule_groups.values()) for schedule in list(group.schedules.values())
        ]

    def delete_schedule(self, group: str, name: str) -> None:
        """Delete a schedule, as Scheduler does after its completion where it was told to."""
        scheduler_backends[ACCOUNT][self._account.region].delete_schedule(group, name)

    def deliver(self, delivery: Delivery) -> None:
        """Start the execution or run the function that the target names; three attempts, as AWS would make more."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._deliver_once(delivery)
                return
            except Exception:
                if attempt == _ATTEMPTS:
                    raise
                # A moment between the attempts; a minute for AWS.
                threading.Event().wait(min(1.0, 60 / self._account.time_scale))

    def _deliver_once(self, delivery: Delivery) -> None:
        role = delivery.role.rpartition("/")[2] or f"service-{delivery.source}"
        if ":stateMachine:" in delivery.target:
            self._account.client("stepfunctions", role).start_execution(
                stateMachineArn=delivery.target, name=f"{delivery.source}-{uuid4()}", input=json.dumps(delivery.event)
            )
        elif ":function:" in delivery.target:
            answer = self._account.client("lambda", role).invoke(
                FunctionName=delivery.target, Payload=json.dumps(delivery.event).encode()
            )
            if "FunctionError" in answer:
                raise FunctionFailed(answer["Payload"].read().decode())
        elif delivery.target.startswith(_SDK_TARGET):
            service, _, action = delivery.target.removeprefix(_SDK_TARGET).partition(":")
            client = self._account.client({"sfn": "stepfunctions"}.get(service, service), role)
            operation = action[:1].upper() + action[1:]
            members = client.meta.service_model.operation_model(operation).input_shape.members
            named = {member.lower(): member for member in members}  # Scheduler spells members its own way
            getattr(client, xform_name(operation))(
                **{named[key.lower()]: value for key, value in delivery.event.items()}
            )
        else:
            raise ValueError(f"the rehearsal cannot deliver to {delivery.target}")

    def give_up(self, delivery: Delivery, error: Exception) -> None:
        """Put what could not be delivered into the queue that was named for it: the function's own, or the deliverer's."""
        if isinstance(error, FunctionFailed):
            queue = self._account.dead_letters_of(delivery.target)
            attributes = {"ErrorMessage": str(error)[:1024]}
        else:
            queue = delivery.dead_letters
            attributes = {"ERROR_MESSAGE": str(error)[:1024], "TARGET_ARN": delivery.target}
        if queue:
            client = self._account.client("sqs", f"service-{delivery.source}")
            client.send_message(
                QueueUrl=client.get_queue_url(QueueName=queue.rpartition(":")[2])["QueueUrl"],
                MessageBody=json.dumps(delivery.event),
                MessageAttributes={
                    key: {"DataType": "String", "StringValue": value} for key, value in attributes.items()
                },
            )
