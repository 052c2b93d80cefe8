"""Every evaluation of an expression: recorded in runs of the simulated account, and made by the reference implementation.

with opened(assembly) as (definitions, scenarios), Recorder() as recorder:
    …play the scenarios…
recorder.evaluations

The runs are those of the table of failures, and some more. The failures follow from the definitions, so that a new
state has its runs without further work. The reference is npm jsonata, at the version that AWS documents, in one Node process.
"""

import json
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from rehearsal import jsonata
from rehearsal.programs import StepFailed, beside_python, locked_version, node_packages
from rehearsal.step_functions.interpreter import Failure, Interpreter
from stacks.assembly import Assembly
from verification.simulation import definitions, material, rows, runs
from verification.simulation.account import calm
from verification.simulation.failures import MANY
from verification.simulation.faults import Fault
from verification.simulation.lambdas import installed
from verification.simulation.parameters import RunParameters

_HERE = Path(__file__).parent
_PATIENCE_SECONDS = 300


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: the variables by name (`states` among them), the time of $millis, and what the expression gave.

    That is {"value": …}, or {"error": …} where AWS has States.QueryEvaluationError, as the reference answers.
    """

    text: str
    variables: Mapping[str, Any] = field(repr=False)
    milliseconds: int
    result: Mapping[str, Any]


class Recorder:
    """Records each different evaluation once while it is in a with-statement.

    It stands in the place of `rehearsal.jsonata.evaluate`, which every interpreter calls by its module.
    """

    def __init__(self) -> None:
        self.evaluations: list[Evaluation] = []
        self._known: set[tuple[str, str]] = set()
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> Self:
        self._evaluate = jsonata.evaluate
        jsonata.evaluate = self._record
        return self

    def __exit__(self, *_: object) -> None:
        jsonata.evaluate = self._evaluate

    def _record(self, text: str, variables: Mapping[str, Any], clock: jsonata.Clock = jsonata.MACHINE_CLOCK) -> Any:
        # As text: the interpreter may change these values later.
        given = json.dumps(variables, default=str)
        with self._one_at_a_time:
            if (text, given) in self._known:
                return self._evaluate(text, variables, clock)
            self._known.add((text, given))
            # The clock stands still during the evaluation, so that the reference can be given the same moment.
            moment = clock()
            made = partial(Evaluation, text, json.loads(given), int(moment.timestamp() * 1000))
            try:
                value = self._evaluate(text, variables, lambda: moment)
            except jsonata.ExpressionError as error:
                self.evaluations.append(made({"error": str(error)}))
                raise
            self.evaluations.append(made({"value": json.loads(json.dumps(value))}))
        return value


def reference() -> str:
    """The reference implementation with its pinned version."""
    return f"npm jsonata {locked_version(_HERE, 'jsonata')}"


def ask_reference(requests: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the answers to requests as reference.cjs describes them, in their order.

    Raises:
        CannotRun: Node or the package is missing and cannot be installed.
        StepFailed: the process ended before it had answered, or took more than five minutes.
    """
    packages = node_packages(_HERE, "conformance-jsonata")
    lines = [json.dumps(request, ensure_ascii=True) for request in requests]
    command = [str(beside_python("node")), str(_HERE / "reference.cjs"), str(packages)]
    text = "".join(f"{line}\n" for line in lines)
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise StepFailed(f"the reference did not answer within {_PATIENCE_SECONDS} s") from None
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or len(answers) != len(lines):
        raise StepFailed(
            f"the reference answered {len(answers)} of {len(lines)} requests. {done.stderr.strip()[-500:]}"
        )
    return answers


Scenarios = Mapping[str, Callable[[], object]]
_CALM: Mapping[str, Any] = {"jobs": ("completed",), "endpoints": ("in service",)}
# What becomes of the jobs and endpoints of a run, beyond what the table tells.
_RUNS: Mapping[str, Mapping[str, Any]] = {
    "no instance for training at first": {"jobs": ("capacity", "completed")},
    "no instance for training": {"jobs": ("capacity",)},
    "no spot instance for training": {"jobs": ("capacity",), "spot": True},
    "training waits for an instance in vain": {"jobs": ("waits",)},
    "training fails": {"jobs": ("failed",)},
    "training runs out of time": {"jobs": ("hangs",)},
    "training finds no base model": {"jobs": ("no weights",)},
    "the endpoint is still created at its deadline": {"endpoints": ("slow",)},
    "no instance for the endpoint": {"endpoints": ("capacity",)},
    "the endpoint fails": {"endpoints": ("failed",)},
    "a spot job is interrupted and resumed": {"jobs": ("interrupted",), "spot": True},
    "a spot job never gets its instance back": {"jobs": ("taken",), "spot": True},
    "the second of two types is free": {
        "instance_types": ("ml.g5.2xlarge", "ml.g6.2xlarge"),
        "jobs": ("last",),
        "endpoints": ("last",),
    },
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
    try:
        return jsonata.evaluate(text, known, interpreter.clock)
    except jsonata.ExpressionError as error:
        raise Failure("States.QueryEvaluationError", str(error)) from error


def _scenarios() -> Scenarios:
    caught = {
        f"{state}: {error}": partial(_fail, state, error)
        for machine in definitions.MACHINES
        for state, body in definitions.task_states(machine).items()
        for rule in body.get("Catch", [])
        for error in rule["ErrorEquals"]
        if error != "States.ALL"
    }
    return {
        **{name: partial(rows.play, row) for name, row in rows.table().items()},
        **{name: partial(_run, RunParameters(**{**_CALM, **given})) for name, given in _RUNS.items()},
        "a TearDown without a run": _tear_down_alone,
        **caught,
    }


def _run(given: RunParameters, *faults: Fault) -> None:
    account = calm(whole=True)
    account.world.faults.extend(faults)
    with installed():
        runs.start(account, "one", given, **material.INPUT)
        account.world.run()


def _tear_down_alone() -> None:
    account = calm(whole=True)
    account.tear_down({})
    with installed():
        account.world.run()


def _fail(state: str, error: str) -> None:
    """A run in which the calls of a state fail with an error that a Catch names."""

    def fail(*call: Any) -> Any:
        raise Failure(error, "AWS rejected the call.")

    _run(rows.parameters(state), Fault(place=state, times=MANY, act=fail))  # whoever waits for its end goes on then
