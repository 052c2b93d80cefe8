"""Walks a state machine definition as Step Functions would: targets, reachability, expressions, variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from jsonata import Jsonata

Definition = dict[str, Any]
_VARIABLE = re.compile(r"\$([A-Za-z_]\w*)\b(?!\s*\()")


def machines(definition: Definition) -> Iterator[Definition]:
    """The definition itself and every one nested in its Parallel and Map states."""
    yield definition
    for state in definition["States"].values():
        for inner in [*state.get("Branches", []), *([state["ItemProcessor"]] if "ItemProcessor" in state else [])]:
            yield from machines(inner)


def targets(state: Definition) -> list[str]:
    """The states that may come next."""
    found = [state[key] for key in ("Next", "Default") if key in state]
    found += [choice["Next"] for choice in state.get("Choices", [])]
    return found + [catcher["Next"] for catcher in state.get("Catch", [])]


def problems(definition: Definition) -> list[str]:
    """Everything wrong with the graph of a definition."""
    found = []
    for machine in machines(definition):
        states = machine["States"]
        for name, state in states.items():
            found += [
                f"{name} goes on to {target}, which is not there" for target in targets(state) if target not in states
            ]
            ends = state["Type"] in ("Succeed", "Fail", "Choice") or state.get("End") is True
            if not ends and "Next" not in state:
                found.append(f"{name} leads nowhere")
        reached, waiting = set(), [machine["StartAt"]]
        while waiting:
            name = waiting.pop()
            if name in states and name not in reached:
                reached.add(name)
                waiting += targets(states[name])
        found += [f"{name} is never reached" for name in states if name not in reached]
    return found


def expressions(value: Any) -> Iterator[str]:
    """Every JSONata expression in a definition, without its delimiters."""
    if isinstance(value, dict):
        for part in value.values():
            yield from expressions(part)
    elif isinstance(value, list):
        for part in value:
            yield from expressions(part)
    elif isinstance(value, str) and value.startswith("{%"):
        yield value.removeprefix("{%").removesuffix("%}").strip()


def broken_expressions(definition: Definition) -> list[str]:
    """The expressions that do not parse, with the parser's complaint."""
    found = []
    for expression in expressions(definition):
        try:
            Jsonata(expression)
        except Exception as error:  # the parser raises classes of its own
            found.append(f"{expression}: {error}")
    return found


def unknown_variables(definition: Definition) -> set[str]:
    """Variables that an expression reads and no state assigns."""
    assigned, read = {"states"}, set()
    for machine in machines(definition):
        for state in machine["States"].values():
            for holder in [state, *state.get("Choices", []), *state.get("Catch", [])]:
                assigned |= set(holder.get("Assign", {}))
    for expression in expressions(definition):
        bare = re.sub(r"'[^']*'|/[^/ ]+/i?", "", expression)
        read |= set(_VARIABLE.findall(bare)) - set(re.findall(r"\$(\w+) *:=", bare))
    return read - assigned
