"""The synthesized templates, held against the resource schemas that CloudFormation publishes and cfn-lint ships.

An emulator deploys a property that it does not know; CloudFormation refuses the stack.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cfnlint.api import ManualArgs, lint

from verification.conformance.contract import Contract


def check(assembly: Path, region: str) -> Contract:
    """Hold every resource of every template of a cloud assembly against the schemas of a region."""
    problems, resources, properties, kinds = list[str](), 0, 0, set[str]()
    for path in sorted(assembly.glob("*.template.json")):
        text = path.read_text(encoding="utf-8")
        for resource in json.loads(text).get("Resources", {}).values():
            resources, properties = resources + 1, properties + _count(resource.get("Properties", {}))
            kinds.add(resource["Type"])
        problems += [
            f"{path.name}: {'.'.join(map(str, match.path))}: {match.message}"
            for match in lint(text, config=ManualArgs(regions=[region]))
            if match.rule.id.startswith("E")
        ]
    return Contract(
        "templates",
        resources,
        f"CloudFormation's resource schemas (cfn-lint {version('cfn-lint')})",
        tuple(problems),
        f"{properties} properties of {len(kinds)} types",
    )


def _count(value: Any) -> int:
    """The properties in a value, those of its objects and lists included."""
    if isinstance(value, Mapping):
        return sum(1 + _count(item) for item in value.values())
    if isinstance(value, list):
        return sum(_count(item) for item in value)
    return 0
