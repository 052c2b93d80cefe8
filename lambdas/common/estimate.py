"""What a run is expected to take and cost, by phase and with sources; None if unmeasured. Nothing is reserved by it."""

import math
from dataclasses import dataclass

from common.architecture import Shape
from common.cards import Card, speed_up
from common.memory import MOST_SEQUENCES_PER_STEP
from common.pricing.costs import checkpoint_cents, small_items_cents
from common.pricing.durations import WEIGHTS_DOWNLOAD_SECONDS
from common.pricing.prices import Price

LEARN = "learn"
LOGS = "public logs of SageMaker jobs"
# The weights that the download of durations.py was read for.
_DOWNLOADED_BYTES = 13_500_000_000
IMAGE_PULL_SECONDS = 450  # the middle of 3 to 12 minutes
LOAD_MEASURE_SAVE_SECONDS = 240
# Scoring goes forward once where training goes forward and back, which is three times the work; the adapter scales are tried one after
# the other (SCALES in training/scale.py).
SCORING_SPEED, SCALES = 2.5, 7
ENDPOINT_START_SECONDS = 570  # 9 to 10 minutes
# 230 prompts, a greedy and two sampled answers of both models, the report, and the removal.
COMPARISON_SECONDS, COMPARED_PROMPTS = 600, 230
COMPARED_ANSWERS = COMPARED_PROMPTS * 3


@dataclass(frozen=True)
class Speed:
    """Measured tokens a second of LoRA training in 16 bits on a card."""

    card: str
    parameters: int
    tokens_per_second: int
    source: str


SPEEDS = (
    # q and v only, rank 8, where ours adapts every linear layer: ours is somewhat slower.
    Speed("A10G", 6_738_415_616, 1190, f"{LOGS} on ml.g5.2xlarge: Llama 2 7B, 3.45 s for 4 sequences of 1,024 tokens"),
)


@dataclass(frozen=True)
class Phase:
    """A part of a run: its seconds, or None where unknown, and where the figure is from."""

    name: str
    seconds: int | None
    source: str


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to take."""

    tokens: int
    training: tuple[Phase, ...]
    endpoint: tuple[Phase, ...]
    training_instances: int = 1

    @property
    def training_seconds(self) -> int | None:
        """Of the job on each of its instances, or None where a phase of it is not known."""
        return _sum(self.training)

    @property
    def endpoint_seconds(self) -> int | None:
        """Of the endpoint, or None where a phase of it is not known."""
        return _sum(self.endpoint)

    def cents(self, training: Price, hosting: Price, lora_rank: int, checkpoint_minutes: int) -> int | None:
        """What the run is expected to cost with everything beside its instances, or None where its time is not known."""
        learning, serving = self.training_seconds, self.endpoint_seconds
        if learning is None or serving is None:
            return None
        return (
            training.times(self.training_instances).cents(learning)
            + hosting.cents(serving)
            + small_items_cents()
            + checkpoint_cents(learning, lora_rank, checkpoint_minutes)
        )


def of_run(
    shape: Shape,
    card: Card | None,
    *,
    tokens: int,
    sequences: int,
    answers: int,
    trains: bool = True,
    instances: int = 1,
    cards: int = 1,
    downloaded_bytes: int | None = None,
    scale_tokens: int = 0,
) -> Estimate:
    """The estimate of a run that learns `tokens` and asks each model for `answers`.

    A step learns from `sequences`. The run trains on `instances` with `cards` each; the price of an instance is that of all its cards. `downloaded_bytes` is what each of them downloads of the model, None for its weights in 16 bits and
    nothing else; `scale_tokens` are those by which the adapter scale is chosen.
    """
    download = shape.weights_bytes if downloaded_bytes is None else downloaded_bytes
    seconds = math.ceil(WEIGHTS_DOWNLOAD_SECONDS * download / _DOWNLOADED_BYTES)
    training = (
        Phase("image", IMAGE_PULL_SECONDS, f"{LOGS}: 3 to 12 minutes"),
        Phase("weights", seconds, f"{LOGS}: 180 s for 13.5 GB, in proportion"),
        Phase("load, measure, save", LOAD_MEASURE_SAVE_SECONDS, f"{LOGS}, for 7 billion parameters"),
        _learning(shape, card, tokens, instances * cards, sequences),
        *_choosing(shape, card, scale_tokens),
    )
    comparing = math.ceil(COMPARISON_SECONDS * max(1.0, answers / COMPARED_ANSWERS))
    endpoint = (
        Phase("endpoint starts", ENDPOINT_START_SECONDS, f"{LOGS}: 9 to 10 minutes for 7 billion parameters"),
        Phase("answers, report, removal", comparing, "assumed; in proportion beyond 690 answers of each model"),
    )
    return Estimate(tokens if trains else 0, training if trains else (), endpoint, instances)


def _choosing(shape: Shape, card: Card | None, tokens: int) -> tuple[Phase, ...]:
    speed = _speed_of(card)
    if not tokens:
        return ()
    seconds = math.ceil(SCALES * tokens / (SCORING_SPEED * _of_one(speed, shape))) if speed else None
    source = f"computed: {SCALES} scales, {SCORING_SPEED:g} times as fast as training"
    return (Phase("choose the scale", seconds, source),)


def _learning(shape: Shape, card: Card | None, tokens: int, cards: int, sequences: int) -> Phase:
    speed = _speed_of(card)
    if speed is None:
        return Phase(LEARN, None, f"no measured speed for {card.name if card else 'this instance type'}")
    times = speed_up(cards, sequences)
    seconds = round(tokens / (times * _of_one(speed, shape)))
    shared = "" if cards == 1 else f", on {cards} GPUs, ideally {times:g} times as fast in steps of {sequences}"
    scaled = "" if shape.parameters == speed.parameters else ", in proportion to the parameters"
    return Phase(LEARN, seconds, f"{speed.source}{scaled}{shared}")


def tokens_per_second(shape: Shape, card: Card | None, cards: int) -> float | None:
    """The most tokens a second that a number of cards learn with a model of this size; None where the card is unmeasured."""
    speed = _speed_of(card)
    return None if speed is None else speed_up(cards, MOST_SEQUENCES_PER_STEP) * _of_one(speed, shape)


def _speed_of(card: Card | None) -> Speed | None:
    return next((speed for speed in SPEEDS if card and speed.card == card.name), None)


def _of_one(speed: Speed, shape: Shape) -> float:
    return speed.tokens_per_second * speed.parameters / shape.parameters


def _sum(phases: tuple[Phase, ...]) -> int | None:
    seconds = [phase.seconds for phase in phases]
    return None if None in seconds else sum(one for one in seconds if one is not None)
