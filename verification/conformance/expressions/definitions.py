"""Where the JSONata expressions of a state machine stand, and whether every name in them exists.

A misspelt name is an error in both implementations alike, or no error at all inside of $exists(): comparing results would
not show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from verification.conformance.expressions.evaluations import Evaluation

_STATES = "states"
_OF_STATES = ("input", "result", "errorOutput", "context")  # what Step Functions puts into $states
_RANDOM = {"uuid", "random"}  # every evaluation gives another result, so that none can be compared


class Place(NamedTuple):
    """One expression in a definition: the innermost state that it stands in, and its text without {% %}."""

    machine: str
    state: str
    text: str

    def __str__(self) -> str:
        return f"{self.machine}, {self.state}: {self.text}"


def places(machine: str, definition: Mapping[str, Any]) -> list[Place]:
    """Return every expression of a definition."""

    def look(value: Any, state: str) -> Iterator[Place]:
        if (
            isinstance(value, Mapping) and {"StartAt", "States"} <= value.keys()
        ):  # a machine, a branch, or a Map's states
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


def undefined(found: Sequence[Place], readings: Mapping[str, Mapping[str, Any]], variables: Iterable[str]) -> list[str]:
    """Return a sentence for each function and variable that a machine's expressions name and nothing defines.

    Args:
        found: the expressions of one machine.
        readings: what the reference's parser found in each expression, by text.
        variables: the workflow variables that the machine assigns.
    """
    problems, defined = list[str](), {*variables, _STATES}
    for place in found:
        reading = readings[place.text]
        if "error" in reading:
            problems.append(f"{place} cannot be parsed: {reading['error']}")
            continue
        problems += [f"{place} calls ${name}, but there is no such function" for name in reading["unknownFunctions"]]
        problems += [
            f"{place} calls ${name}, whose result cannot be compared: take it out, or make the recorder fix its result"
            for name in reading["functions"]
            if name in _RANDOM
        ]
        problems += [
            f"{place} reads ${name}, which no state assigns" for name in reading["variables"] if name not in defined
        ]
        problems += [
            f"{place} reads $states.{path[1]}, but $states has {', '.join(_OF_STATES)} only"
            for path in reading["paths"]
            if path[0] == _STATES and len(path) > 1 and path[1] not in _OF_STATES
        ]
    return problems


def never_present(evaluations: Sequence[Evaluation], readings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each field that an expression reads and that none of its recorded contexts has."""
    contexts: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        contexts.setdefault(evaluation.text, []).append(evaluation)
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
