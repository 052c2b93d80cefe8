"""The state machines as their .asl.yaml files define them: the only place where their states, retries, waits and time-outs stand."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Definition = dict[str, Any]
_STACKS = Path(__file__).resolve().parents[3] / "stacks"
# By name, read once. A control replaces one for as long as it is checked.
_READ: dict[str, Definition] = {}


def machine(name: str) -> Definition:
    """The definition of `fine_tuning` or `tear_down`, anchors resolved and `${Placeholders}` left as they are."""
    if name not in _READ:
        read = yaml.safe_load((_STACKS / f"{name}.asl.yaml").read_text("utf-8"))
        if not isinstance(read, dict):
            raise ValueError(f"{name}.asl.yaml holds no state machine")
        _READ[name] = read
    return _READ[name]


def edited(name: str, edit: Callable[[Definition], None]) -> Callable[[], AbstractContextManager[None]]:
    """Another definition for a while: a copy that was edited, to be begun later."""

    @contextmanager
    def begun() -> Iterator[None]:
        before = machine(name)
        changed = copy.deepcopy(before)
        edit(changed)
        _READ[name] = changed
        try:
            yield
        finally:
            _READ[name] = before

    return begun


def arguments(definition: Definition, state: str) -> dict[str, Any]:
    """What a state passes on."""
    return dict(definition["States"][state]["Arguments"])


def longest_wait(retry: dict[str, Any]) -> float:
    """The seconds that all attempts of one retrier may wait, jitter at its longest."""
    total, pause = 0.0, float(retry.get("IntervalSeconds", 1))
    for _ in range(int(retry.get("MaxAttempts", 3))):
        total += min(pause, float(retry.get("MaxDelaySeconds", pause)))
        pause *= float(retry.get("BackoffRate", 2))
    return total


@cache
def constant(path: str, name: str) -> float:
    """A number that a source file of this repository declares, such as a lifecycle rule's days. Raises ValueError without it."""
    text = (_STACKS.parent / path).read_text("utf-8")
    found = re.search(rf"^\s*{name}(?:: \w+)? = ([0-9.]+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{path} declares no {name}")
    return float(found[1])


@cache
def functions() -> dict[str, tuple[int, int]]:
    """By module: memory in MB and time limit in seconds of each Lambda, as the stack declares them."""
    found: dict[str, tuple[int, int]] = {}
    for node in ast.walk(ast.parse((_STACKS / "functions.py").read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_function":
            given = {one.arg: one.value for one in node.keywords}
            name = str(ast.literal_eval(node.args[0])).lower()
            found[name] = _number(given["memory"]), _number(given["timeout"])
    return found


def _number(node: ast.expr) -> int:
    """A number as it stands there, or by the name that the same file gives it."""
    if isinstance(node, ast.Name):
        return int(constant("stacks/functions.py", node.id))
    return int(ast.literal_eval(node))
