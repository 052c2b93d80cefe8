"""Every JSONata expression of both state machines, evaluated by this project and by the reference implementation.

The contexts are recorded in runs of the deployed definitions; see evaluations.py. A misspelt name is an error in both implementations
alike, or no error at all inside of $exists(): comparing results would not show it, so names are checked by themselves.
"""

import contextlib
import copy
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rehearsal import jsonata
from verification.conformance.contracts import Contract, Setting
from verification.conformance.expressions.evaluations import Evaluation, Recorder, ask_reference, opened, reference

_SHOWN_LETTERS = 160
# What the context of AWS has and moto's lacks: how often an execution was redriven.
_REDRIVE_COUNT = "RedriveCount"
_OF_STATES = ("input", "result", "errorOutput", "context")  # what Step Functions puts into $states
_RANDOM = {"uuid", "random"}  # every evaluation gives another result, so that none can be compared

Definitions = Mapping[str, Mapping[str, Any]]  # the state machines by name


class Place(NamedTuple):
    """One expression in a definition: the innermost state that it stands in, and its text without {% %}."""

    machine: str
    state: str
    text: str

    def __str__(self) -> str:
        return f"{self.machine}, {self.state}: {self.text}"


def run(setting: Setting) -> list[Contract]:
    """Record, compare and report.

    Raises:
        CannotRun: the reference cannot be installed here.
    """
    begin = time.monotonic()
    with opened(setting.assembly) as (definitions, scenarios), Recorder() as recorder:
        names = of_names(definitions)
        if names.problems:  # runs would show the same again, and slowly
            return [names]
        setting.say(f"expressions: {len(scenarios)} runs in the simulated account")
        for play in scenarios.values():
            play()
    figures = f"{len(scenarios)} runs in {time.monotonic() - begin:.0f} s"
    return [names, of_results(definitions, recorder.evaluations, figures)]


def of_names(definitions: Definitions) -> Contract:
    """Check that every function and variable exists that the expressions of the state machines name."""
    found = {machine: places(machine, body) for machine, body in definitions.items()}
    readings = _read(place.text for of_machine in found.values() for place in of_machine)
    problems = [
        f"{place} {problem}"
        for machine, of_machine in found.items()
        for place in of_machine
        for problem in _undefined(readings[place.text], {*assigned(definitions[machine]), "states"})
    ]
    count, figures = sum(map(len, found.values())), f"{len(readings)} different expressions"
    return Contract("functions and variables of expressions", count, f"the parser of {reference()}", problems, figures)


def of_results(definitions: Definitions, evaluations: Sequence[Evaluation], figures: str = "") -> Contract:
    """Compare the recorded results with the reference's, and check that every expression was evaluated; `figures` are printed too."""
    everywhere = [place for machine, body in definitions.items() for place in places(machine, body)]
    redriven = _redriven(evaluations)
    compared = [*evaluations, *redriven]
    reached = {one.text for one in evaluations}
    problems = [
        *_disagreements(compared),
        *_never_present(compared),
        *_without_value(compared),
        *(f"no recorded run came to {place}" for place in dict.fromkeys(everywhere) if place.text not in reached),
    ]
    counted = (
        f"{len(everywhere)} expressions ({len({place.text for place in everywhere})} different); "
        f"{sum('error' in one.result for one in compared)} errors, {len(redriven)} of a redrive; {figures}"
    )
    return Contract("results of expressions", len(compared), reference(), problems, counted)


def places(machine: str, definition: Mapping[str, Any]) -> list[Place]:
    """Return every expression of a definition."""

    def look(value: Any, state: str) -> Iterator[Place]:
        # A machine, a branch, or a Map's states.
        if isinstance(value, Mapping) and {"StartAt", "States"} <= value.keys():
            for name, body in value["States"].items():
                yield from look(body, name)
        elif isinstance(value, (Mapping, list)):
            for item in value.values() if isinstance(value, Mapping) else value:
                yield from look(item, state)
        elif isinstance(value, str) and value.startswith("{%") and value.endswith("%}"):
            yield Place(machine, state, value[2:-2].strip())

    return list(look(definition, ""))


