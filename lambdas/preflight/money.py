"""How much a run may take: prices, the worst case, and the clamp to what is left of the cap."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.clock import months_between, next_month_start
from common.costs import (
    TEAR_DOWN_ALLOWANCE_SECONDS,
    TRAINING_STOP_ALLOWANCE_SECONDS,
    WorstCase,
    small_items_cents,
    worst_case,
)
from common.errors import BudgetExceeded
from common.ledger import Ledger, dollars
from common.prices import Price, listed, pinned

# Below these a run cannot finish: download and load take ten minutes, the comparison as long again.
MINIMUM_TRAINING_SECONDS = 900
MINIMUM_DEADLINE_SECONDS = 1200
# Time that bills nothing but moves the tear-down: waiting for capacity (three attempts), polling, Lambdas.
UNBILLED_ALLOWANCE_SECONDS = 9000


@dataclass(frozen=True)
class Allowance:
    """The time and money a run is given."""

    training_seconds: int
    deadline_seconds: int
    keep_seconds: int
    worst: WorstCase
    months: tuple[str, ...]
    tear_down_at: datetime
    clamped: bool


def find_price(pricing: Any, region: str, instance_type: str, use: str) -> Price:
    """The listed price, or the pinned one when the Price List cannot be reached or lacks it. Raises PriceUnknown."""
    try:
        price = listed(pricing, region, instance_type, use)
    except (ClientError, BotoCoreError):
        price = None
    return price or pinned(region, instance_type, use)


def allow(
    ledger: Ledger,
    cap_cents: int,
    training: Price,
    hosting: Price,
    wanted_training_seconds: int,
    wanted_deadline_seconds: int,
    keep_seconds: int,
    now: datetime,
) -> Allowance:
    """Clamps a run to what is left of the cap: first its training time, then the endpoint's deadline.

    Raises BudgetExceeded with the amount that is missing and the date when the next month's cap opens.
    """
    longest = (
        wanted_training_seconds
        + wanted_deadline_seconds
        + keep_seconds
        + TEAR_DOWN_ALLOWANCE_SECONDS
        + UNBILLED_ALLOWANCE_SECONDS
    )
    months = tuple(months_between(now, now + timedelta(seconds=longest)))
    left = cap_cents - max(ledger.committed_cents(month) for month in months)
    fixed_endpoint_seconds = keep_seconds + TEAR_DOWN_ALLOWANCE_SECONDS

    def cost(training_seconds: int, deadline_seconds: int) -> WorstCase:
        return worst_case(
            training,
            hosting,
            training_seconds + TRAINING_STOP_ALLOWANCE_SECONDS,
            deadline_seconds + fixed_endpoint_seconds,
        )

    least = cost(MINIMUM_TRAINING_SECONDS, MINIMUM_DEADLINE_SECONDS)
    if least.cents > left:
        raise BudgetExceeded(
            f"{dollars(max(0, left))} of the {dollars(cap_cents)} cap is left in {' and '.join(months)}, and the shortest useful run may cost "
            f"{dollars(least.cents)}: {dollars(least.cents - left)} is missing. Wait for a run in flight to be settled, raise budget_usd in cdk.json and "
            f"deploy, or start again on {next_month_start(now).date().isoformat()}."
        )
    training_seconds, deadline_seconds = wanted_training_seconds, wanted_deadline_seconds
    if cost(training_seconds, deadline_seconds).cents > left:
        for_training = left - small_items_cents() - hosting.cents(deadline_seconds + fixed_endpoint_seconds)
        training_seconds = min(
            wanted_training_seconds,
            max(MINIMUM_TRAINING_SECONDS, training.seconds(for_training) - TRAINING_STOP_ALLOWANCE_SECONDS),
        )
    if cost(training_seconds, deadline_seconds).cents > left:
        for_endpoint = left - small_items_cents() - training.cents(training_seconds + TRAINING_STOP_ALLOWANCE_SECONDS)
        deadline_seconds = max(MINIMUM_DEADLINE_SECONDS, hosting.seconds(for_endpoint) - fixed_endpoint_seconds)
    worst = cost(training_seconds, deadline_seconds)
    return Allowance(
        training_seconds=training_seconds,
        deadline_seconds=deadline_seconds,
        keep_seconds=keep_seconds,
        worst=worst,
        months=months,
        tear_down_at=now + timedelta(seconds=training_seconds + deadline_seconds + UNBILLED_ALLOWANCE_SECONDS),
        clamped=(training_seconds, deadline_seconds) != (wanted_training_seconds, wanted_deadline_seconds),
    )
