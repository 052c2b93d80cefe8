"""What the alarms of stacks/watching/alarms.py look at: figures that only somebody who looks at everything can give."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from common.clock import from_iso
from common.ledger.rows import RunRow


def gauges(endpoints_since: Iterable[datetime], rows: Iterable[RunRow], now: datetime) -> dict[str, int]:
    """The age in seconds of the oldest endpoint and of the oldest open reservation, and how many items cannot be read.

    Each is 0 where there is none, so that an alarm ends. A damaged item without a readable date has no age: it is counted as
    damaged, which has an alarm of its own.
    """
    rows = list(rows)
    reserved = [from_iso(row.item["reserved_at"]) for row in rows if row.is_open and "reserved_at" in row.item]
    return {
        "OldestEndpointSeconds": _oldest(endpoints_since, now),
        "OldestReservationSeconds": _oldest(reserved, now),
        "DamagedLedgerItems": sum(1 for row in rows if row.is_damaged),
    }


def _oldest(since: Iterable[datetime], now: datetime) -> int:
    return max((int((now - moment).total_seconds()) for moment in since), default=0)
