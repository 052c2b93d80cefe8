"""Runs a state machine in virtual time, state by state, from its own definition.

It knows what the two .asl.yaml files use: JSONata, Assign, Output, Retry, Catch, Choice, Wait, Parallel, Pass, Succeed and Fail.
Rows of the table of failures go the same way here and in moto (tests/scenarios/test_two_accounts.py).
"""

import copy
import heapq
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from rehearsal import jsonata
from verification.simulation.world import Execution, Steps, World

State = Mapping[str, Any]
_PATH = re.compile(r"\$([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)*)")
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9]+)\}")
# What depends on more than the values that an expression names.
_IMPURE = re.compile(r"\$(?:millis|now|uuid|random)\b")
# What each wildcard does not catch.
_WILDCARDS: Mapping[str, tuple[str, ...]] = {
    "States.ALL": ("States.DataLimitExceeded", "States.Runtime"),
    "States.TaskFailed": ("States.Timeout", "States.Runtime"),
}
# AWS ends an execution whose history has 25,000 events; entering and leaving a state are two.
_MOST_TRANSITIONS = 12_500
_MISSING = type("Missing", (), {"__repr__": lambda self: "(nothing)"})()
# By identity, with the part itself, so that no other one gets its identity.
_CHANGING: dict[int, tuple[Any, bool]] = {}
_RESULTS: dict[tuple[str, str], Any] = {}
_MOST_RESULTS = 200_000


class Failure(Exception):
    """A task, a Fail state or an expression failed, as Step Functions names it. `seconds` is how long the failing call took."""

    def __init__(self, error: str, cause: str | None = "", seconds: float = 0.0) -> None:
        super().__init__(f"{error}: {cause}")
        self.error, self.cause, self.seconds = error, cause, seconds


# Calls the resource of a task's state with its arguments: what AWS answers, or Failure.
Call = Callable[[str, str, Any], Steps[Any]]


