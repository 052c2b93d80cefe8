"""Checks a request against botocore's own model of the service, as strictly as AWS does.

botocore checks required members, types and lower limits before it sends; patterns, enumerations and upper limits are left to
the service. Step Functions sends whatever the state machine says. So all of it is checked here.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator

from .errors import invalid

_lock = threading.Lock()
# Java's character classes, inside square brackets, in Python's words. Near enough: \w has the underscore too.
_JAVA_CLASSES = {
    r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s", r"\p{M}": "\u0300-\u036f", r"\p{Alnum}": "A-Za-z0-9",
    r"\p{S}": r"$+<=>^`|~", r"\p{P}": r"!-/:-@\[-`{-~",
}  # fmt: skip


def service_model(service: str) -> ServiceModel:
    """Return botocore's model of a service, for example "sagemaker"; read once."""
    with _lock:
        return _service_model(service)


@lru_cache
def _service_model(service: str) -> ServiceModel:
    model: ServiceModel = botocore.session.get_session().get_service_model(service)
    return model


@lru_cache(maxsize=512)
def _pattern(text: str) -> re.Pattern[str]:
    for java, python in _JAVA_CLASSES.items():
        text = text.replace(java, python)
    try:
        return re.compile(text)
    except re.error:  # a handful of patterns use Java's surrogate ranges; none is in a request of ours
        return re.compile(".*", re.DOTALL)


class _Violations:
    """Collects what is wrong with a request: botocore reports its own findings here, in its own words."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def report(self, name: str, reason: str, **details: Any) -> None:
        """Add one, worded as SageMaker words it."""
        where = name.lstrip(".")
        if reason == "unknown field":
            self.found.append(f"Unknown parameter '{details['unknown_param']}' at '{where}'")
            return
        if reason == "missing required field":
            where, reason = f"{where}.{details['required_name']}".lstrip("."), "Member must not be null"
        elif "min_allowed" in details:
            reason = f"{reason}: Member must have at least {details['min_allowed']}"
        value = details.get("param")
        shown = "null" if value is None else f"'{value}'"
        self.found.append(f"Value {shown} at '{where}' failed to satisfy constraint: {reason}")


class _AsTheService(ParamValidator):
    """botocore's checks, and those that it leaves to the service."""

    def _shape_has_constraints(self, shape: Any) -> bool:
        return True  # so that botocore looks at each element of a list

    def _validate(self, params: Any, shape: Any, errors: Any, name: str) -> None:
        if isinstance(params, Mapping):  # a member that is null counts as left out
            params = {key: value for key, value in params.items() if value is not None}
        super()._validate(params, shape, errors, name)
        most = shape.metadata.get("max")
        sized = isinstance(params, (str, list, dict))
        measured = len(params) if sized else params if isinstance(params, (int, float)) else None
        if most is not None and measured is not None and measured > most:
            errors.report(name, f"Member must have {'length' if sized else 'value'} at most {most}", param=params)
        if shape.type_name == "string" and isinstance(params, str):
            allowed, pattern = getattr(shape, "enum", None), shape.metadata.get("pattern")
            if allowed and params not in allowed:
                errors.report(name, f"Member must satisfy enum value set: [{', '.join(allowed)}]", param=params)
            elif pattern and not _pattern(pattern).fullmatch(params):
                errors.report(name, f"Member must satisfy regular expression pattern: {pattern}", param=params)


def violations(shape: Shape, value: Any) -> list[str]:
    """Return one sentence for each way in which `value` breaks the shape; nothing when it fits."""
    errors = _Violations()
    _AsTheService()._validate(value, shape, errors, "")
    return errors.found


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
