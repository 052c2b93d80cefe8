"""The runs in which expressions are recorded, all in the simulated account: its table of failures, its stories, and some more.

The failures follow from the definitions, so that a new state has its runs without further work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

from rehearsal.account.assembly import Assembly
from rehearsal.step_functions import expressions
from verification.simulation import definitions, material, rows, runs, stories
from verification.simulation.account import Call, Fault, calm
from verification.simulation.failures import MANY
from verification.simulation.interpreter import Failure, Interpreter
from verification.simulation.lambdas import installed
from verification.simulation.parameters import RunParameters

Scenarios = Mapping[str, Callable[[], object]]
_CALM: Mapping[str, Any] = {"jobs": ("completed",), "endpoints": ("in service",)}
# What becomes of the jobs and endpoints of a run, beyond what the table and the stories tell.
_RUNS: Mapping[str, Mapping[str, Any]] = {
    "no instance for training at first": {"jobs": ("capacity", "completed")},
    "no instance for training": {"jobs": ("capacity",)},
    "no spot instance for training": {"jobs": ("capacity",), "spot": True},
    "training waits for an instance in vain": {"jobs": ("waits",)},
    "training fails": {"jobs": ("failed",)},
    "training runs out of time": {"jobs": ("hangs",)},
    "no instance for the endpoint": {"endpoints": ("capacity",)},
    "the endpoint fails": {"endpoints": ("failed",)},
}


@contextmanager
def opened(assembly: Path) -> Iterator[tuple[Mapping[str, Any], Scenarios]]:
    """Put the definitions of a cloud assembly into the simulated account, and give them and each run by their names."""
    deployed = dict(_definitions(assembly))
    with patch.dict(definitions._READ, deployed), patch.object(Interpreter, "_evaluate", _evaluate):
        yield deployed, _scenarios()


def _definitions(assembly: Path) -> Iterator[tuple[str, Any]]:
    """Each state machine of the assembly by the simulation's name, which is that of the machine that begins alike."""
    names = {definitions.machine(name)["StartAt"]: name for name in definitions.MACHINES}
    for stack in Assembly(assembly).stacks():
        for resource in stack.template["Resources"].values():
            if resource["Type"] == "AWS::StepFunctions::StateMachine":
                definition = json.loads(resource["Properties"]["DefinitionString"])
                yield names[definition["StartAt"]], definition


def _evaluate(interpreter: Interpreter, text: str, known: Mapping[str, Any]) -> Any:
    """Evaluates every expression, without the shortcuts by which a thousand simulated months save time."""
    expressions.clock[0] = lambda: interpreter.world.now
    try:
        return expressions.evaluate(text, known)
    except expressions.ExpressionError as error:
        raise Failure("States.QueryEvaluationError", str(error)) from error


def _scenarios() -> Scenarios:
    caught = {
        f"{state}: {error}": partial(_fail, machine, state, error)
        for machine in definitions.MACHINES
        for state, body in definitions.task_states(machine).items()
        for rule in body.get("Catch", [])
        for error in rule["ErrorEquals"]
        if error != "States.ALL"
    }
    return {
        **{name: partial(rows.play, row) for name, row in rows.table().items()},
        **stories.STORIES,
        **{name: partial(_run, RunParameters(**{**_CALM, **given})) for name, given in _RUNS.items()},
        "a TearDown without a run": _tear_down_alone,
        **caught,
    }


def _run(given: RunParameters, faults: Mapping[tuple[str, str], Fault] = MappingProxyType({})) -> None:
    account = calm(whole=True)
    account.faults.update(faults)
    with installed():
        runs.start(account, "one", given, **material.INPUT)
        account.world.run()


def _tear_down_alone() -> None:
    account = calm(whole=True)
    account.tear_down({})
    with installed():
        account.world.run()


def _fail(machine: str, state: str, error: str) -> None:
    """A run in which the calls of a state fail with an error that a Catch names."""
    calls = count(1)

    def fail(call: Call) -> Any:
        if next(calls) <= MANY:  # whoever waits for its end goes on then
            raise Failure(error, "AWS refused the call.")
        return call.perform()

    _run(rows.parameters(state), {(machine, state): fail})
