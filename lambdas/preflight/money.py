"""How much a run may take: prices, the worst case, and the clamp to what is left of the cap."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.clock import months_between, start_after
from common.errors import BudgetExceeded, PriceUnknown
from common.ledger.ledger import Ledger, damage_note, dollars, way_out
from common.pricing.costs import CHECKPOINT_MINUTES, HIGHEST_LORA_RANK, RunCost, checkpoint_cents, worst_case
from common.pricing.durations import (
    MINIMUM_DEADLINE_SECONDS,
    MINIMUM_TRAINING_SECONDS,
    RESERVE_ALLOWANCE_SECONDS,
    SPOT_START_MINUTES,
    TEAR_DOWN_ALLOWANCE_SECONDS,
    TRAINING_START_ALLOWANCE_SECONDS,
    TRAINING_STOP_ALLOWANCE_SECONDS,
    UNBILLED_ALLOWANCE_SECONDS,
)
from common.pricing.prices import Price, dearest, listed, pinned


@dataclass(frozen=True)
class Allowance:
    """The time and money a run is given. After `reserve_by` it may last beyond the months that its worst case is set aside in."""

    training_seconds: int
    deadline_seconds: int
    keep_seconds: int
    worst: RunCost
    months: tuple[str, ...]
    reserve_by: datetime
    tear_down_at: datetime
    clamped: bool


def find_price(pricing: Any, region: str, instance_type: str, use: str) -> Price:
    """The dearer of listed and pinned price, or the only one: too little must not be reserved. Raises PriceUnknown."""
    try:
        price = listed(pricing, region, instance_type, use)
    except (ClientError, BotoCoreError):
        price = None
    try:
        known = pinned(region, instance_type, use)
    except PriceUnknown:
        if price is None:
            raise
        return price
    return dearest([price, known]) if price else known


def allow(
    ledger: Ledger,
    cap_cents: int,
    training: Price,
    hosting: Price,
    wanted_training_seconds: int,
    wanted_deadline_seconds: int,
    keep_seconds: int,
    now: datetime,
    lora_rank: int = HIGHEST_LORA_RANK,
    checkpoint_minutes: int = CHECKPOINT_MINUTES,
    spot_wait_seconds: int = 0,
    answers: int = 0,
) -> Allowance:
    """Clamps a run to what is left of `cap_cents`, which is what the cap leaves for runs: first its training time, then the endpoint's
    deadline.

    `training` and `hosting` are the dearest prices that the run may meet. A run that serves an earlier adapter wants 0 training
    seconds and is given none. `spot_wait_seconds` are what a spot job may last beyond its training time, `answers` the cents of its
    answers. Raises BudgetExceeded with the amount that is missing and the date when the next month's cap opens.
    """
    # The endpoint's own deadline can begin as late as the tear-down of the whole run is due, so it counts twice.
    longest = (
        wanted_training_seconds
        + UNBILLED_ALLOWANCE_SECONDS
        + 2 * (wanted_deadline_seconds + TEAR_DOWN_ALLOWANCE_SECONDS)
        + keep_seconds
    )
    months = tuple(months_between(now, now + timedelta(seconds=longest + RESERVE_ALLOWANCE_SECONDS)))
    committed = {month: ledger.committed_cents(month, cap_cents) for month in months}
    left = cap_cents - max(committed.values())
    rounding = len(months) - 1
    fixed_endpoint_seconds = keep_seconds + TEAR_DOWN_ALLOWANCE_SECONDS
    least_training_seconds = min(MINIMUM_TRAINING_SECONDS, wanted_training_seconds)
    # What AWS may bill of a job beside its MaxRuntimeInSeconds. Every start of a spot job lies within its MaxWaitTimeInSeconds.
    starts = max(TRAINING_START_ALLOWANCE_SECONDS, spot_wait_seconds)
    beside_seconds = starts + TRAINING_STOP_ALLOWANCE_SECONDS if wanted_training_seconds else 0
    if spot_wait_seconds:
        checkpoint_minutes = min(checkpoint_minutes, SPOT_START_MINUTES)
    # Of the training that is wanted: a clamped one writes no more.
    checkpoints = checkpoint_cents(
        wanted_training_seconds and wanted_training_seconds + beside_seconds, lora_rank, checkpoint_minutes
    )

    def cost(training_seconds: int, deadline_seconds: int) -> RunCost:
        return worst_case(
            training,
            hosting,
            training_seconds + beside_seconds,
            deadline_seconds + fixed_endpoint_seconds,
            len(months),
            checkpoints + answers,
        )

    least = cost(least_training_seconds, MINIMUM_DEADLINE_SECONDS)
    if least.cents > left:
        raise BudgetExceeded(
            f"{dollars(max(0, left))} of the cap's {dollars(cap_cents)} for runs is left in {' and '.join(months)}, and the shortest useful run may cost "
            f"{dollars(least.cents)}: {dollars(least.cents - left)} is missing. {way_out(least.cents, cap_cents, committed)}"
            f"{damage_note(ledger.damaged(months))}"
        )
    training_seconds, deadline_seconds = wanted_training_seconds, wanted_deadline_seconds
    missing = cost(training_seconds, deadline_seconds).cents - left
    if missing > 0:
        affordable = training.seconds(cost(training_seconds, deadline_seconds).training_cents - missing - rounding)
        training_seconds = max(least_training_seconds, affordable - beside_seconds)
        missing = cost(training_seconds, deadline_seconds).cents - left
    if missing > 0:
        affordable = hosting.seconds(cost(training_seconds, deadline_seconds).endpoint_cents - missing - rounding)
        deadline_seconds = max(MINIMUM_DEADLINE_SECONDS, affordable - fixed_endpoint_seconds)
    worst = cost(training_seconds, deadline_seconds)
    return Allowance(
        training_seconds=training_seconds,
        deadline_seconds=deadline_seconds,
        keep_seconds=keep_seconds,
        worst=worst,
        months=months,
        reserve_by=start_after(months[-1]) - timedelta(seconds=longest),
        tear_down_at=now + timedelta(seconds=training_seconds + deadline_seconds + UNBILLED_ALLOWANCE_SECONDS),
        clamped=(training_seconds, deadline_seconds) != (wanted_training_seconds, wanted_deadline_seconds),
    )
