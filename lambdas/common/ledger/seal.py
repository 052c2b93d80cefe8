"""The seal of a ledger item: a digest over all its other attributes. An item whose seal fits is as the ledger wrote it.

The seal keeps no secret: it finds what a person, a script or a half-done restore has changed.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# An attribute as DynamoDB holds it, such as {"N": "587"}; a map or a list holds further ones.
Raw = Mapping[str, Any]
RawItem = Mapping[str, Raw]
# An item as the code uses it: whole numbers and texts.
Item = dict[str, Any]

SEAL = "seal"


def sealed(item: Mapping[str, Any]) -> dict[str, Raw]:
    """An item as it is written: typed, with its seal."""
    raw = typed(item)
    return {**raw, SEAL: {"S": _digest(raw)}}


def opened(raw: RawItem) -> Item | None:
    """The item behind an unbroken seal; None where the seal is missing or does not fit, or a value is neither a whole number nor a text."""
    content = {name: value for name, value in raw.items() if name != SEAL}
    if raw.get(SEAL) != {"S": _digest(content)}:
        return None
    try:
        return {name: int(value["N"]) if "N" in value else value["S"] for name, value in content.items()}
    except (KeyError, ValueError):
        return None


def typed(values: Mapping[str, Any]) -> dict[str, Raw]:
    """Values as DynamoDB takes them. The ledger holds whole numbers and texts, and nothing else."""
    return {name: {"N": str(value)} if isinstance(value, int) else {"S": str(value)} for name, value in values.items()}


def _digest(content: RawItem) -> str:
    """The digest of the canonical form: JSON with sorted names. What JSON does not know is written as Python shows it."""
    text = json.dumps(content, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
