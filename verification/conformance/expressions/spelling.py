"""What an expression names, as the reference's own parser reads it: functions, variables and fields that must exist.

A misspelt name is an error in both implementations alike, or no error at all inside of $exists(): agreement would not
show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from verification.conformance.expressions.places import Place
from verification.conformance.expressions.recorder import Evaluation

STATES = "states"
_OF_STATES = ("input", "result", "errorOutput", "context")  # what Step Functions puts into $states
# Without a value that could be compared: every evaluation draws another.
_DRAWN = {"uuid", "random"}


def undefined(
    places: Sequence[Place], readings: Mapping[str, Mapping[str, Any]], variables: Iterable[str]
) -> list[str]:
    """Return a sentence for each function and variable that a machine's expressions name and nobody defines.

    Args:
        places: the expressions of one machine.
        readings: the reference's reading by text.
        variables: the workflow variables that the machine assigns.
    """
    problems, defined = [], {*variables, STATES}
    for place in places:
        reading = readings[place.text]
        if "error" in reading:
            problems.append(f"{place} cannot be parsed: {reading['error']}")
            continue
        problems += [f"{place} calls ${name}, which no such function is" for name in reading["unknownFunctions"]]
        problems += [
            f"{place} calls ${name}, whose result cannot be compared: take it out, or give it to both in recorder.py"
            for name in reading["functions"]
            if name in _DRAWN
        ]
        problems += [
            f"{place} reads ${name}, which no state assigns" for name in reading["variables"] if name not in defined
        ]
        problems += [
            f"{place} reads $states.{path[1]}, but $states has {', '.join(_OF_STATES)} only"
            for path in reading["paths"]
            if path[0] == STATES and len(path) > 1 and path[1] not in _OF_STATES
        ]
    return problems


def never_there(evaluations: Sequence[Evaluation], readings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each field that an expression reads and that not one of its contexts had."""
    contexts: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        contexts.setdefault(evaluation.text, []).append(evaluation)
    return [
        f"{text} reads ${'.'.join(path)}, which none of its {len(met)} contexts has"
        for text, met in contexts.items()
        for path in readings.get(text, {}).get("paths", [])
        if not any(_has(one.variables, path) for one in met)
    ]


def _has(value: Any, path: Sequence[str]) -> bool:
    if not path:
        return True
    if isinstance(value, list):  # JSONata looks into every item
        return any(_has(item, path) for item in value)
    return isinstance(value, Mapping) and path[0] in value and _has(value[path[0]], path[1:])
