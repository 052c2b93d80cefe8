"""The GPUs of SageMaker's instance families, and how much of one a model takes when it is trained and when it is served.

Training copies the model to every card of its instances, and the server uses one: each card has to hold it. The formulas of training are
those of training/model/memory.py, and a test holds both together; those of serving are reckoned and were not measured on a card.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from common.architecture import Shape

# Of the maker's figure, what a program finds free: the driver and CUDA itself take the rest.
FREE_SHARE = 0.97

# The endpoint's SM_VLLM_GPU_MEMORY_UTILIZATION, and the places for adapters that it makes (stacks/fine_tuning.asl.yaml).
SERVED_SHARE, ADAPTER_PLACES = 0.88, 2
# What a server needs beside weights, keys and values: the widest step that it tries at its start, and its graphs. An assumption.
SERVER_BYTES = 1_500_000_000

# As in training/model/memory.py, where each has its reason.
USABLE, KEEP, FIXED_BYTES, ADAPTER_BYTES = 0.92, 0.6, 600_000_000, 4 + 4 + 8 + 2
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
LOGIT_BYTES, BLOCK, WIDTH_BYTES = 12, 256, 2
MICRO_TOKENS, MOST_SEQUENCES_PER_STEP = 2048, 4
FEWEST_STEPS = 512  # as in training/arguments.py, which says why


@dataclass(frozen=True)
class Card:
    """One GPU, and an instance type that has it."""

    name: str
    gigabytes: int  # the maker's figure
    instance_type: str
    several: Mapping[str, int]  # how many of them the sizes of the family have that have more than one

    @property
    def free_bytes(self) -> int:
        """What a program finds free."""
        return int(self.gigabytes * 10**9 * FREE_SHARE)

    @property
    def served_bytes(self) -> int:
        """What the endpoint's server may use."""
        return int(SERVED_SHARE * self.free_bytes)


_G, _P = {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8}, {"24xlarge": 8, "48xlarge": 8}
# By family: makers' figures, from NVIDIA's data sheets, and AWS's pages of the families.
CARDS: Mapping[str, Card] = {
    "g5": Card("A10G", 24, "ml.g5.2xlarge", _G),
    "g6": Card("L4", 24, "ml.g6.2xlarge", _G),
    "g6e": Card("L40S", 48, "ml.g6e.2xlarge", _G),
    "g7e": Card("RTX PRO 6000", 96, "ml.g7e.2xlarge", {"12xlarge": 2, "24xlarge": 4, "48xlarge": 8}),
    "p4d": Card("A100", 40, "ml.p4d.24xlarge", _P),
    "p4de": Card("A100", 80, "ml.p4de.24xlarge", _P),
    "p5": Card("H100", 80, "ml.p5.48xlarge", _P),
    "p5e": Card("H200", 141, "ml.p5e.48xlarge", _P),
    "p5en": Card("H200", 141, "ml.p5en.48xlarge", _P),
    "p6-b200": Card("B200", 180, "ml.p6-b200.48xlarge", _P),
    "p6-b300": Card("B300", 270, "ml.p6-b300.48xlarge", _P),
}


def card_of(instance_type: str) -> Card | None:
    """The card of an instance type, or None for a family that is not in the table."""
    return CARDS.get(_family_and_size(instance_type)[0])


def cards_in(instance_type: str) -> int:
    """How many cards an instance type has; 1 for one that nobody knows."""
    family, size = _family_and_size(instance_type)
    return CARDS[family].several.get(size, 1) if family in CARDS else 1


def _family_and_size(instance_type: str) -> tuple[str, str]:
    """Such as ("g5", "2xlarge"); two empty ones for what is no instance type."""
    found = re.fullmatch(r"ml\.([a-z0-9-]+)\.([a-z0-9]+)", instance_type)
    return (found[1], found[2]) if found else ("", "")


def sequences_per_step(tokens: int, sequence_length: int) -> int:
    """How many sequences a step learns from in a run over so many tokens, all passes together, as the training job chooses it."""
    return max(1, min(MOST_SEQUENCES_PER_STEP, tokens // sequence_length // FEWEST_STEPS))


def speed_up(processes: int, sequences: int) -> float:
    """How many times faster than one a number of cards goes through a step of so many sequences, of which each card takes whole ones.

    What they lose by waiting for one another is not counted: nobody has measured it.
    """
    return sequences / math.ceil(sequences / processes)


def training_bytes(shape: Shape, rank: int, tokens: int, *, quantised: bool, checkpointing: bool) -> int:
    """Bytes at the peak of a training step with `tokens` at a time, in bfloat16 or on 4-bit weights."""
    weights: float = shape.weights_bytes
    if quantised:
        weights += shape.linear_parameters * (NF4_BYTES - WIDTH_BYTES)
    numbers = WIDTH_BYTES * (9 * shape.hidden + 4 * shape.intermediate) + 2 * 4 * shape.hidden
    layer = tokens * numbers
    kept = shape.layers * (tokens * shape.hidden * WIDTH_BYTES if checkpointing else layer) + 2 * layer
    logits = LOGIT_BYTES * min(tokens, BLOCK) * shape.vocabulary
    return int(weights + ADAPTER_BYTES * shape.adapter_parameters(rank) + kept + logits + FIXED_BYTES)


@dataclass(frozen=True)
class TrainingMemory:
    """How the model would be held on a card: the bytes at its peak, and whether its weights have to be in 4 bits."""

    needed_bytes: int
    quantised: bool
    fits: bool


def training_memory(shape: Shape, rank: int, tokens: int, card: Card) -> TrainingMemory:
    """The most precise way that fits a card for sequences of so many `tokens`, as the training job chooses it; the one in 4 bits where
    none does."""
    most = max(1, min(MICRO_TOKENS // tokens, MOST_SEQUENCES_PER_STEP))
    for quantised in (False, True):
        needed = training_bytes(shape, rank, most * tokens, quantised=quantised, checkpointing=False)
        if needed <= KEEP * card.free_bytes:
            return TrainingMemory(needed, quantised, True)
        sequences = most
        while sequences:
            needed = training_bytes(shape, rank, sequences * tokens, quantised=quantised, checkpointing=True)
            if needed <= USABLE * card.free_bytes:
                return TrainingMemory(needed, quantised, True)
            sequences //= 2
    return TrainingMemory(needed, True, False)


def serving_bytes(shape: Shape, rank: int, tokens: int) -> int:
    """What the endpoint's server needs at least: weights and adapters in 16 bits, and one request of `tokens`."""
    adapters = ADAPTER_PLACES * WIDTH_BYTES * shape.adapter_parameters(rank)
    return shape.weights_bytes + adapters + shape.key_value_bytes(tokens) + SERVER_BYTES
