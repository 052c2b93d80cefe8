"""What the matrix is generated from: every Task state of the deployed definitions, its call, and where its errors lead."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

ANY = "States.ALL"
WILDCARDS = {ANY: (), "States.TaskFailed": ("States.Timeout",)}
SUCCEEDED = ("SUCCEEDED", "")
_FIELD_OF_RESULT = re.compile(r"\$states\.result\.(?!Payload\W)|\$states\.result\.Payload\.")


def matches(rule: Mapping[str, Any], error: str) -> bool:
    """Whether a Retry or Catch rule names an error, by itself or by a wildcard."""
    named = rule["ErrorEquals"]
    return error in named or any(wild in named and error not in but for wild, but in WILDCARDS.items())


@dataclass(frozen=True)
class TaskState:
    """A Task state of a machine. `chain` are the states around it, the innermost first, for a branch of a Parallel."""

    machine: str
    name: str
    body: Mapping[str, Any] = field(repr=False)
    definition: Mapping[str, Any] = field(repr=False)
    chain: tuple[str, ...] = ()

    @property
    def is_lambda(self) -> bool:
        """Whether it invokes a Lambda function rather than an AWS service."""
        return str(self.body["Resource"]).endswith(":lambda:invoke")

    @property
    def service(self) -> str:
        """The service that it calls, for example "scheduler"."""
        return "lambda" if self.is_lambda else str(self.body["Resource"]).split(":")[-2]

    @property
    def operation(self) -> str:
        """The operation that it calls, for example "CreateEndpoint"."""
        action = "invoke" if self.is_lambda else str(self.body["Resource"]).split(":")[-1]
        return action[0].upper() + action[1:]

    @property
    def function(self) -> str:
        """The name of the Lambda function that it invokes."""
        return str(self.body["Arguments"]["FunctionName"]).rpartition(":")[2]

    @property
    def reads_its_result(self) -> bool:
        """Whether a field is read of what the call answers, so that an answer without it is an error of this state."""
        return bool(_FIELD_OF_RESULT.search(json.dumps([self.body.get("Output"), self.body.get("Assign")])))

    def is_its_call(self, request: Mapping[str, Any]) -> bool:
        """Whether a call of its operation is this state's: states that share a function differ in a literal argument."""
        if not self.is_lambda:
            return True
        payload = self.body["Arguments"]["Payload"]
        literals = (
            {k: v for k, v in payload.items() if not str(v).startswith("{%")} if isinstance(payload, dict) else {}
        )
        return self.function in str(request.get("path")) and all(request.get(k) == v for k, v in literals.items())

    def fate(self, error: str, made_already: bool = False) -> tuple[str, str]:
        """How the execution ends when the state goes on failing with an error: status and error name, by the Catch rules.

        `made_already` tells that the error is the refusal of a second thing of one name, for a Choice that asks so.
        """
        for name in (self.name, *self.chain):
            state = next(body for found, body in each_state(self.definition) if found == name)
            rule = next((rule for rule in state.get("Catch", []) if matches(rule, error)), None)
            if rule is not None:
                return self._after(rule, error, made_already)
        return "FAILED", error

    def waits_out(self, error: str) -> bool:
        """Whether the state is tried again, after a wait, for as long as it fails with an error: nothing else can come of it."""
        rule = next((rule for rule in self.body.get("Catch", []) if matches(rule, error)), None)
        states, name = dict(each_state(self.definition)), rule["Next"] if rule else ""
        while name and states[name]["Type"] == "Choice":
            name = states[name].get("Default", "")
        # It waits, and what comes then leads here again.
        return bool(name) and states[name]["Type"] == "Wait" and self._is_reached_from(states[name]["Next"])

    def _is_reached_from(self, name: str) -> bool:
        seen, todo = set[str](), [name]
        while todo:
            state = todo.pop()
            if state not in seen:
                seen.add(state)
                todo += following(self.definition["States"][state])
        return self.name in seen

    def _after(self, rule: Mapping[str, Any], error: str, made_already: bool) -> tuple[str, str]:
        problem, states = rule.get("Assign", {}).get("problem"), dict(each_state(self.definition))
        following_state = states[rule["Next"]]
        if following_state["Type"] == "Choice":
            goes_on = made_already and len(following_state["Choices"]) == 1
            following_state = states[following_state["Choices"][0]["Next"] if goes_on else following_state["Default"]]
        if following_state["Type"] != "Fail":
            return SUCCEEDED
        return "FAILED", error.removeprefix("States.") if isinstance(problem, str) else str(problem["Error"])

    def comes_after(self, name: str) -> bool:
        """Whether the execution cannot be in this state without having left another one."""
        here = self.chain[-1] if self.chain else self.name
        states, seen, todo = self.definition["States"], set[str](), [self.definition["StartAt"]]
        while todo:
            state = todo.pop()
            if state not in seen and state != name:
                seen.add(state)
                todo += following(states[state])
        return here != name and here not in seen


def following(body: Mapping[str, Any]) -> list[str]:
    """The states that can come next."""
    rules = [body, *body.get("Choices", []), *body.get("Catch", [])]
    return [rule["Next"] for rule in rules if "Next" in rule] + ([body["Default"]] if "Default" in body else [])


def each_state(definition: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every state, also those inside a Parallel or a Map."""
    for name, body, _ in _walk(definition, ()):
        yield name, body


def _walk(part: Mapping[str, Any], chain: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any], tuple[str, ...]]]:
    for name, body in part["States"].items():
        yield name, body, chain
        inner = [*body.get("Branches", []), *(body[key] for key in ("ItemProcessor", "Iterator") if key in body)]
        for branch in inner:
            yield from _walk(branch, (name, *chain))


def task_states(machine: str, definition: Mapping[str, Any]) -> list[TaskState]:
    """The Task states of a definition, in the order in which they are written."""
    found = _walk(definition, ())
    return [TaskState(machine, name, body, definition, chain) for name, body, chain in found if body["Type"] == "Task"]
