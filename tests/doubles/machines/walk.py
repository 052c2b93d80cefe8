"""Runs a state machine with scripted answers to its calls, in virtual time, with every wait at its longest."""

import copy
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

from rehearsal.step_functions.executions import Execution
from rehearsal.step_functions.integrations import complaints
from rehearsal.step_functions.interpreter import Failure, Interpreter, Steps, status_of
from stacks.definitions import as_text, placeholders
from verification.simulation.world import NOON, World

USUAL: Any = object()  # in a script: the usual answer
# Of a sandbox that died or took all its time: what it did was paid for, so it is tried once more only.
PAID_FOR = ["States.Timeout", "Sandbox.Timedout", "Runtime.ExitError", "Lambda.Unknown"]
# The pauses until the call of a service is given up, nine tenths of two minutes: the allowances count them as polling.
SERVICE_WAITS = [5, 12.5, 31.25, 60]


@dataclass(frozen=True)
class Call:
    """One call: the state, what it calls, with which arguments, and how many seconds after the start."""

    state: str
    operation: str
    arguments: Any
    second: float


class _LongestWaits(random.Random):
    def uniform(self, a: float, b: float) -> float:
        """The longest pause that jitter allows."""
        return b


class Walk:
    """One execution, which has run to its end once this is made.

    `scripts` holds by state the answers to its calls, the last one of them for ever: what AWS or the Lambda returns, a Failure, or
    USUAL. States that it does not name get their usual answer. A request that AWS's model of the service refuses fails, as in AWS.
    """

    def __init__(
        self,
        definition: Mapping[str, Any],
        usual: Mapping[str, Any],
        scripts: Mapping[str, Any],
        given: Any,
        **run: Any,
    ) -> None:
        if unknown := scripts.keys() - usual.keys():
            raise KeyError(f"{unknown} make no calls")
        self.calls: list[Call] = []
        self.status, self.error, self.cause = "SUCCEEDED", "", ""
        self.output: Any = None
        self._usual, self._world = usual, World(_LongestWaits(), NOON, cap_cents=0)
        scripts = {state: scripts.get(state, USUAL) for state in usual}
        self._scripts = {state: list(one) if isinstance(one, list) else [one] for state, one in scripts.items()}
        execution, context = Execution("one", "arn", NOON), {"Execution": run, "StateMachine": {"Id": "arn:machine"}}
        as_written = {name: f"${{{name}}}" for name in placeholders(as_text(definition))}
        steps = Interpreter(self._world, definition, context, self._call, execution, as_written).run(given)
        try:
            while True:
                self._world.now += timedelta(seconds=next(steps)[0])
        except StopIteration as done:
            self.output = done.value
        except Failure as failure:
            self.status = status_of(failure)
            self.error, self.cause = failure.error, failure.cause or ""
        self.states = execution.states()
        self.seconds = self._second()

    def asked(self, state: str) -> list[Any]:
        """The arguments of a state's calls, or what its Lambda was given, in their order."""
        return [call.arguments for call in self.calls if call.state == state]

    def pauses(self, state: str) -> list[float]:
        """The seconds between the calls of a state."""
        return [later - earlier for earlier, later in pairwise(c.second for c in self.calls if c.state == state)]

    def _second(self) -> float:
        return (self._world.now - NOON) / timedelta(seconds=1)

    def _call(self, state: str, resource: str, asked: Any) -> Steps[Any]:
        service, operation = resource.split(":")[-2:]
        by_lambda, asked = service == "lambda", copy.deepcopy(asked)
        what = asked["FunctionName"] if by_lambda else f"{service}:{operation}"
        self.calls.append(Call(state, what, asked["Payload"] if by_lambda else asked, self._second()))
        script = self._scripts[state]
        answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, Failure):
            raise answer
        if not by_lambda and (words := complaints(service, operation, asked)):
            raise Failure("States.Runtime", words)
        answer = copy.deepcopy(self._usual[state] if answer is USUAL else answer)
        return {"Payload": answer} if by_lambda else answer
        yield
