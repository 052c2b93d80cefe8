"""Runs a state machine of the Amazon States Language, state by state, in whatever time it is given.

It knows what the two .asl.yaml files use: JSONata, Assign, Output, Retry, Catch, Choice, Wait, Parallel, Pass, Succeed, Fail and
TimeoutSeconds. The proof of the cap runs it in virtual time (verification/simulation/virtual_time.py), a rehearsal by the clock (wall_clock.py).
"""

import copy
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Protocol, TypeVar

from rehearsal import jsonata

from .executions import Execution

T = TypeVar("T")
State = Mapping[str, Any]
# What runs yields how long it waits (seconds), and what is true while a call is under way meanwhile, which an abort may not stop.
# By the clock that is a function: the wait is over as soon as it returns true.
Steps = Generator[tuple[float, bool | Callable[[], bool]], None, T]
_TYPES = ("Task", "Parallel", "Choice", "Wait", "Pass", "Succeed", "Fail")
_PATH = re.compile(r"\$([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)*)")
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9]+)\}")
# What depends on more than the values that an expression names.
_IMPURE = re.compile(r"\$(?:millis|now|uuid|random)\b")
# What each wildcard does not catch.
_WILDCARDS: Mapping[str, tuple[str, ...]] = {
    "States.ALL": ("States.DataLimitExceeded", "States.Runtime"),
    "States.TaskFailed": ("States.Timeout", "States.Runtime"),
}
# The events of failures that are not those of a task's call.
_FAILED: Mapping[str, tuple[str, str]] = {
    "States.Timeout": ("TaskTimedOut", "taskTimedOut"),
    "States.QueryEvaluationError": ("EvaluationFailed", "evaluationFailed"),
}
_FOREVER = 10**9  # seconds
# AWS ends an execution whose history has 25,000 events; entering and leaving a state are two.
_MOST_TRANSITIONS = 12_500
_MISSING = type("Missing", (), {"__repr__": lambda self: "(nothing)"})()
_RESULTS: dict[tuple[str, str], Any] = {}
_MOST_RESULTS = 200_000


class Failure(Exception):
    """A task, a Fail state or an expression failed, as Step Functions names it. `seconds` is how long the failing call took."""

    def __init__(self, error: str, cause: str | None = "", seconds: float = 0.0) -> None:
        super().__init__(f"{error}: {cause}")
        self.error, self.cause, self.seconds = error, cause, seconds


class OutOfTime(Failure):
    """The time of the whole execution is over."""


# Calls the resource of a task's state with its arguments: what AWS answers, or Failure.
Call = Callable[[str, str, Any], Steps[Any]]  # (state, resource, arguments)


class Time(Protocol):
    """What passes while an execution runs."""

    @property
    def now(self) -> datetime:
        """The present moment."""

    @property
    def scale(self) -> float:
        """How many times shorter the waits of a definition are here. Timeouts are not, for work takes as long as it takes."""

    def jitter(self, seconds: float) -> float:
        """A pause of up to so many seconds."""

    def side_by_side(self, branches: list[Steps[Any]]) -> Steps[list[Any]]:
        """Run all at the same time, and return their results; the first that fails ends the others."""


