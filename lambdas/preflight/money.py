"""How much a run may take: prices, the worst case, and the clamp to what is left of the cap."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.clock import months_between, start_after
from common.errors import BudgetExceeded, PriceUnknown
from common.ledger.ledger import Ledger, damage_note, dollars, way_out
from common.pricing.costs import RunCost, checkpoint_cents, worst_case
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


@dataclass(frozen=True)
class Wanted:
    """A run as it would be where the cap pays for it, at the dearest prices that it may meet: `training` is of all its instances.

    A run that serves an earlier adapter wants 0 training seconds. `spot_wait_seconds` are what a spot job may last beyond its
    training time, and `answers_cents` what its answers cost.
    """

    training: Price
    hosting: Price
    training_seconds: int
    deadline_seconds: int
    lora_rank: int
    checkpoint_minutes: int
    keep_seconds: int = 0
    spot_wait_seconds: int = 0
    answers_cents: int = 0

    def longest_seconds(self) -> int:
        """From its reservation to its end: the endpoint's own deadline can begin as late as the tear-down of the whole run is due."""
        endpoint = 2 * (self.deadline_seconds + TEAR_DOWN_ALLOWANCE_SECONDS) + self.keep_seconds
        return self.training_seconds + UNBILLED_ALLOWANCE_SECONDS + endpoint

    def beside_training_seconds(self) -> int:
        """What AWS may bill of a job beside its MaxRuntimeInSeconds. Every start of a spot job lies within its MaxWaitTimeInSeconds."""
        starts = max(TRAINING_START_ALLOWANCE_SECONDS, self.spot_wait_seconds)
        return starts + TRAINING_STOP_ALLOWANCE_SECONDS if self.training_seconds else 0

    def beside_deadline_seconds(self) -> int:
        """What the endpoint may last beside its deadline."""
        return self.keep_seconds + TEAR_DOWN_ALLOWANCE_SECONDS

    def kept_cents(self) -> int:
        """Checkpoints and answers. The checkpoints are of the training that is wanted: a clamped one writes no more."""
        minutes = self.checkpoint_minutes
        if self.spot_wait_seconds:
            minutes = min(minutes, SPOT_START_MINUTES)
        trained = self.training_seconds and self.training_seconds + self.beside_training_seconds()
        return checkpoint_cents(trained, self.lora_rank, minutes) + self.answers_cents

    def cost(self, training_seconds: int, deadline_seconds: int, months: int) -> RunCost:
        """The worst case where it gets so much time, in so many calendar months."""
        training = training_seconds + self.beside_training_seconds()
        endpoint = deadline_seconds + self.beside_deadline_seconds()
        return worst_case(self.training, self.hosting, training, endpoint, months, self.kept_cents())


def allow(ledger: Ledger, cap_cents: int, wanted: Wanted, now: datetime) -> Allowance:
    """Clamps a run to what is left of `cap_cents`, which is what the cap leaves for runs: first its training time, then the endpoint's
    deadline.

    Raises BudgetExceeded with the amount that is missing and the date when the next month's cap opens.
    """
    longest = wanted.longest_seconds()
    months = tuple(months_between(now, now + timedelta(seconds=longest + RESERVE_ALLOWANCE_SECONDS)))
    committed = {month: ledger.committed_cents(month, cap_cents) for month in months}
    left = cap_cents - max(committed.values())
    rounding = len(months) - 1
    least_training_seconds = min(MINIMUM_TRAINING_SECONDS, wanted.training_seconds)

    def cost(training_seconds: int, deadline_seconds: int) -> RunCost:
        return wanted.cost(training_seconds, deadline_seconds, len(months))

    least = cost(least_training_seconds, MINIMUM_DEADLINE_SECONDS)
    if least.cents > left:
        raise BudgetExceeded(
            f"The shortest useful run may cost {dollars(least.cents)}, but {dollars(max(0, left))} of the cap's {dollars(cap_cents)} for runs is left in "
            f"{' and '.join(months)}: {dollars(least.cents - left)} is missing. {way_out(least.cents, cap_cents, committed)}"
            f"{damage_note(ledger.damaged(months))}"
        )
    training_seconds, deadline_seconds = wanted.training_seconds, wanted.deadline_seconds
    missing = cost(training_seconds, deadline_seconds).cents - left
    if missing > 0:
        affordable = wanted.training.seconds(
            cost(training_seconds, deadline_seconds).training_cents - missing - rounding
        )
        training_seconds = max(least_training_seconds, affordable - wanted.beside_training_seconds())
        missing = cost(training_seconds, deadline_seconds).cents - left
    if missing > 0:
        affordable = wanted.hosting.seconds(
            cost(training_seconds, deadline_seconds).endpoint_cents - missing - rounding
        )
        deadline_seconds = max(MINIMUM_DEADLINE_SECONDS, affordable - wanted.beside_deadline_seconds())
    worst = cost(training_seconds, deadline_seconds)
    return Allowance(
        training_seconds=training_seconds,
        deadline_seconds=deadline_seconds,
        keep_seconds=wanted.keep_seconds,
        worst=worst,
        months=months,
        reserve_by=start_after(months[-1]) - timedelta(seconds=longest),
        tear_down_at=now + timedelta(seconds=training_seconds + deadline_seconds + UNBILLED_ALLOWANCE_SECONDS),
        clamped=(training_seconds, deadline_seconds) != (wanted.training_seconds, wanted.deadline_seconds),
    )
