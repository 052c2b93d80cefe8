"""Runs a state machine in the simulated world, state by state, from its own definition.

Tasks, waits, retries, catches, choices and expressions are the definition's; what a task calls is the world's. A wait in a
polling loop is stretched to the next poll that can see something new, which saves the simulation the polls between.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from proof.simulation.world import Steps, World
from rehearsal.step_functions import expressions
from rehearsal.step_functions.walk import catches, retry_waits

State = dict[str, Any]
_PATH = re.compile(r"\$([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)*)")
_NAME = re.compile(r"\$([A-Za-z_]\w*)")
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9]+)\}")


class Failure(Exception):
    """A task, a Fail state or an expression failed. `seconds` is how long the failing call took."""

    def __init__(self, error: str, cause: str = "", seconds: float = 0.0) -> None:
        super().__init__(f"{error}: {cause}")
        self.error, self.cause, self.seconds = error, cause, seconds


# Calls a task's resource with its arguments: what AWS answers, or Failure.
Call = Callable[[str, str, dict[str, Any]], Any]


@dataclass
class Interpreter:
    """One execution of a definition."""

    world: World
    definition: dict[str, Any]
    context: dict[str, Any]
    call: Call  # (state, resource, arguments)
    values: Mapping[str, str] = field(default_factory=dict)  # what replaces ${Placeholders}
    unchanged_until: Callable[[str, dict[str, Any]], datetime | None] = lambda resource, asked: None
    latency: Callable[[str], float] | None = None  # seconds of a state's call
    visited: list[tuple[str, datetime]] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    transitions: int = 0

    def run(self, given: Any) -> Steps[Any]:
        """The execution from its input to its output. Raises Failure as it fails, States.Timeout when its time is over."""
        end = self.world.now + timedelta(seconds=self.definition["TimeoutSeconds"])
        steps = self._machine(self.definition, given, self.variables)
        while True:
            # Step Functions itself stands still: so does every execution.
            while (over := self.world.down_until("Step Functions")) is not None:
                yield (over - self.world.now) / timedelta(seconds=1) + self.world.random.uniform(0, 60), False
            if self.world.now >= end:
                steps.close()
                raise Failure("States.Timeout", "the execution's own time is over")
            try:
                seconds, busy = next(steps)
            except StopIteration as done:
                return done.value
            yield min(seconds, max(0.0, (end - self.world.now) / timedelta(seconds=1))), busy

    def _machine(self, definition: State, given: Any, variables: dict[str, Any]) -> Steps[Any]:
        name, value = definition["StartAt"], given
        while True:
            self.visited.append((name, self.world.now))
            self.transitions += 1
            state: State = definition["States"][name]
            kind = state["Type"]
            if kind == "Fail":
                told = [self.value(state.get(key, ""), self._states(value), variables) for key in ("Error", "Cause")]
                raise Failure(str(told[0]), str(told[1]))
            following = yield from self._state(definition, name, state, value, variables)
            value = following[1]
            if kind == "Succeed" or following[0] is None:
                return value
            name = following[0]

    def _state(
        self, definition: State, name: str, state: State, given: Any, variables: dict[str, Any]
    ) -> Steps[tuple[str | None, Any]]:
        """Runs one state; answers what follows and with which input."""
        kind, states = state["Type"], self._states(given)
        if kind == "Choice":
            for rule in state["Choices"]:
                if self.value(rule["Condition"], states, variables) is True:
                    return rule["Next"], self._leave(rule, states, variables, given)
            return state["Default"], self._leave(state, states, variables, given)
        if kind == "Wait":
            seconds = float(self.value(state["Seconds"], states, variables))
            yield self._stretched(definition, state, seconds, variables), False
        if kind in {"Pass", "Wait", "Succeed"}:
            return state.get("Next"), self._leave(state, states, variables, given)
        return (yield from self._patiently(name, state, given, variables))

    def _patiently(self, name: str, state: State, given: Any, variables: dict[str, Any]) -> Steps[tuple[str, Any]]:
        """A task or a parallel state, with its retries and catches."""
        tried: dict[int, int] = {}
        while True:
            try:
                states = self._states(given)
                if state["Type"] == "Parallel":
                    result = []
                    for branch in state["Branches"]:
                        result.append((yield from self._machine(branch, given, dict(variables))))
                else:
                    asked = self.value(state.get("Arguments", {}), states, variables)
                    yield self.latency(name) if self.latency else self.world.latency(), True
                    result = self.call(name, state["Resource"], asked)
                states = states | {"result": result}
                return state["Next"], self._leave(state, states, variables, result)
            except Failure as failure:
                if failure.seconds:
                    yield failure.seconds, False
                number, retry = _first(state.get("Retry", []), failure.error)
                tries = tried.get(number, 0)
                if retry is not None and tries < len(waits := retry_waits(retry)):
                    tried[number], pause = tries + 1, waits[tries]
                    full = retry.get("JitterStrategy") == "FULL"
                    yield self.world.random.uniform(0, pause) if full else pause, False
                    continue
                _, catch = _first(state.get("Catch", []), failure.error)
                if catch is None:
                    raise
                output = {"Error": failure.error, "Cause": failure.cause}
                states = self._states(given) | {"errorOutput": output}
                return catch["Next"], self._leave(catch, states, variables, output)

    def _leave(self, state: State, states: dict[str, Any], variables: dict[str, Any], otherwise: Any) -> Any:
        """Assigns the variables and answers the output; both see the variables as they were."""
        assigned = self.value(state.get("Assign", {}), states, variables)
        output = self.value(state["Output"], states, variables) if "Output" in state else otherwise
        variables.update(assigned)
        return output

    def _stretched(self, definition: State, state: State, seconds: float, variables: dict[str, Any]) -> float:
        """A wait before a poll goes on to the first poll that can see a change."""
        following = definition["States"].get(state.get("Next", ""), {})
        if following.get("Type") != "Task" or seconds <= 0:
            return seconds
        try:
            asked = self.value(following.get("Arguments", {}), self._states({}), variables)
        except Failure:
            return seconds
        until = self.unchanged_until(following["Resource"], asked)
        ahead = (until - self.world.now) / timedelta(seconds=1) if until else 0.0
        polls = max(1, math.ceil(ahead / seconds))
        # Wait, describe, choose.
        self.transitions += 3 * (polls - 1)
        return seconds * polls

    def _states(self, given: Any) -> dict[str, Any]:
        return {"input": given, "context": self.context}

    def value(self, text: Any, states: dict[str, Any], variables: dict[str, Any]) -> Any:
        """A field of the definition with its placeholders and expressions replaced."""
        if isinstance(text, dict):
            return {key: self.value(part, states, variables) for key, part in text.items()}
        if isinstance(text, list):
            return [self.value(part, states, variables) for part in text]
        if not isinstance(text, str):
            return text
        text = _PLACEHOLDER.sub(lambda found: self.values.get(found[1], found[1]), text)
        if not (text.startswith("{%") and text.endswith("%}")):
            return text
        return self._evaluated(text[2:-2].strip(), {**variables, "states": states})

    def _evaluated(self, text: str, known: dict[str, Any]) -> Any:
        path = _PATH.fullmatch(text)
        if path is not None:
            found: Any = known.get(path[1])
            for part in path[2].split(".")[1:]:
                found = found.get(part) if isinstance(found, Mapping) else None
            if found is not None:
                return found
        expressions.clock[0] = lambda: self.world.now
        try:
            # Only what the expression names: to hand over a whole plan takes longer than to evaluate.
            return expressions.evaluate(text, {name: known[name] for name in _named(text) if name in known})
        except expressions.ExpressionError as error:
            raise Failure("States.QueryEvaluationError", str(error)) from error


@cache
def _named(text: str) -> frozenset[str]:
    """Every name with a dollar sign in an expression."""
    return frozenset(_NAME.findall(text))


def _first(rules: list[State], error: str) -> tuple[int, State | None]:
    """The first retrier or catcher that names an error, with its place."""
    return next(((number, rule) for number, rule in enumerate(rules) if catches(rule, error)), (-1, None))
