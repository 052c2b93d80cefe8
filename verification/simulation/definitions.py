"""The state machines as their .asl.yaml files define them, and the numbers that other sources declare: nothing is typed twice."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any

from stacks import definitions
from stacks.configuration.functions import FUNCTIONS

Definition = dict[str, Any]
PROJECT = Path(__file__).resolve().parents[2]
MACHINES = ("fine_tuning", "tear_down")
# By name, read once. A control experiment replaces one for as long as it lasts.
_READ: dict[str, Definition] = {}


def machine(name: str) -> Definition:
    """The definition of `fine_tuning` or `tear_down`, anchors resolved and `${Placeholders}` left as they are."""
    if name not in _READ:
        _READ[name] = definitions.load_definition(PROJECT / "stacks" / f"{name}.asl.yaml")
    return _READ[name]


Edit = Callable[[Definition], None] | Mapping[str, Any]


def edited(name: str, edit: Edit) -> Callable[[], AbstractContextManager[None]]:
    """A copy of a definition that was edited, to take its place for a while. Raises ValueError when the edit changed nothing.

    `edit` changes the copy, or gives by its path what stands there then, such as `{"CreateModel.Next": "Done"}`.
    """

    @contextmanager
    def begun() -> Iterator[None]:
        before = machine(name)
        changed = copy.deepcopy(before)
        if callable(edit):
            edit(changed)
        else:
            for path, value in edit.items():
                *holders, last = path.split(".")
                reduce(getitem, holders, changed["States"])[last] = value
        if changed == before:
            raise ValueError(f"the edit changed nothing in {name}")
        _READ[name] = changed
        try:
            yield
        finally:
            _READ[name] = before

    return begun


def each_state(definition: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every state by name, also those in the branches of a Parallel."""
    for name, body in definition["States"].items():
        yield name, body
        for branch in body.get("Branches", []):
            yield from each_state(branch)


def task_states(name: str) -> dict[str, Mapping[str, Any]]:
    """The Task states of a machine, in the order in which they are written."""
    return {state: body for state, body in each_state(machine(name)) if body["Type"] == "Task"}


@cache
def functions() -> dict[str, tuple[int, int]]:
    """By module: memory in MB and time limit in seconds of each Lambda, as the stack declares them."""
    return {one.module: (one.memory, one.timeout) for one in FUNCTIONS.values()}
