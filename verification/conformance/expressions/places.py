"""Where the JSONata expressions of a state machine stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Place:
    """One expression in a definition. `text` is without its {% %}, `path` leads to it from its state."""

    machine: str
    state: str
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.machine}, {self.state}, {self.path}: {self.text}"


def expression_of(value: object) -> str | None:
    """Return the expression in a string of a definition, None where the string is none."""
    if isinstance(value, str) and value.startswith("{%") and value.endswith("%}"):
        return value[2:-2].strip()
    return None


def places(machine: str, definition: Mapping[str, Any]) -> list[Place]:
    """Return every expression of a definition, each with the innermost state that it stands in."""
    return list(_in_states(machine, definition))


def _in_states(machine: str, part: Mapping[str, Any]) -> Iterator[Place]:
    for state, body in part["States"].items():
        yield from _in_value(machine, state, "", body)


def _in_value(machine: str, state: str, path: str, value: object) -> Iterator[Place]:
    if isinstance(value, Mapping):
        if "States" in value and "StartAt" in value:  # a branch of a Parallel, or what a Map does to each item
            yield from _in_states(machine, value)
            return
        for key, item in value.items():
            yield from _in_value(machine, state, f"{path}.{key}" if path else str(key), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _in_value(machine, state, f"{path}[{index}]", item)
    else:
        text = expression_of(value)
        if text is not None:
            yield Place(machine, state, path, text)


def assigned(definition: Mapping[str, Any]) -> set[str]:
    """Return the names of the workflow variables that some state of a definition assigns."""
    found: set[str] = set()

    def look(value: object) -> None:
        if isinstance(value, Mapping):
            if isinstance(value.get("Assign"), Mapping):
                found.update(value["Assign"])
            for item in value.values():
                look(item)
        elif isinstance(value, list):
            for item in value:
                look(item)

    look(definition)
    return found
