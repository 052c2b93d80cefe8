"""Faults that are planted on purpose, each into a synthesized project, to see that a check notices it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MACHINE = "AWS::StepFunctions::StateMachine"
_UNKNOWN_PROPERTY, _RIGHT = "Colour", "s3:PutObject"
_ROUTE = '"route=/v1/completions"'
_ADAPTER = r"\"name\":\"${Domain}\""  # as it stands in the JSON of a definition


@dataclass(frozen=True)
class Plant:
    """A fault: which part of the checks has to notice it, what it is, and what puts it into a cloud assembly (a folder)."""

    part: str
    description: str
    into: Callable[[Path], None]


def _templates(assembly: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(assembly.glob("*.template.json")):
        yield path, json.loads(path.read_text(encoding="utf-8"))


def _replace_in_machines(assembly: Path, old: str, new: str) -> None:
    """Replaces the first occurrence in the largest definition, which is that of FineTuning."""
    found = [
        (len(resource["Properties"]["DefinitionString"]), path, name)
        for path, template in _templates(assembly)
        for name, resource in template.get("Resources", {}).items()
        if resource["Type"] == MACHINE and old in resource["Properties"]["DefinitionString"]
    ]
    if not found:
        raise ValueError(f"no state machine holds {old}: this fault has to be planted elsewhere")
    _, path, name = max(found)
    template = json.loads(path.read_text(encoding="utf-8"))
    properties = template["Resources"][name]["Properties"]
    properties["DefinitionString"] = properties["DefinitionString"].replace(old, new, 1)
    path.write_text(json.dumps(template), encoding="utf-8")


def _add_property(assembly: Path) -> None:
    """To a resource that an emulator deploys, so that it has its chance to notice."""
    for path, template in _templates(assembly):
        for resource in template.get("Resources", {}).values():
            if resource["Type"] == "AWS::DynamoDB::Table":
                resource["Properties"][_UNKNOWN_PROPERTY] = "blue"
                path.write_text(json.dumps(template), encoding="utf-8")
                return
    raise ValueError("no template has a table: this fault has to be planted elsewhere")


def _take_route(assembly: Path) -> None:
    """Out of the Ask code that is deployed."""
    for path in assembly.glob("asset.*/ask/questions.py"):
        text = path.read_text(encoding="utf-8")
        if _ROUTE in text:
            path.write_text(text.replace(_ROUTE, '"nowhere"'), encoding="utf-8")
            return
    raise ValueError(f"no asset's ask/questions.py holds {_ROUTE}: this fault has to be planted elsewhere")


def _rename_adapter(assembly: Path) -> None:
    """In the environment of every container that serves it."""
    for path, template in _templates(assembly):
        for resource in template.get("Resources", {}).values():
            text = str(resource.get("Properties", {}).get("DefinitionString", ""))
            if resource["Type"] == MACHINE and _ADAPTER in text:
                resource["Properties"]["DefinitionString"] = text.replace(
                    _ADAPTER, _ADAPTER.replace("${Domain}", "another")
                )
                path.write_text(json.dumps(template), encoding="utf-8")
                return
    raise ValueError("no state machine names an adapter: this fault has to be planted elsewhere")


def _take_right(assembly: Path) -> None:
    """From every role of the runs: nobody may write an object any more."""
    for path, template in _templates(assembly):
        if any(resource["Type"] == MACHINE for resource in template.get("Resources", {}).values()):
            text = json.dumps(template)
            if _RIGHT in text:
                path.write_text(text.replace(_RIGHT, "s3:GetObjectTagging"), encoding="utf-8")
                return
    raise ValueError(f"no role of the runs may {_RIGHT}: this fault has to be planted elsewhere")


PLANTS = {
    "expression": Plant(
        "expressions",
        "a state machine calls $exist( in place of $exists(",
        lambda assembly: _replace_in_machines(assembly, "$exists(", "$exist("),
    ),
    "field": Plant(
        "expressions",
        "a state machine reads FailureReson in place of FailureReason",
        lambda assembly: _replace_in_machines(assembly, ".FailureReason", ".FailureReson"),
    ),
    "property": Plant(
        "deploy",
        f"the ledger's table has the property {_UNKNOWN_PROPERTY}, which CloudFormation does not know",
        _add_property,
    ),
    "route": Plant("serving", "the deployed Ask code does not route its requests", _take_route),
    "adapter": Plant("serving", "the container's environment names another adapter", _rename_adapter),
    "right": Plant("deploy", f"no function of the runs has the right {_RIGHT}", _take_right),
}
