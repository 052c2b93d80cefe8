"""The base model of a run: whether it fits the cards of the instance types, and how much of a corpus it can learn in its time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from common import estimate
from common.architecture import Shape
from common.cards import CARDS, Card, card_of, cards_in, serving_bytes, speed_up, training_memory
from common.errors import ModelDoesNotFit
from common.memory import sequences_per_step
from common.pricing.durations import MINIMUM_TRAINING_SECONDS, TRAINING_MARGIN_SECONDS, WEIGHTS_DOWNLOAD_SECONDS
from common.text import estimated_tokens
from preflight.request import Request
from preflight.settings import RunSettings

# What a run of two hours on the fastest card learns at most, rounded up; and what every run takes whole, however short it is.
MOST_BYTES, WHOLE_BYTES = 32 * 2**20, 4 * 2**20
# A token of Llama 2 has some 3.7 bytes in our own English, more in plainer text.
BYTES_PER_TOKEN = 4
# Too much text rather than too little: the time budget stops the training, and a speed is an average.
MARGIN = 1.25
# Public logs of SageMaker jobs show this rate and more from S3 to the instance (lambdas/common/pricing/durations.py).
DOWNLOADED_BYTES_PER_SECOND = 100_000_000
# What one rank of an adapter has in Llama 2 7B: CHECKPOINT_BYTES_PER_RANK of lambdas/common/pricing/costs.py is made for it.
PARAMETERS_PER_RANK = 2_498_560


@dataclass(frozen=True)
class Model:
    """The base model of a run. `downloaded_bytes` is what SageMaker downloads of it to each instance, whatever is read of that."""

    name: str
    parameters: int
    shape: Shape
    served_tokens: int
    has_chat_template: bool
    downloaded_bytes: int

    @property
    def longer_download_seconds(self) -> int:
        """How much longer its download takes than the allowances hold."""
        return max(0, math.ceil(self.downloaded_bytes / DOWNLOADED_BYTES_PER_SECOND) - WEIGHTS_DOWNLOAD_SECONDS)

    def checkpoint_rank(self, lora_rank: int) -> int:
        """The rank at which an adapter of Llama 2 7B has as many weights as this model's has at `lora_rank`, or that rank itself."""
        return max(lora_rank, math.ceil(self.shape.adapter_parameters(lora_rank) / PARAMETERS_PER_RANK))


def catalogued(settings: RunSettings) -> Model:
    """The base model as the settings describe it."""
    base, shape = settings.base_model, settings.base_model.shape
    return Model(base.name, base.parameters, shape, base.served_tokens, base.has_chat_template, shape.weights_bytes)


def refuse_what_cannot_fit(
    model: Model, settings: RunSettings, training: Sequence[str], hosting: Sequence[str]
) -> list[str]:
    """A warning for each type on which the model would have to be trained in 4 bits. `training` is empty for a run that trains nothing.

    Raises ModelDoesNotFit with every instance type that is too small, and types that are large enough. Unknown types pass.
    """
    rank, length = settings.lora_rank, settings.sequence_length
    served = serving_bytes(model.shape, rank, model.served_tokens)
    problems, warnings = [], []
    for kind, card in _with_cards(training):
        memory = training_memory(model.shape, rank, length, card)
        if not memory.fits:
            problems.append(
                f"training needs about {memory.needed_bytes / 1e9:.1f} GB on each GPU even with 4-bit weights, and the {card.name} in {kind} has "
                f"{card.gigabytes} GB"
            )
        elif memory.quantised:
            warnings.append(
                f"On {kind}, {model.name} fits only in 4 bits: the run trains and measures it in 4 bits, and serves it in 16 bits."
            )
    for kind, card in _with_cards(hosting):
        if served > card.served_bytes:
            problems.append(
                f"serving it in 16 bits with its adapter needs about {served / 1e9:.1f} GB, and the server may use "
                f"{card.served_bytes / 1e9:.1f} of the {card.gigabytes} GB of the {card.name} in {kind}"
            )
    if not problems:
        return warnings
    fitting = [
        f"{card.instance_type} ({card.name}, {card.gigabytes} GB)"
        for card in sorted(CARDS.values(), key=lambda card: card.gigabytes)
        if served <= card.served_bytes and training_memory(model.shape, rank, length, card).fits
    ]
    would = "No GPU of SageMaker is large enough: choose a smaller base_model in cdk.json and run make deploy."
    if fitting:
        would = f"Set training_instance_type and hosting_instance_type to {' or '.join(fitting[:2])} or choose a smaller base_model, and run make deploy."
    raise ModelDoesNotFit(
        f"{model.name} with {model.parameters / 1e9:.1f} billion parameters does not fit: {'; '.join(problems)}. {would} "
        "More GPUs or instances do not help: training copies the model to each GPU, and the server uses one."
    )


def _with_cards(types: Sequence[str]) -> list[tuple[str, Card]]:
    return [(kind, card) for kind in types if (card := card_of(kind))]


def idle_cards(settings: RunSettings, training: Sequence[str], tokens: int) -> list[str]:
    """Warns about idle GPUs: types of which fewer cards are as fast, in a run over `tokens` in all passes."""
    found = []
    sequences = sequences_per_step(tokens // settings.sequence_length)
    learns = f"{sequences} sequences" if sequences > 1 else "one sequence"
    for kind in training:
        cards = cards_in(kind) * settings.training_instance_count
        enough = min(
            number for number in range(1, cards + 1) if speed_up(number, sequences) == speed_up(cards, sequences)
        )
        if cards > enough:
            found.append(
                f"{settings.training_instance_count} x {kind} have {cards} GPUs, but a training step of this run has {learns} to divide among them: {enough} "
                f"GPU{'s are' if enough > 1 else ' is'} as fast, and you pay for the idle ones. Lower training_instance_count, or choose a smaller instance size."
            )
    return found


def tokens_learned(settings: RunSettings, request: Request, words: int) -> int:
    """About how many tokens a run over a corpus of `words` words learns in all passes."""
    return estimated_tokens(words) * (request.epochs or settings.epochs)


def most_bytes_learned(settings: RunSettings, request: Request, model: Model) -> int:
    """The most bytes of a corpus that a run may learn from; never less than a corpus may have that is taken whole."""
    count = settings.training_instance_count
    speeds = [
        estimate.tokens_per_second(model.shape, card_of(one), count * cards_in(one))
        for one in settings.training_instance_types
    ]
    if any(speed is None for speed in speeds):
        return MOST_BYTES
    seconds = MINIMUM_TRAINING_SECONDS if request.smoke else settings.max_training_seconds
    seconds -= TRAINING_MARGIN_SECONDS + model.longer_download_seconds
    most_tokens = max(0, seconds) * max(speed for speed in speeds if speed is not None)
    learned = int(most_tokens * MARGIN * BYTES_PER_TOKEN / (request.epochs or settings.epochs))
    return min(MOST_BYTES, max(WHOLE_BYTES, learned))
