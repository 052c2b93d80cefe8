"""What moto's Lambda, SNS and Scheduler lack, patched in once per process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from moto.awslambda_simple.models import LambdaSimpleBackend
from moto.scheduler.models import EventBridgeSchedulerBackend
from moto.sns.models import Topic
from moto.stepfunctions.models import StateMachine


class Services(Protocol):
    """What the patches call."""

    def invoke(self, function: Any, event: Any) -> tuple[str, bool]:
        """Run a Lambda function; return its answer as JSON and whether that is an error."""

    def on_publish(self, topic_arn: str, message: str, subject: str | None) -> None:
        """Take note of a message to a topic."""

    def on_schedule_change(self) -> None:
        """Take note that a schedule was made or changed."""


_installed: list[bool] = []


def install(current: Callable[[], Any]) -> None:
    """Patch moto, the first time; `current` returns the cloud in use (`Services`) or None."""
    if _installed:
        return
    _installed.append(True)
    _run_functions(current)
    _hear_messages(current)
    _keep_schedules(current)
    _give_attributes()


def _run_functions(current: Callable[[], Services | None]) -> None:
    """Invoke: moto answers with the event itself. Here the function runs, and its errors are marked as Lambda's."""
    original = LambdaSimpleBackend.invoke

    def invoke(self: Any, function_name: str, qualifier: Any, body: Any, headers: Any, response_headers: Any) -> Any:
        services = current()
        if services is None:
            return original(self, function_name, qualifier, body, headers, response_headers)
        function = self.get_function(function_name, qualifier)
        answer, failed = services.invoke(function, json.loads(body or b"null"))
        if failed:
            response_headers["x-amz-function-error"] = "Unhandled"
        return answer.encode()

    LambdaSimpleBackend.invoke = invoke


def _hear_messages(current: Callable[[], Services | None]) -> None:
    original = Topic.publish

    def publish(self: Any, message: str, subject: str | None = None, *args: Any, **kwargs: Any) -> str:
        message_id: str = original(self, message, subject, *args, **kwargs)
        services = current()
        if services is not None:
            services.on_publish(self.arn, message, subject)
        return message_id

    Topic.publish = publish


def _keep_schedules(current: Callable[[], Services | None]) -> None:
    for name in ("create_schedule", "update_schedule"):
        original = getattr(EventBridgeSchedulerBackend, name)

        def change(self: Any, *args: Any, _original: Any = original, **kwargs: Any) -> Any:
            result = _original(self, *args, **kwargs)
            services = current()
            if services is not None:
                services.on_schedule_change()
            return result

        setattr(EventBridgeSchedulerBackend, name, change)


def _give_attributes() -> None:
    """Fn::GetAtt of a state machine's Arn, which CloudFormation has and moto lacks."""
    original = StateMachine.get_cfn_attribute

    def attribute(self: Any, name: str) -> Any:
        return self.arn if name == "Arn" else original(self, name)

    StateMachine.get_cfn_attribute = attribute
    has = StateMachine.has_cfn_attr
    StateMachine.has_cfn_attr = classmethod(lambda cls, attr: attr == "Arn" or has(attr))