def assigned(definition: Any) -> set[str]:
    """Return the names of the workflow variables that some state of a definition assigns."""
    if isinstance(definition, list):
        return set().union(*map(assigned, definition))
    if not isinstance(definition, Mapping):
        return set()
    return set(definition.get("Assign", ())).union(*map(assigned, definition.values()))


def _read(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What the reference's parser finds in each expression."""
    different = list(dict.fromkeys(texts))
    answers = ask_reference({"do": "read", "text": text} for text in different)
    return dict(zip(different, answers, strict=True))


def _undefined(reading: Mapping[str, Any], defined: set[str]) -> list[str]:
    """What is wrong with the names in an expression, of whose variables these are defined."""
    if "error" in reading:
        return [f"cannot be parsed: {reading['error']}"]
    random = [name for name in reading["functions"] if name in _RANDOM]
    missing = [name for name in reading["variables"] if name not in defined]
    members = [path[1] for path in reading["paths"] if path[0] == "states" and len(path) > 1]
    return [
        *(f"calls ${name}, but there is no such function" for name in reading["unknownFunctions"]),
        *(f"calls ${name}, whose result cannot be compared: take it out, or make the recorder fix its result" for name in random),
        *(f"reads ${name}, which no state assigns" for name in missing),
        *(f"reads $states.{name}, but $states has {', '.join(_OF_STATES)} only" for name in members if name not in _OF_STATES),
    ]  # fmt: skip


def _never_present(evaluations: Sequence[Evaluation]) -> list[str]:
    """A sentence for each field that an expression reads and that none of its recorded contexts has."""
    contexts: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        contexts.setdefault(evaluation.text, []).append(evaluation)
    readings = _read(contexts)
    return [
        f"{text} reads ${'.'.join(path)}, which none of its {len(of_text)} contexts has"
        for text, of_text in contexts.items()
        for path in readings[text].get("paths", [])
        if not any(_has(one.variables, path) for one in of_text)
    ]


def _has(value: Any, path: Sequence[str]) -> bool:
    if not path:
        return True
    if isinstance(value, list):  # JSONata looks into every item
        return any(_has(item, path) for item in value)
    return isinstance(value, Mapping) and path[0] in value and _has(value[path[0]], path[1:])


def _disagreements(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """Both have to give the same JSON value, or both an error, whatever its words."""
    answers = ask_reference(
        {"do": "evaluate", "text": one.text, "variables": one.variables, "milliseconds": one.milliseconds}
        for one in evaluations
    )
    for one, answer in zip(evaluations, answers, strict=True):
        if _canonical(one.result) != _canonical(answer):
            shown = [json.dumps(result, ensure_ascii=False)[:_SHOWN_LETTERS] for result in (one.result, answer)]
            yield f"{one.text} gives {shown[0]} in the rehearsal, {shown[1]} in the reference"


def _canonical(result: Mapping[str, Any]) -> str:
    """A value as JavaScript knows it: every number is a double, true is no 1, and the order of keys says nothing."""
    if "error" in result:
        return "error"
    return json.dumps(json.loads(json.dumps(result["value"]), parse_int=float), sort_keys=True)


def _redriven(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Each expression that reads the number of redrives, evaluated after none and after one."""
    reading = {one.text: one for one in evaluations if _REDRIVE_COUNT in one.text}
    with Recorder() as recorder:
        for text, one in reading.items():
            for count in (0, 1):
                variables = copy.deepcopy(dict(one.variables))
                variables["states"]["context"]["Execution"][_REDRIVE_COUNT] = count
                with contextlib.suppress(jsonata.ExpressionError):
                    jsonata.evaluate(text, variables)
    return recorder.evaluations


def _without_value(evaluations: Sequence[Evaluation]) -> list[str]:
    """An expression that is an error in every context agrees with anything."""
    with_value = {one.text for one in evaluations if "value" in one.result}
    failing = {one.text: one.result["error"] for one in evaluations if one.text not in with_value}
    return [f"{text} is an error in all its contexts, for example {error}" for text, error in failing.items()]
