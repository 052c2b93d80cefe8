"""Checks a request against botocore's own model of the service, as strictly as AWS does.

botocore itself checks required members and types before it sends; patterns, enumerations and upper limits
are left to the service. Step Functions sends whatever the state machine says. So all of it is checked here.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel, Shape

from rehearsal.sagemaker.clock import from_wire

from .errors import invalid

_lock = threading.Lock()
_TYPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "structure": ("an object", lambda value: isinstance(value, Mapping)),
    "map": ("an object", lambda value: isinstance(value, Mapping)),
    "list": ("a list", lambda value: isinstance(value, list)),
    "string": ("a string", lambda value: isinstance(value, str)),
    "boolean": ("a boolean", lambda value: isinstance(value, bool)),
    "integer": ("an integer", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "long": ("an integer", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "float": ("a number", lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)),
    "double": ("a number", lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)),
}
# Java's character classes, inside square brackets, in Python's words. Near enough: \w has the underscore too.
_JAVA_CLASSES = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": r"\s",
    r"\p{M}": "\u0300-\u036f",
    r"\p{Alnum}": "A-Za-z0-9",
    r"\p{S}": r"$+<=>^`|~",
    r"\p{P}": r"!-/:-@\[-`{-~",
}


def service_model(service: str) -> ServiceModel:
    """Return botocore's model of a service, for example "sagemaker"; read once."""
    with _lock:
        return _service_model(service)


@lru_cache
def _service_model(service: str) -> ServiceModel:
    model: ServiceModel = botocore.session.get_session().get_service_model(service)
    return model


@lru_cache(maxsize=512)
def _pattern(text: str) -> re.Pattern[str] | None:
    for java, python in _JAVA_CLASSES.items():
        text = text.replace(java, python)
    try:
        return re.compile(text)
    except re.error:  # a handful of patterns use Java's surrogate ranges; none is in a request of ours
        return None


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def _shown(value: Any) -> str:
    return "null" if value is None else f"'{value}'"


class _Walk:
    def __init__(self) -> None:
        self.violations: list[str] = []

    def refuse(self, value: Any, path: str, constraint: str) -> None:
        self.violations.append(
            f"Value {_shown(value)} at '{path}' failed to satisfy constraint: Member must {constraint}"
        )

    def visit(self, shape: Shape, value: Any, path: str) -> None:
        kind = shape.type_name
        if kind in _TYPES and not _TYPES[kind][1](value):
            self.refuse(value, path, f"be {_TYPES[kind][0]}")
            return
        getattr(self, f"_{kind}", self._number)(shape, value, path)

    def _structure(self, shape: Any, value: Mapping[str, Any], path: str) -> None:
        for name in shape.required_members:
            if value.get(name) is None:
                self.refuse(None, f"{path}{_camel(name)}", "not be null")
        for name, member in value.items():
            if name not in shape.members:
                self.violations.append(f"Unknown parameter '{name}' at '{path}{_camel(name)}'")
            elif member is not None:
                inner = shape.members[name]
                dotted = "." if inner.type_name == "structure" else ""
                self.visit(inner, member, f"{path}{_camel(name)}{dotted}")

    def _list(self, shape: Any, value: list[Any], path: str) -> None:
        self._length(shape, value, path)
        dotted = "." if shape.member.type_name == "structure" else ""
        for number, member in enumerate(value, start=1):
            self.visit(shape.member, member, f"{path}.{number}.member{dotted}")

    def _map(self, shape: Any, value: Mapping[str, Any], path: str) -> None:
        self._length(shape, value, path)
        for key, member in value.items():
            self.visit(shape.key, key, f"{path}.{key}.key")
            self.visit(shape.value, member, f"{path}.{key}.member")

    def _string(self, shape: Any, value: str, path: str) -> None:
        if getattr(shape, "enum", None) and value not in shape.enum:
            self.refuse(value, path, f"satisfy enum value set: [{', '.join(shape.enum)}]")
            return
        self._length(shape, value, path)
        text = shape.metadata.get("pattern")
        pattern = _pattern(text) if text else None
        if pattern is not None and not pattern.fullmatch(value):
            self.refuse(value, path, f"satisfy regular expression pattern: {text}")

    def _boolean(self, shape: Any, value: bool, path: str) -> None:
        pass

    def _timestamp(self, shape: Any, value: Any, path: str) -> None:
        try:
            from_wire(value)
        except (ValueError, OverflowError):
            self.refuse(value, path, "be a timestamp")

    def _blob(self, shape: Any, value: Any, path: str) -> None:
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError, TypeError):
            self.refuse(value, path, "be Base64")

    def _number(self, shape: Any, value: Any, path: str) -> None:
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and value < low:
            self.refuse(value, path, f"have value greater than or equal to {low}")
        if high is not None and value > high:
            self.refuse(value, path, f"have value less than or equal to {high}")

    def _length(self, shape: Any, value: Any, path: str) -> None:
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and len(value) < low:
            self.refuse(value, path, f"have length greater than or equal to {low}")
        if high is not None and len(value) > high:
            self.refuse(value, path, f"have length less than or equal to {high}")


def violations(shape: Shape, value: Any) -> list[str]:
    """Return one sentence for each way in which `value` breaks the shape; nothing when it fits."""
    walk = _Walk()
    walk.visit(shape, value, "")
    return walk.violations


def check_request(service: str, operation: str, request: Any) -> None:
    """Check one request.

    Raises:
        ServiceError: ValidationException worded as AWS words it, with every violation.
    """
    shape = service_model(service).operation_model(operation).input_shape
    found = violations(shape, request) if shape is not None else []
    if found:
        noun = "error" if len(found) == 1 else "errors"
        raise invalid(f"{len(found)} validation {noun} detected: {'; '.join(found)}")
