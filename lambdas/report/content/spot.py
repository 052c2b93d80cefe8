"""What spot instances brought a run and cost it: interruptions, steps made again, and what was saved against on-demand prices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from report.formatting import money, plural
from report.summary_types import Spot, Summary, known


def facts(told: Mapping[str, Any], instances: Any, hourly_cents: float | None) -> Spot:
    """What SageMaker told of a job on spot, in the form of the summary. What it did not tell, which FineTuning hands on as 0, is left open.

    Its own measure of what was saved is the time in training less the time that was billed.
    """
    seconds, billed = (told.get(name) or None for name in ("trainingSeconds", "billedSeconds"))
    saved = None
    if seconds and billed and hourly_cents is not None:
        saved = round(max(0, seconds - billed) * int(instances or 1) * hourly_cents / 3600)
    return {
        "interruptions": told.get("interruptions"),
        "training_seconds": seconds,
        "billed_seconds": billed,
        "saved_cents": saved,
    }


def sentence(summary: Summary) -> str | None:
    """Such as `2 interruptions, at least 14 steps made again, $0.41 saved against on-demand`; None for a run that was not on spot."""
    spot = known(summary.get("configuration")).get("spot")
    if not spot:
        return None
    parts = []
    if spot.get("interruptions") is not None:
        parts.append(plural(spot["interruptions"], "interruption"))
    again = known(summary.get("training")).get("steps_again")
    if again is not None:
        # What was made after the last note before an instance went, nobody knows.
        parts.append(f"{'at least ' if again else ''}{plural(again, 'step')} made again")
    if spot.get("saved_cents") is not None:
        parts.append(f"{money(spot['saved_cents'])} saved against on-demand")
    return ", ".join(parts) or "nothing is known of its interruptions"
