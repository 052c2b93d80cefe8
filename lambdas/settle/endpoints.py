"""How long each endpoint of a run was there, from all that saw it: the ledger's notes and the passes of this tear-down.

An endpoint leaves no trace at SageMaker once it is gone, and each attempt has one of its own that bills by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from common.clock import from_iso
from common.contracts.tear_down import Seen
from common.ledger.rows import EndpointLifetime, RunItem, endpoint_lifetimes


@dataclass(frozen=True)
class Stay:
    """One endpoint from its creation to its end, at most. `attempt` and `instance_type` are empty where nobody knows them."""

    attempt: int | None
    start: datetime
    end: datetime
    instance_type: str = ""
    instance_count: int = 1

    @property
    def name(self) -> str:
        """Which endpoint of its run it is, for a person."""
        return f"attempt {self.attempt}" if self.attempt else "an attempt that nobody saw"


def stays(
    item: RunItem, seen: Seen | None, requested_at: datetime | None, until: datetime, now: datetime
) -> list[Stay]:
    """Every endpoint of a run, in the order of creation.

    `requested_at` is when the run first asked for one, `until` when it was first settled. One that no tear-down saw (refused, or
    deleted by hand) is counted from its request until then, however long that was: nobody knows when it went.
    """
    lives = _merged(item, seen or {})
    if not lives:
        if requested_at is None:
            return []
        return [Stay(None, requested_at, _open_end(requested_at, until, now))]
    found = []
    for attempt, life in sorted(lives.items(), key=lambda pair: pair[1].created_at):
        # Whole seconds are written, so the second in which it was seen to be gone counts.
        end = life.gone_at + timedelta(seconds=1) if life.gone_at else _open_end(life.created_at, until, now)
        # AWS does not say that an attempt that failed billed nothing while it was Creating. It had failed, though, when the next
        # one was requested, whenever it was deleted and whoever saw that it was gone.
        following = [other.created_at for other in lives.values() if other.created_at > life.created_at]
        if life.failed and following:
            end = min(end, *following)
        found.append(Stay(attempt, life.created_at, end, life.instance_type, life.instance_count or 1))
    return found


def _merged(item: RunItem, seen: Seen) -> dict[int, EndpointLifetime]:
    """What the ledger holds and what this tear-down saw, together: the earliest creation, the latest end, the most instances."""
    lives = endpoint_lifetimes(item)
    for key, told in seen.items():
        attempt, gone = int(key), told.get("goneAt")
        noted = lives.get(attempt)
        life = EndpointLifetime(
            from_iso(told["createdAt"]),
            from_iso(gone) if gone else None,
            str(told.get("instanceType") or ""),
            int(told.get("instanceCount") or 0),
            # Creating and Deleting do not override a recorded failure; without a record it counts as an endpoint that worked.
            told.get("failed", noted is not None),
        )
        lives[attempt] = life if noted is None else _together(noted, life)
    return lives


def _together(noted: EndpointLifetime, saw: EndpointLifetime) -> EndpointLifetime:
    ends = [end for end in (noted.gone_at, saw.gone_at) if end is not None]
    return replace(
        saw,
        created_at=min(noted.created_at, saw.created_at),
        # It may have come back after an earlier tear-down had seen it go.
        gone_at=max(ends) if ends else None,
        instance_type=saw.instance_type or noted.instance_type,
        instance_count=max(noted.instance_count, saw.instance_count),
        failed=noted.failed and saw.failed,
    )


def _open_end(start: datetime, until: datetime, now: datetime) -> datetime:
    """The end of what nobody saw end: when the run was first settled, so that a second settlement comes to the same."""
    return until if start <= until else now
