"""What a run is given of the cap: as much as one of Llama 2 7B, and what a larger model needs beyond that."""

from dataclasses import replace
from datetime import datetime

from common.errors import BudgetExceeded
from common.ledger.ledger import Ledger
from common.pricing.durations import MINIMUM_TRAINING_SECONDS
from preflight import money
from preflight.model import Model


def allow(ledger: Ledger, cap_cents: int, model: Model, wanted: money.Wanted, now: datetime) -> money.Allowance:
    """What is allowed for the training and the longer download together, with the training's own time as what it may last.

    So the longer download is paid for whether or not AWS counts it as part of the time that a job may last. Raises BudgetExceeded
    where too little is left for both.
    """
    longer = model.longer_download_seconds if wanted.training_seconds else 0
    both = replace(wanted, training_seconds=wanted.training_seconds + longer)
    allowance = money.allow(ledger, cap_cents, both, now)
    seconds = allowance.training_seconds - longer
    if seconds < min(MINIMUM_TRAINING_SECONDS, wanted.training_seconds):
        raise BudgetExceeded(
            f"After the download of {model.downloaded_bytes / 1e9:.0f} GB of weights, the remaining budget covers {max(0, seconds)} seconds of training; "
            f"the shortest useful training takes {MINIMUM_TRAINING_SECONDS}. Wait for the next month, or raise budget_usd or choose a smaller base_model "
            "in cdk.json and run make deploy."
        )
    return replace(allowance, training_seconds=seconds)