@dataclass
class Interpreter:
    """One execution of a definition."""

    time: Time
    definition: State
    context: Mapping[str, Any]
    call: Call
    execution: Execution
    values: Mapping[str, str] = field(default_factory=dict)  # what replaces ${Placeholders}
    transitions: int = 0

    def run(self, given: Any) -> Steps[Any]:
        """The execution from its input to its output. Raises Failure as it fails, OutOfTime when its time is over."""
        return self._within(self.definition, self._machine(self.definition, given, {}), OutOfTime)

    def _within(self, limited: State, steps: Steps[T], late: type[Failure] = Failure) -> Steps[T]:
        """The steps, as far as they come within the TimeoutSeconds of a definition or a state."""
        end = self.time.now + timedelta(seconds=limited.get("TimeoutSeconds", _FOREVER))
        while self.time.now < end:
            try:
                seconds, busy = next(steps)
            except StopIteration as done:
                result: T = done.value
                return result
            # Where the time ends first, only a call that is answered ends the wait before it does.
            while (left := (end - self.time.now) / timedelta(seconds=1)) > 0:
                yield min(seconds, left), busy
                if seconds < left or busy:
                    break
        steps.close()
        raise late("States.Timeout")

    def _machine(self, definition: State, given: Any, variables: dict[str, Any]) -> Steps[Any]:
        name = definition["StartAt"]
        # A call may still end after its execution did: then no further state is entered, and no error is met.
        while self.execution.status == "RUNNING":
            state: State = definition["States"][name]
            self._note(f"{state['Type']}StateEntered", "stateEntered", name=name)
            self.transitions += 1
            if self.transitions > _MOST_TRANSITIONS:
                raise Failure("States.Runtime", "the history of the execution is full")
            if state["Type"] == "Fail":
                error, cause = (self._value(state.get(key, ""), given, variables) for key in ("Error", "Cause"))
                raise Failure(str(error), str(cause))
            following, given = yield from self._state(definition, name, state, given, variables)
            self._note(f"{state['Type']}StateExited", "stateExited", name=name)
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
            yield self._pause(definition, state, seconds, variables), False
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
                    branches = [self._machine(branch, given, dict(variables)) for branch in state["Branches"]]
                    result = yield from self.time.side_by_side(branches)
                else:
                    asked = self._value(state.get("Arguments", {}), given, variables)
                    result = yield from self._within(state, self.call(name, state["Resource"], asked))
                    self._note("TaskSucceeded", "taskSucceeded", resource=state["Resource"])
                return state.get("Next"), self._leave(state, given, result, variables, result=result)
            except Failure as failure:
                if self.execution.status != "RUNNING":
                    raise
                kind, details = _FAILED.get(failure.error, ("TaskFailed", "taskFailed"))
                self._note(kind, details, name=name, error=failure.error, cause=failure.cause)
                if failure.seconds:
                    yield failure.seconds, False
                number, retry = _first(state.get("Retry", []), failure.error)
                tries = tried.get(number, 0)
                if retry is not None and tries < len(waits := retry_waits(retry)):
                    tried[number], pause = tries + 1, waits[tries]
                    self.transitions += 1
                    full = retry.get("JitterStrategy") == "FULL"
                    yield (self.time.jitter(pause) if full else pause) / self.time.scale, False
                    continue
                _, catch = _first(state.get("Catch", []), failure.error)
                if catch is None:
                    raise
                output = {"Error": failure.error} | ({} if failure.cause is None else {"Cause": failure.cause})
                return catch["Next"], self._leave(catch, given, output, variables, errorOutput=output)

    def _leave(self, state: State, given: Any, otherwise: Any, variables: dict[str, Any], **seen: Any) -> Any:
        """Assigns the variables and answers the output; both see the variables as they were."""
        output = self._value(state["Output"], given, variables, **seen) if "Output" in state else otherwise
        variables |= {
            name: self._value(value, given, variables, **seen) for name, value in state.get("Assign", {}).items()
        }
        return output

    def _pause(self, definition: State, state: State, seconds: float, variables: dict[str, Any]) -> float:
        """How long a Wait state lasts here."""
        return seconds / self.time.scale

    def _note(self, kind: str, details: str, **told: Any) -> None:
        self.execution.note(self.time.now, kind, details, **told)

    def _value(self, text: Any, given: Any, variables: Mapping[str, Any], **seen: Any) -> Any:
        """A field of the definition with its placeholders and expressions replaced."""
        if isinstance(text, dict):
            return {key: self._value(part, given, variables, **seen) for key, part in text.items()}
        if isinstance(text, list):
            return [self._value(part, given, variables, **seen) for part in text]
        if not isinstance(text, str):
            return text
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
            if (found := _RESULTS.get(key, _MISSING)) is _MISSING:
                if len(_RESULTS) > _MOST_RESULTS:
                    _RESULTS.clear()
                found = _RESULTS[key] = jsonata.evaluate(text, named)
            return copy.deepcopy(found) if isinstance(found, (dict, list)) else found
        except jsonata.ExpressionError as error:
            raise Failure("States.QueryEvaluationError", str(error)) from error

    def clock(self) -> datetime:
        """The time of this execution."""
        return self.time.now


def status_of(failure: Failure) -> str:
    """How an execution ends that a failure ends."""
    return "TIMED_OUT" if isinstance(failure, OutOfTime) else "FAILED"


def unsupported(definition: State) -> list[str]:
    """What a definition asks for that is not played here, in a sentence for each."""
    found = [] if definition.get("QueryLanguage") == "JSONata" else ["The rehearsal runs JSONata only"]
    for name, state in definition["States"].items():
        if state["Type"] not in _TYPES:
            found.append(f"The rehearsal runs no {state['Type']} state, which {name} is")
        for branch in state.get("Branches", []):
            found += unsupported({"QueryLanguage": "JSONata", **branch})
    return found


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
