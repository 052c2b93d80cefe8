"""The lives of a run's endpoints: what AWS bills them for. An endpoint leaves no trace at SageMaker, so what a look saw is kept.

It travels with the passes of a tear-down, and lies in the run's ledger item as JSON. Neither depends on the other: both are put together.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypedDict

from common.clock import from_iso

# `createdAt` is by SageMaker's clock, `noneAt` and `goneAt` are by a Lambda's: how far the two may differ.
CLOCKS_APART = timedelta(minutes=1)


class Life(TypedDict, total=False):
    """One endpoint: `goneAt` once a look lists it no more; `instanceType` empty where there are several."""

    name: str
    createdAt: str
    goneAt: str
    instanceType: str
    instanceCount: int


class Seen(TypedDict, total=False):
    """What was seen of a run's endpoints; empty where nobody has looked. Moments are ISO 8601 in UTC, of whole seconds.

    `noneAt` is the first moment at which none was listed: one that was requested before and that nobody saw had gone by then.
    """

    lives: list[Life]
    noneAt: str


def of_item(item: Mapping[str, Any]) -> Seen:
    """What a run's ledger item holds."""
    seen: Seen = json.loads(item.get("endpoint_seen") or "{}")
    return seen


def has_unbooked(item: Mapping[str, Any]) -> bool:
    """Whether the item of a settled run holds an endpoint that was created after its last settlement."""
    last = max(item["settled_at"], item.get("settled_again_at", ""))
    return any(life["createdAt"] > last for life in of_item(item).get("lives", []))


def attribute(seen: Seen) -> dict[str, str]:
    """The attribute of a ledger item that holds it; none where nothing was seen."""
    return {"endpoint_seen": json.dumps(seen, sort_keys=True)} if seen else {}


def together(one: Seen, other: Seen) -> Seen:
    """What two have seen. Of one life the first end that was seen counts, the most instances, and no type where two were.

    An end that only one of them saw may be later than a look of the other at which none was listed: it had gone by then.
    """
    lives: dict[tuple[str, str], Life] = {}
    for life in (*one.get("lives", []), *other.get("lives", [])):
        before = lives.setdefault((life["name"], life["createdAt"]), life)
        both: Life = {**before, **life}
        if "goneAt" in before:
            both["goneAt"] = min(before["goneAt"], both["goneAt"])
        if "instanceCount" in before:
            both["instanceCount"] = max(before["instanceCount"], both["instanceCount"])
        if before.get("instanceType", both.get("instanceType")) != both.get("instanceType"):
            both["instanceType"] = ""
        lives[life["name"], life["createdAt"]] = both
    seen: Seen = {}
    if lives:
        seen["lives"] = [lives[key] for key in sorted(lives)]
    if none := [each["noneAt"] for each in (one, other) if "noneAt" in each]:
        seen["noneAt"] = min(none)
        for life in seen.get("lives", []):
            was_there = from_iso(life["createdAt"]) + CLOCKS_APART < from_iso(seen["noneAt"])
            if was_there and seen["noneAt"] < life.get("goneAt", ""):
                life["goneAt"] = seen["noneAt"]
    return seen
