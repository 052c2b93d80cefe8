"""How much text a run can learn in its time, at the speed that is known for its card: what of a large corpus is staged."""

from __future__ import annotations

from common import estimate
from common.cards import card_of, cards_in
from common.environment import RunSettings
from common.pricing.durations import MINIMUM_TRAINING_SECONDS, TRAINING_MARGIN_SECONDS
from common.text.tokens import estimated_tokens
from preflight import large_model_allowance
from preflight.model import Model
from preflight.request import Request

# What a run of two hours on the fastest card learns at most, rounded up; and what every run takes whole, however short it is.
MOST_BYTES, WHOLE_BYTES = 32 * 2**20, 4 * 2**20
# A token of Llama 2 has some 3.7 bytes in our own English, more in plainer text.
BYTES_PER_TOKEN = 4
# Rather too much text than too little: the time budget stops the training, and a speed is an average.
MARGIN = 1.25


def passes(settings: RunSettings, request: Request) -> int:
    """How often a run goes through its corpus."""
    return request.epochs or settings.epochs


def tokens(settings: RunSettings, request: Request, words: int) -> int:
    """About how many tokens a run over a corpus of so many words learns, all passes together."""
    return estimated_tokens(words) * passes(settings, request)


def most_bytes(settings: RunSettings, request: Request, model: Model) -> int:
    """The most bytes of a corpus that a run may learn from; never less than a corpus may have that is taken whole."""
    count = settings.training_instance_count
    speeds = [
        estimate.tokens_per_second(model.shape, card_of(one), count * cards_in(one))
        for one in settings.training_instance_types
    ]
    if any(speed is None for speed in speeds):
        return MOST_BYTES
    seconds = MINIMUM_TRAINING_SECONDS if request.smoke else settings.max_training_seconds
    seconds -= TRAINING_MARGIN_SECONDS + large_model_allowance.download_seconds(model.downloaded_bytes)
    most_tokens = max(0, seconds) * max(speed for speed in speeds if speed is not None)
    learned = int(most_tokens * MARGIN * BYTES_PER_TOKEN / passes(settings, request))
    return min(MOST_BYTES, max(WHOLE_BYTES, learned))
