"""The mutants of a state machine: each changes one place of its definition, as one wrong line in the .asl.yaml file would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from . import expressions

Definition = dict[str, Any]

# What Step Functions refuses to deploy without. Its absence is no mistake that could reach an account.
_REQUIRED = {
    "Type", "Resource", "StartAt", "States", "Next", "Default", "Choices", "Condition", "ErrorEquals", "Seconds", "Branches",
    "Arguments", "Comment",
}  # fmt: skip
# The likely mistakes where a service takes only some values. Elsewhere a text is made another text.
_OTHER_VALUES = {
    ("ActionAfterCompletion", "NONE"): "DELETE",
    ("Mode", "OFF"): "FLEXIBLE",
    ("Mode", "SingleModel"): "MultiModel",
    ("JitterStrategy", "FULL"): "NONE",
    ("ScheduleExpressionTimezone", "UTC"): "Europe/Berlin",
    ("TrainingInputMode", "File"): "Pipe",
    ("InputMode", "File"): "Pipe",
    ("S3DataDistributionType", "FullyReplicated"): "ShardedByS3Key",
    ("S3DataType", "S3Prefix"): "S3Object",
    ("CompressionType", "None"): "Gzip",
    ("CompressionType", "NONE"): "GZIP",
    ("QueryLanguage", "JSONata"): "JSONPath",
}
_VERBS = {"create": "describe", "describe": "delete", "delete": "describe", "update": "get", "publish": "subscribe"}
_ORDERED = ("Choices", "Retry", "Catch")


@dataclass(frozen=True)
class Mutant:
    """One changed place. `apply` changes the definition that the mutant was made from, in place."""

    name: str
    apply: Callable[[], None] = field(repr=False, compare=False)

    @property
    def state(self) -> str:
        """The state in which the place is, for tests that noticed its neighbours to be asked first."""
        return self.name.split(".")[0].split(" ")[0]


def mutants(machine: str, definition: Definition) -> list[Mutant]:
    """Every mutant of a definition. An anchor of the file is one place, however often it is referred to."""
    made, seen = [], Counter[str]()
    for name, apply in _Walk(definition).places(definition, ""):
        seen[name] += 1
        made.append(Mutant(f"{machine}: {name}" + (f" ({seen[name]})" if seen[name] > 1 else ""), apply))
    return made


class _Walk:
    def __init__(self, definition: Definition) -> None:
        self._visited: set[int] = set()
        self._machines: list[Definition] = []
        self._variables = {name for holder in _holders(definition) for name in holder.get("Assign", {})}
        self._placeholders = sorted(
            {text for text in _texts(definition) if text.startswith("${") and text.endswith("}")}
        )

    def places(self, node: Any, path: str) -> Iterator[tuple[str, Callable[[], None]]]:
        """The name of each change below a node, and the change."""
        if not isinstance(node, dict | list) or id(node) in self._visited:
            return
        self._visited.add(id(node))
        inner = isinstance(node, dict) and "States" in node
        if isinstance(node, dict):
            if inner:
                self._machines.append(node)
            for key, value in node.items():
                here = path if key == "States" else f"{path}.{key}" if path else str(key)
                if key not in _REQUIRED and not _is_state(value):
                    yield f"{here} dropped", _dropping(node, key)
                if key != "Comment":
                    yield from self._values(node, key, value, here)
                    yield from self.places(value, here)
        else:
            yield from self._list(node, path)
        if inner:
            self._machines.pop()

    def _list(self, node: list[Any], path: str) -> Iterator[tuple[str, Callable[[], None]]]:
        for index, value in enumerate(node):
            here = f"{path}[{index}]"
            if len(node) > 1:
                yield f"{here} dropped ({_short(value)})", _dropping(node, index)
                if index and path.rpartition(".")[2] in _ORDERED and _order_counts(node[index - 1], value):
                    yield f"{here} before [{index - 1}]", _swapping(node, index)
            yield from self._values(node, index, value, here)
            yield from self.places(value, here)

    def _values(self, node: Any, key: Any, value: Any, here: str) -> Iterator[tuple[str, Callable[[], None]]]:
        for words, other in self._others(here, key, value):
            yield f"{here}: {words}", _setting(node, key, other)

    def _others(self, here: str, key: Any, value: Any) -> Iterator[tuple[str, Any]]:
        others: list[Any] = []
        if isinstance(value, bool):
            others = [not value]
        elif isinstance(value, int | float):
            others = [value + 1, *([value - 1] if value > 0 else []), value * 10 or 10]
        elif not isinstance(value, str):
            return
        elif value.startswith("{%"):
            text = value.removeprefix("{%").removesuffix("%}").strip()
            for words, changed in expressions.mutations(text, self._variables, key == "Condition"):
                yield words, "{% " + changed + " %}"
            return
        elif key in ("Next", "Default", "StartAt"):
            others = self._other_targets(here, value)
        elif ".ErrorEquals[" in here:
            others = [{"States.ALL": "States.TaskFailed", "States.TaskFailed": "States.ALL"}.get(value, "Never.Heard")]
        elif key == "Resource":
            verb = next((verb for verb in _VERBS if f":{verb}" in value), None)
            others = [value.replace(f":{verb}", f":{_VERBS[verb]}")] if verb else []
        elif value in self._placeholders and len(self._placeholders) > 1:
            at = self._placeholders.index(value)
            others = [self._placeholders[(at + 1) % len(self._placeholders)]]
        elif key != "Type":
            others = [_other_text(key, value)]
        for other in others:
            yield f"{value} → {other}", other

    def _other_targets(self, here: str, target: str) -> list[str]:
        """The state itself, the one after the target, and the ends of the machine."""
        states = self._machines[-1]["States"]
        own = [name for name in states if f".{name}." in f".{here}"]
        beyond = states.get(target, {})
        found = [*own[-1:], *(beyond[key] for key in ("Next", "Default") if key in beyond)]
        found += [name for name, state in states.items() if state["Type"] in ("Succeed", "Fail")]
        return [name for name in dict.fromkeys(found) if name != target]


def _other_text(key: Any, value: str) -> str:
    if (key, value) in _OTHER_VALUES:
        return _OTHER_VALUES[key, value]
    if value in ("true", "false"):
        return "false" if value == "true" else "true"
    return str(int(value) + 1) if value.isdigit() else value + "X"


def _holders(node: Any) -> Iterator[Definition]:
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _holders(part)


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _texts(part)


def _order_counts(first: Definition, second: Definition) -> bool:
    """Whether two neighbours could take the same case: two rules for errors of other names never do."""
    named = [*first.get("ErrorEquals", ["States.ALL"]), *second.get("ErrorEquals", [])]
    return any(name in ("States.ALL", "States.TaskFailed") for name in named) or len(set(named)) < len(named)


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and "Type" in value and ("Comment" in value or "Next" in value or "Choices" in value)


def _short(value: Any) -> str:
    return str(value if not isinstance(value, dict) else next(iter(value.values())))[:60]


def _dropping(node: Any, key: Any) -> Callable[[], None]:
    return lambda: node.__delitem__(key)


def _setting(node: Any, key: Any, value: Any) -> Callable[[], None]:
    return lambda: node.__setitem__(key, value)


def _swapping(node: list[Any], index: int) -> Callable[[], None]:
    def swap() -> None:
        node[index - 1], node[index] = node[index], node[index - 1]

    return swap