@dataclass
class Interpreter:
    """One execution of a definition."""

    world: World
    definition: State
    context: Mapping[str, Any]
    call: Call  # (state, resource, arguments)
    execution: Execution
    values: Mapping[str, str] = field(default_factory=dict)  # what replaces ${Placeholders}
    unchanged_until: Callable[[str, Any], datetime | None] = lambda resource, asked: None
    transitions: int = 0

    def run(self, given: Any) -> Steps[Any]:
        """The execution from its input to its output. Raises Failure as it fails, States.Timeout when its time is over."""
        end = self.world.now + timedelta(seconds=self.definition.get("TimeoutSeconds", 10**9))
        steps = self._machine(self.definition, given, {})
        while True:
            # Step Functions itself stands still: so does every execution.
            if self.world.outages:
                yield from self.world.waiting_for("Step Functions")
            if self.world.now >= end:
                steps.close()
                raise Failure("States.Timeout", "the execution's own time is over")
            try:
                seconds, busy = next(steps)
            except StopIteration as done:
                return done.value
            yield min(seconds, max(0.0, self.world.seconds_until(end))), busy

    def _machine(self, definition: State, given: Any, variables: dict[str, Any]) -> Steps[Any]:
        name = definition["StartAt"]
        # A call may still end after its execution did: then no further state is entered, and no error is met.
        while self.execution.status == "RUNNING":
            self.execution.visited.append((name, self.world.now))
            self.world.log(f"{self.execution.name}: {name}")
            self.transitions += 1
            if self.transitions > _MOST_TRANSITIONS:
                raise Failure("States.Runtime", "the history of the execution is full")
            state: State = definition["States"][name]
            if state["Type"] == "Fail":
                error, cause = (self._value(state.get(key, ""), given, variables) for key in ("Error", "Cause"))
                raise Failure(str(error), str(cause))
            following, given = yield from self._state(definition, name, state, given, variables)
            if following is None:
                return given
            name = following
        return None

    def _state(
        self, definition: State, name: str, state: State, given: Any, variables: dict[str, Any]
    ) -> Steps[tuple[str | None, Any]]:
        """Runs one state; answers what follows and with which input."""
        kind = state["Type"]
        if kind == "Choice":
            for rule in state["Choices"]:
                if self._value(rule["Condition"], given, variables) is True:
                    return rule["Next"], self._leave(rule, given, given, variables)
            if "Default" not in state:
                raise Failure("States.NoChoiceMatched", f"no rule of {name} applies")
            return state["Default"], self._leave(state, given, given, variables)
        if kind == "Wait":
            seconds = float(self._value(state["Seconds"], given, variables))
            yield self._stretched(definition, state, seconds, variables), False
        if kind in {"Pass", "Wait", "Succeed"}:
            return state.get("Next"), self._leave(state, given, given, variables)
        return (yield from self._patiently(name, state, given, variables))

    def _patiently(
        self, name: str, state: State, given: Any, variables: dict[str, Any]
    ) -> Steps[tuple[str | None, Any]]:
        """A task or a parallel state, with its retries and catches."""
        tried: dict[int, int] = {}
        while True:
            try:
                if state["Type"] == "Parallel":
                    result = yield from self._branches(state, given, variables)
                else:
                    asked = self._value(state.get("Arguments", {}), given, variables)
                    result = yield from self.call(name, state["Resource"], asked)
                return state.get("Next"), self._leave(state, given, result, variables, result=result)
            except Failure as failure:
                if self.execution.status != "RUNNING":
                    raise
                self.execution.errors.append((name, failure.error))
                self.world.log(f"{self.execution.name}: {name} met {failure.error}: {str(failure.cause)[:160]}")
                if failure.seconds:
                    yield failure.seconds, False
                number, retry = _first(state.get("Retry", []), failure.error)
                tries = tried.get(number, 0)
                if retry is not None and tries < len(waits := retry_waits(retry)):
                    tried[number], pause = tries + 1, waits[tries]
                    self.transitions += 1
                    full = retry.get("JitterStrategy") == "FULL"
                    yield self.world.random.uniform(0, pause) if full else pause, False
                    continue
                _, catch = _first(state.get("Catch", []), failure.error)
                if catch is None:
                    raise
                output = {"Error": failure.error} | ({} if failure.cause is None else {"Cause": failure.cause})
                return catch["Next"], self._leave(catch, given, output, variables, errorOutput=output)

    def _branches(self, state: State, given: Any, variables: dict[str, Any]) -> Steps[list[Any]]:
        """All branches side by side; the first that fails ends the others."""
        branches = [self._machine(branch, given, dict(variables)) for branch in state["Branches"]]
        results: list[Any] = [None] * len(branches)
        began = self.world.now
        turns = [(0.0, number, False) for number in range(len(branches))]
        try:
            while turns:
                at, number, busy = heapq.heappop(turns)
                elapsed = (self.world.now - began) / timedelta(seconds=1)
                if at > elapsed:
                    yield at - elapsed, busy or any(one[2] for one in turns)
                try:
                    seconds, busy = next(branches[number])
                except StopIteration as done:
                    results[number] = done.value
                else:
                    heapq.heappush(turns, (max(at, elapsed) + seconds, number, busy))
        finally:
            for branch in branches:
                branch.close()
        return results

    def _leave(self, state: State, given: Any, otherwise: Any, variables: dict[str, Any], **seen: Any) -> Any:
        """Assigns the variables and answers the output; both see the variables as they were."""
        output = self._value(state["Output"], given, variables, **seen) if "Output" in state else otherwise
        variables |= {
            name: self._value(value, given, variables, **seen) for name, value in state.get("Assign", {}).items()
        }
        return output

    def _stretched(self, definition: State, state: State, seconds: float, variables: dict[str, Any]) -> float:
        """A wait before a poll goes on to the last poll that sees no change, which saves the polls before it."""
        following = definition["States"].get(state.get("Next", ""), {})
        if following.get("Type") != "Task" or seconds <= 0:
            return seconds
        try:
            asked = self._value(following.get("Arguments", {}), {}, variables)
        except Failure:
            return seconds
        until = self.unchanged_until(following["Resource"], asked)
        ahead = self.world.seconds_until(until) if until else 0.0
        polls = max(1, math.ceil(ahead / seconds) - 1)
        # Wait, describe, choose.
        self.transitions += 3 * (polls - 1)
        return seconds * polls

    def _value(self, text: Any, given: Any, variables: Mapping[str, Any], **seen: Any) -> Any:
        """A field of the definition with its placeholders and expressions replaced."""
        if not _changes(text):
            return copy.deepcopy(text) if text and isinstance(text, (dict, list)) else text
        if isinstance(text, dict):
            return {key: self._value(part, given, variables, **seen) for key, part in text.items()}
        if isinstance(text, list):
            return [self._value(part, given, variables, **seen) for part in text]
        if "${" in text:
            text = _PLACEHOLDER.sub(lambda found: self.values.get(found[1], found[1]), text)
        if not text.startswith("{%"):
            return text
        states = {"input": given, "context": self.context, **seen}
        return self._evaluate(text[2:-2].strip(), {**variables, "states": states})

    def _evaluate(self, text: str, known: Mapping[str, Any]) -> Any:
        read = _read(text)
        if read.path and (found := _at(read.path, known)) is not _MISSING and found is not None:
            return found
        try:
            named = {name: known[name] for name in read.names if name in known}
            if read.impure:
                return jsonata.evaluate(text, named, self.clock)
            # The same expression over the same values gives the same: a thousand months ask each a few times.
            key = text, repr([_at(one, known) for one in read.paths])
            if key not in _RESULTS:
                if len(_RESULTS) > _MOST_RESULTS:
                    _RESULTS.clear()
                _RESULTS[key] = jsonata.evaluate(text, named)
            found = _RESULTS[key]
            return copy.deepcopy(found) if isinstance(found, (dict, list)) else found
        except jsonata.ExpressionError as error:
            raise Failure("States.QueryEvaluationError", str(error)) from error

    def clock(self) -> datetime:
        """The time in this execution's world."""
        return self.world.now


