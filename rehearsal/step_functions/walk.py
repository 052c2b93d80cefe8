"""A small interpreter of the Amazon States Language with a clock of its own: a whole run in a few milliseconds.

It knows what the two .asl.yaml files use: JSONata, Assign, Output, Retry, Catch, Choice, Wait, Parallel, Pass, Succeed and
Fail. The rehearsal runs the same files with Lambdas and services that really act; here an account of scripted answers stands
behind the calls, so that each story can be told exactly, down to the second. A test holds both against each other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from . import expressions

State = Mapping[str, Any]
START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
# What each wildcard does not catch.
_WILDCARDS: Mapping[str, tuple[str, ...]] = {
    "States.ALL": ("States.DataLimitExceeded",),
    "States.TaskFailed": ("States.Timeout",),
}


class Failure(Exception):
    """A call that fails, as Step Functions names it. A story may also say how long it took (seconds)."""

    def __init__(self, error: str, cause: str | None = "no luck", seconds: float = 0) -> None:
        super().__init__(f"{error}: {cause}")
        self.error, self.cause, self.seconds = error, cause, seconds


class Endless(AssertionError):
    """A machine that takes more steps than any run of its story needs."""


class _TimedOut(Exception):
    pass


@dataclass(frozen=True)
class Call:
    """One call: by which state, what it does, what it was asked, and the seconds since the execution began."""

    state: str
    operation: str
    arguments: Mapping[str, Any]
    second: float


Account = Callable[[Call], Any]


@dataclass
class Walk:
    """One execution. `account` answers its calls or raises Failure; `context` is merged into $states.context.Execution."""

    definition: Mapping[str, Any]
    account: Account
    input: Any = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    most_steps: int = 400

    status: str = "RUNNING"
    error: str | None = None
    cause: str | None = None
    output: Any = None
    seconds: float = 0.0
    states: list[str] = field(default_factory=list)
    inputs: list[tuple[str, Any]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    _ends: float = float("inf")

    def run(self) -> Walk:
        """Walks to the end of the execution and returns itself. Raises Endless."""
        self._ends = float(self.definition.get("TimeoutSeconds", "inf"))
        with self._its_time():
            try:
                self.output = self._machine(self.definition, copy.deepcopy(self.input), {})
                self.status = "SUCCEEDED"
            except Failure as failure:
                self.status, self.error, self.cause = "FAILED", failure.error, failure.cause
            except _TimedOut:
                self.status, self.seconds = "TIMED_OUT", self._ends
        return self

    def asked(self, state: str) -> list[Mapping[str, Any]]:
        """What the calls of a state were given, in their order."""
        return [call.arguments for call in self.calls if call.state == state]

    def pauses(self, state: str) -> list[float]:
        """The seconds between the calls of a state, in their order."""
        at = [call.second for call in self.calls if call.state == state]
        return [later - earlier for earlier, later in pairwise(at)]

    @contextmanager
    def _its_time(self) -> Iterator[None]:
        before = list(expressions.clock)
        expressions.clock[:] = [lambda: START + timedelta(seconds=self.seconds)]
        try:
            yield
        finally:
            expressions.clock[:] = before

    def _pass_time(self, seconds: float) -> None:
        self.seconds += seconds
        if self.seconds >= self._ends:
            raise _TimedOut

    def _machine(self, machine: State, given: Any, variables: dict[str, Any]) -> Any:
        name, states = machine["StartAt"], machine["States"]
        while True:
            if len(self.states) >= self.most_steps:
                raise Endless(f"{self.most_steps} steps, the last ones {self.states[-6:]}")
            self.states.append(name)
            self.inputs.append((name, copy.deepcopy(given)))
            state = states[name]
            if state["Type"] == "Succeed":
                return self._value(state.get("Output", given), given, variables)
            if state["Type"] == "Fail":
                error, cause = (self._value(state.get(key), given, variables) for key in ("Error", "Cause"))
                raise Failure(error, cause)
            given, following = self._state(state, name, given, variables)
            if following is None:
                return given
            name = following

    def _state(self, state: State, name: str, given: Any, variables: dict[str, Any]) -> tuple[Any, str | None]:
        kind = state["Type"]
        if kind == "Choice":
            for rule in state["Choices"]:
                if self._evaluate(rule["Condition"], given, variables) is True:
                    return self._leave(rule, given, given, variables), rule["Next"]
            return self._leave(state, given, given, variables), state["Default"]
        if kind == "Wait":
            self._pass_time(self._value(state["Seconds"], given, variables))
        if kind not in ("Task", "Parallel"):
            return self._leave(state, given, given, variables), state.get("Next")
        used: dict[int, int] = {}
        while True:
            try:
                result = self._perform(state, name, given, variables)
                return self._leave(state, given, result, variables, result=result), state.get("Next")
            except Failure as failure:
                self._pass_time(failure.seconds)
                if self._tries_again(state, failure, used):
                    continue
                rule = next((rule for rule in state.get("Catch", []) if catches(rule, failure.error)), None)
                if rule is None:
                    raise
                problem = {"Error": failure.error} | ({} if failure.cause is None else {"Cause": failure.cause})
                return self._leave(rule, given, problem, variables, errorOutput=problem), rule["Next"]

    def _tries_again(self, state: State, failure: Failure, used: dict[int, int]) -> bool:
        for index, rule in enumerate(state.get("Retry", [])):
            if catches(rule, failure.error):
                tried = used.setdefault(index, 0)
                waits = retry_waits(rule)
                if tried >= len(waits):
                    return False
                used[index] += 1
                self._pass_time(waits[tried])  # jitter makes it shorter; the longest is what has to be allowed for
                return True
        return False

    def _perform(self, state: State, name: str, given: Any, variables: dict[str, Any]) -> Any:
        if state["Type"] == "Parallel":
            began, results, latest = self.seconds, [], self.seconds
            for branch in state["Branches"]:
                self.seconds = began
                results.append(self._machine(branch, given, dict(variables)))
                latest = max(latest, self.seconds)
            self.seconds = latest
            return results
        arguments = self._value(state.get("Arguments", {}), given, variables)
        if state["Resource"].endswith(":lambda:invoke"):
            call = Call(name, arguments["FunctionName"], arguments.get("Payload"), self.seconds)
        else:
            call = Call(name, ":".join(state["Resource"].split(":")[-2:]), arguments, self.seconds)
        self.calls.append(call)
        if len(self.calls) > self.most_steps:
            raise Endless(f"{self.most_steps} calls, the last one {call}")
        return copy.deepcopy(self.account(call))

    def _leave(self, holder: State, given: Any, default: Any, variables: dict[str, Any], **seen: Any) -> Any:
        output = self._value(holder["Output"], given, variables, **seen) if "Output" in holder else default
        variables |= {
            key: self._value(value, given, variables, **seen) for key, value in holder.get("Assign", {}).items()
        }
        return output

    def _value(self, template: Any, given: Any, variables: Mapping[str, Any], **seen: Any) -> Any:
        if isinstance(template, dict):
            return {key: self._value(value, given, variables, **seen) for key, value in template.items()}
        if isinstance(template, list):
            return [self._value(value, given, variables, **seen) for value in template]
        if isinstance(template, str) and template.startswith("{%"):
            return self._evaluate(template, given, variables, **seen)
        return template

    def _evaluate(self, template: str, given: Any, variables: Mapping[str, Any], **seen: Any) -> Any:
        text = template.removeprefix("{%").removesuffix("%}").strip()
        states = {"input": given, "context": {"Execution": dict(self.context), "StateMachine": {"Id": "arn:machine"}}}
        try:
            return expressions.evaluate(text, {**variables, "states": states | seen})
        except expressions.ExpressionError as error:
            raise Failure("States.QueryEvaluationError", str(error)) from error


def catches(rule: Mapping[str, Any], error: str) -> bool:
    """Whether a Retry or Catch rule names an error, by itself or by a wildcard."""
    named = rule["ErrorEquals"]
    return error in named or any(wild in named and error not in but for wild, but in _WILDCARDS.items())


def retry_waits(rule: Mapping[str, Any]) -> list[float]:
    """The longest that each new attempt of a Retry rule waits, in seconds, with the defaults of the language."""
    first, rate, most = (
        rule.get("IntervalSeconds", 1),
        rule.get("BackoffRate", 2.0),
        rule.get("MaxDelaySeconds", 31_622_400),
    )
    return [min(first * rate**attempt, most) for attempt in range(rule.get("MaxAttempts", 3))]
