"""What runs of each kind may cost at most, by the code that reserves it, for the README: `make costs`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from common.durations import MINIMUM_DEADLINE_SECONDS, MINIMUM_TRAINING_SECONDS
from common.ledger import Ledger, dollars
from common.prices import pinned
from preflight import money
from stacks.settings import Settings

# Noon of a day in the middle of a month, and the last evening of one.
_MIDDLE, _LAST = datetime(2026, 11, 10, 12, tzinfo=UTC), datetime(2026, 11, 30, 20, tzinfo=UTC)


class _Untouched:
    """A ledger in which nothing is committed."""

    def committed_cents(self, month: str) -> int:
        """Nothing."""
        return 0


def table() -> str:
    """The worst case of each kind of run with the default settings, as a table in Markdown."""
    settings = Settings()
    training, deadline = settings.max_training_seconds, settings.endpoint_deadline_minutes * 60
    usual, at_the_end = _worst(training, deadline), _worst(training, deadline, _LAST)
    least = _worst(MINIMUM_TRAINING_SECONDS, MINIMUM_DEADLINE_SECONDS)
    rows = [
        (
            "a run with the default settings",
            f"{dollars(usual.worst.cents)} ({dollars(at_the_end.worst.cents)} across a month's end)",
            f"{_time(usual.worst.training_seconds)} of training with its time to stop, {_time(usual.worst.endpoint_seconds)} of endpoint "
            f"with its time to be removed, {dollars(usual.worst.other_cents)} for everything else",
        ),
        (
            "the same with an earlier run's adapter, `{\"adapterUri\": …}`",
            dollars(_worst(0, deadline).worst.cents),
            "no training",
        ),
        (
            'a smoke run, `{"smoke": true}`, and the least that must be left of the cap for any run that trains',
            dollars(least.worst.cents),
            f"{_time(least.worst.training_seconds)} of training, {_time(least.worst.endpoint_seconds)} of endpoint",
        ),
    ]
    lines = ["| | at most | reserved for |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    price = pinned(settings.region, settings.training_instance_type[0], "Training")
    return "\n".join([*lines, "", f"At ${price.hourly_usd} an hour ({price.instance_type}, {settings.region}, {price.source})."])


def _worst(training_seconds: int, deadline_seconds: int, moment: datetime = _MIDDLE) -> money.Allowance:
    settings = Settings()
    price = pinned(settings.region, settings.training_instance_type[0], "Training")
    ledger = cast(Ledger, cast(Any, _Untouched()))
    return money.allow(ledger, settings.cap_cents, price, price, training_seconds, deadline_seconds, 0, moment)


def _time(seconds: int) -> str:
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