def catches(rule: Mapping[str, Any], error: str) -> bool:
    """Whether a Retry or Catch rule names an error, by itself or by a wildcard."""
    named = rule["ErrorEquals"]
    return error in named or any(wild in named and error not in but for wild, but in _WILDCARDS.items())


def retry_waits(rule: Mapping[str, Any]) -> list[float]:
    """The longest that each new attempt of a Retry rule waits, in seconds, with the defaults of the language."""
    first, rate = rule.get("IntervalSeconds", 1), rule.get("BackoffRate", 2.0)
    most = rule.get("MaxDelaySeconds", 31_622_400)
    return [min(first * rate**attempt, most) for attempt in range(rule.get("MaxAttempts", 3))]


def _first(rules: list[State], error: str) -> tuple[int, State | None]:
    """The first retrier or catcher that names an error, with its place."""
    return next(((number, rule) for number, rule in enumerate(rules) if catches(rule, error)), (-1, None))


def _changes(part: Any) -> bool:
    """Whether a part of a definition holds a placeholder or an expression. What is known of a part is kept with it."""
    if isinstance(part, str):
        return "${" in part or part.startswith("{%")
    if not isinstance(part, (dict, list)):
        return False
    if id(part) not in _CHANGING:
        inner = part.values() if isinstance(part, dict) else part
        _CHANGING[id(part)] = part, any(_changes(one) for one in inner)
    return _CHANGING[id(part)][1]


@dataclass(frozen=True)
class _Read:
    """What an expression reads: its variables, with the fields that are read of each; of one that is read whole, the whole."""

    path: str  # where it is nothing but a path
    impure: bool
    names: tuple[str, ...]
    paths: tuple[str, ...]


@cache
def _read(text: str) -> _Read:
    found = list(_PATH.finditer(text))
    names, paths = {one[1] for one in found}, {one[0] for one in found}
    path = text if _PATH.fullmatch(text) else ""
    return _Read(path, bool(_IMPURE.search(text)), tuple(sorted(names)), tuple(sorted(paths)))


def _at(path: str, known: Mapping[str, Any]) -> Any:
    """The value of a path such as `$plan.training.spot`, up to a list in which the path goes on; _MISSING where there is nothing."""
    name, *fields = path[1:].split(".")
    found: Any = known.get(name, _MISSING)
    for one in fields:
        if isinstance(found, list):
            return found
        found = found.get(one, _MISSING) if isinstance(found, Mapping) else _MISSING
    return found
