"""The .asl.yaml files, the only place where the states of a machine are written, as data and as text. Needs no CDK."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9]+)\}")


def load_definition(path: Path) -> dict[str, Any]:
    """The Amazon States Language definition in a YAML file, anchors resolved."""
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(definition, dict):
        raise ValueError(f"{path.name} holds no state machine")
    return definition


def as_text(definition: Mapping[str, Any]) -> str:
    """A definition as Step Functions gets it."""
    return json.dumps(definition, separators=(",", ":"), ensure_ascii=False)


def definition_text(path: Path) -> str:
    """The definition in a YAML file as Step Functions gets it."""
    return as_text(load_definition(path))


def placeholders(text: str) -> set[str]:
    """The ${Names} that a definition expects from DefinitionSubstitutions."""
    return set(_PLACEHOLDER.findall(text))
