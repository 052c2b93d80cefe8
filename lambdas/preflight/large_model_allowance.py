"""What a model that is larger than Llama 2 7B needs beyond the allowances of lambdas/common, which were made for that one.

It is only ever added: no run is given a smaller reservation than one of Llama 2 7B.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from common.architecture import Shape
from common.errors import BudgetExceeded
from common.pricing.durations import MINIMUM_TRAINING_SECONDS, WEIGHTS_DOWNLOAD_SECONDS
from preflight.money import Allowance

# Public logs of SageMaker jobs show so much and more from S3 to the instance (lambdas/common/pricing/durations.py).
DOWNLOADED_BYTES_PER_SECOND = 100_000_000
# What one rank of an adapter has in Llama 2 7B: CHECKPOINT_BYTES_PER_RANK of lambdas/common/pricing/costs.py is made for it.
PARAMETERS_PER_RANK = 2_498_560


def download_seconds(downloaded_bytes: int) -> int:
    """How much longer so many bytes take to the instance than the allowances hold."""
    needed = math.ceil(downloaded_bytes / DOWNLOADED_BYTES_PER_SECOND)
    return max(0, needed - WEIGHTS_DOWNLOAD_SECONDS)


def checkpoint_rank(shape: Shape, lora_rank: int) -> int:
    """The rank at which an adapter of Llama 2 7B has as many weights as this model's has at `lora_rank`, or that rank itself."""
    return max(lora_rank, math.ceil(shape.adapter_parameters(lora_rank) / PARAMETERS_PER_RANK))


def allow(wanted_training_seconds: int, downloaded_bytes: int, reserve: Callable[[int], Allowance]) -> Allowance:
    """What `reserve` allows for the training and the longer download together, with the training's own time as what it may last.

    So the longer download is paid for whether or not AWS counts it as part of the time that a job may last. Raises BudgetExceeded,
    as `reserve` does, where too little is left for both.
    """
    longer = download_seconds(downloaded_bytes) if wanted_training_seconds else 0
    allowance = reserve(wanted_training_seconds + longer)
    seconds = allowance.training_seconds - longer
    if seconds < min(MINIMUM_TRAINING_SECONDS, wanted_training_seconds):
        raise BudgetExceeded(
            f"What is left of the month's cap pays for {seconds} seconds of training beside the download of "
            f"{downloaded_bytes / 1e9:.0f} GB of weights, and the shortest useful training takes {MINIMUM_TRAINING_SECONDS}. "
            "Wait for the next month, raise budget_usd and deploy, or choose a smaller base_model."
        )
    return replace(allowance, training_seconds=seconds)
