"""Whether a change is whole, and whether it is clear: on which side of zero it lies beyond chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from report.formatting import SIGNIFICANCE


def side_of_zero(change: Mapping[str, float], p_value: float) -> int:
    """-1 or 1 where the interval lies wholly below or above zero and the test's p is below 0.05, else 0: both must hold."""
    if not p_value < SIGNIFICANCE:
        return 0
    return -1 if change["high"] < 0 else 1 if change["low"] > 0 else 0


def finite(value: object) -> bool:
    """Whether this is a number that can be judged."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def complete(change: Mapping[str, Any] | None) -> dict[str, float] | None:
    """The estimate, standard error, low and high, if all four are finite numbers in the right order."""
    keys = ("estimate", "standard_error", "low", "high")
    if not change or not all(finite(change.get(key)) for key in keys):
        return None
    values = {key: float(change[key]) for key in keys}
    return values if values["low"] <= values["high"] else None
