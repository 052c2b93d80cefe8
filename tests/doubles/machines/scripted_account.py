"""The account behind a walked state machine: answers that a test scripts, to requests that botocore finds valid."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

from rehearsal.step_functions.walk import Call, Failure

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
Answer = Mapping[str, Any] | Failure | Callable[[Call], Any]


class ScriptedAccount:
    """Answers each operation with its script, the last answer of it for ever.

    Operations are `service:operation` as in a state's Resource, or the placeholder of a Lambda (`${AskFunctionArn}`), whose
    answers are payloads. A request that AWS's own model of the service refuses fails with its complaint, as AWS would.
    """

    def __init__(self, usual: Mapping[str, Answer]) -> None:
        self._scripts: dict[str, list[Answer]] = {operation: [answer] for operation, answer in usual.items()}
        self._failures: dict[str, list[Failure]] = {}

    def script(self, operation: str, *answers: Answer) -> ScriptedAccount:
        """The answers to an operation in their order. Returns itself. Raises KeyError for one that nobody calls."""
        if operation not in self._scripts:
            raise KeyError(operation)
        self._scripts[operation] = list(answers)
        return self

    def fail(self, state: str, *failures: Failure, for_ever: bool = False) -> ScriptedAccount:
        """The first calls of a state fail so, or all of them as the last one does. Returns itself."""
        self._failures[state] = [*failures, *(500 * failures[-1:] if for_ever else [])]
        return self

    def __call__(self, call: Call) -> Any:
        """What the account answers. Raises Failure, and KeyError for an operation that no test has scripted."""
        script = self._scripts[call.operation]
        if self._failures.get(call.state):
            raise self._failures[call.state].pop(0)
        answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, Failure):
            raise answer
        if not call.operation.startswith("${"):
            complaint = complaints(call.operation, call.arguments)
            if complaint:
                raise Failure("States.Runtime", complaint)
        result = answer(call) if callable(answer) else answer
        return {"Payload": result} if call.operation.startswith("${") else result


@cache
def _shape(operation: str) -> Any:
    service, name = operation.split(":")
    return (
        botocore.session.get_session()
        .get_service_model(service)
        .operation_model(name[0].upper() + name[1:])
        .input_shape
    )


def complaints(operation: str, arguments: Mapping[str, Any]) -> str:
    """What AWS's model of a service has to say against a request: missing or unknown fields, wrong types, bounds, choices."""
    report = ParamValidator().validate(_deployed(arguments), _shape(operation))
    return " ".join(filter(None, [report.generate_report(), *_odd_choices(_shape(operation), arguments)]))


def _deployed(value: Any) -> Any:
    """The value with something as long as an ARN in the place of each placeholder, which only a deployment fills."""
    if isinstance(value, dict):
        return {key: _deployed(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_deployed(part) for part in value]
    return _PLACEHOLDER.sub(r"arn:aws:any:us-east-1::\1", value) if isinstance(value, str) else value


def _odd_choices(shape: Any, value: Any) -> list[str]:
    """botocore leaves the check of an enum to the service."""
    if shape.type_name == "structure" and isinstance(value, Mapping):
        return [
            w for key, part in value.items() if key in shape.members for w in _odd_choices(shape.members[key], part)
        ]
    if shape.type_name == "list" and isinstance(value, list):
        return [words for part in value for words in _odd_choices(shape.member, part)]
    options = getattr(shape, "enum", None)
    if options and isinstance(value, str) and not value.startswith("${") and value not in options:
        return [f"{value} is none of {', '.join(options)}"]
    return []
