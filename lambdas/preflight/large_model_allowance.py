"""What a run is given of the cap: as much as one of Llama 2 7B, and what a larger model needs beyond that."""

from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from common.environment import RunSettings
from common.errors import BudgetExceeded
from common.ledger.ledger import Ledger
from common.pricing.durations import MINIMUM_TRAINING_SECONDS, SPOT_WAIT_SECONDS
from common.pricing.prices import Price
from preflight import money
from preflight.model import Model


class Wanted(NamedTuple):
    """How long a run would last where the cap pays for it, its endpoint until the deadline and kept after it, and the cents of its answers."""

    training_seconds: int
    deadline_seconds: int
    keep_seconds: int
    answers_cents: int


def allow(
    ledger: Ledger,
    cap_cents: int,
    settings: RunSettings,
    model: Model,
    prices: tuple[Price, Price],
    wanted: Wanted,
    now: datetime,
    spot: bool,
) -> money.Allowance:
    """What is allowed for the training and the longer download together, with the training's own time as what it may last.

    So the longer download is paid for whether or not AWS counts it as part of the time that a job may last. The prices, of
    training and hosting, are the dearest that the run may meet, each of one instance. Raises BudgetExceeded where too little is left for both.
    """
    training, hosting = prices
    longer = model.longer_download_seconds if wanted.training_seconds else 0
    allowance = money.allow(
        ledger,
        cap_cents,
        training.times(settings.training_instance_count),
        hosting,
        wanted.training_seconds + longer,
        wanted.deadline_seconds,
        wanted.keep_seconds,
        now,
        model.checkpoint_rank(settings.lora_rank),
        settings.checkpoint_minutes,
        SPOT_WAIT_SECONDS if spot else 0,
        wanted.answers_cents,
    )
    seconds = allowance.training_seconds - longer
    if seconds < min(MINIMUM_TRAINING_SECONDS, wanted.training_seconds):
        raise BudgetExceeded(
            f"What is left of the month's cap pays for {seconds} seconds of training beside the download of "
            f"{model.downloaded_bytes / 1e9:.0f} GB of weights, and the shortest useful training takes {MINIMUM_TRAINING_SECONDS}. "
            "Wait for the next month, raise budget_usd and deploy, or choose a smaller base_model."
        )
    return replace(allowance, training_seconds=seconds)
