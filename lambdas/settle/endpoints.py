"""How long a run's endpoint was there, from all that saw it: the ledger's notes and the passes of this tear-down.

An endpoint leaves no trace at SageMaker once it is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from common.clock import from_iso
from common.contracts.tear_down import Seen
from common.ledger.rows import EndpointLifetime, RunItem, endpoint_lifetime


@dataclass(frozen=True)
class Stay:
    """An endpoint from its creation to its end, at most. `instance_type` is empty where nobody knows it."""

    start: datetime
    end: datetime
    instance_type: str = ""
    instance_count: int = 1


def stay(
    item: RunItem, seen: Seen | None, requested_at: datetime | None, until: datetime, now: datetime
) -> Stay | None:
    """The endpoint of a run, or None where it had none.

    `requested_at` is when the run first asked for one, `until` when it was first settled. One that no tear-down saw (refused, or
    deleted by hand) is counted from its request until then, however long that was: nobody knows when it went.
    """
    life = _merged(item, seen)
    if life is None:
        return Stay(requested_at, _open_end(requested_at, until, now)) if requested_at else None
    # Whole seconds are written, so the second in which it was seen to be gone counts.
    end = life.gone_at + timedelta(seconds=1) if life.gone_at else _open_end(life.created_at, until, now)
    return Stay(life.created_at, end, life.instance_type, life.instance_count or 1)


def _merged(item: RunItem, seen: Seen | None) -> EndpointLifetime | None:
    """What the ledger holds and what this tear-down saw, together: the earliest creation, the latest end, the most instances."""
    noted = endpoint_lifetime(item)
    if not seen or "createdAt" not in seen:
        return noted
    gone = seen.get("goneAt")
    saw = EndpointLifetime(
        from_iso(seen["createdAt"]),
        from_iso(gone) if gone else None,
        seen.get("instanceType") or "",
        seen.get("instanceCount") or 0,
    )
    if noted is None:
        return saw
    ends = [end for end in (noted.gone_at, saw.gone_at) if end is not None]
    return replace(
        saw,
        created_at=min(noted.created_at, saw.created_at),
        # It may have come back after an earlier tear-down had seen it go.
        gone_at=max(ends) if ends else None,
        instance_type=saw.instance_type or noted.instance_type,
        instance_count=max(noted.instance_count, saw.instance_count),
    )


def _open_end(start: datetime, until: datetime, now: datetime) -> datetime:
    """The end of what nobody saw end: when the run was first settled, so that a second settlement comes to the same."""
    return until if start <= until else now
