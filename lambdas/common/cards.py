"""The GPUs of SageMaker's instance families, and how much of one a model takes when it is trained and when it is served.

Training copies the model to every card of its instances, and the server uses one: each card has to hold it. Training's memory is
planned by common/memory.py; the formula of serving is reckoned and was not measured on a card.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from common import memory
from common.architecture import BYTES_PER_WEIGHT, Shape
from common.memory import MOST_SEQUENCES_PER_STEP

# Of the maker's figure, what a program finds free: the driver and CUDA itself take the rest.
FREE_SHARE = 0.97

# The endpoint's SM_VLLM_GPU_MEMORY_UTILIZATION, and the places for adapters that it makes (stacks/fine_tuning.asl.yaml).
SERVED_SHARE, ADAPTER_PLACES = 0.88, 2
# What a server needs beside weights, keys and values: the widest step that it tries at its start, and its graphs. An assumption.
SERVER_BYTES = 1_500_000_000


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
    """How many cards an instance type has; 1 for an unknown type."""
    family, size = _family_and_size(instance_type)
    return CARDS[family].several.get(size, 1) if family in CARDS else 1


def _family_and_size(instance_type: str) -> tuple[str, str]:
    found = re.fullmatch(r"ml\.([a-z0-9-]+)\.([a-z0-9]+)", instance_type)
    return (found[1], found[2]) if found else ("", "")


def speed_up(processes: int, sequences: int) -> float:
    """How many times faster than one card `processes` make a step, each of whole sequences; waits are not counted."""
    return sequences / math.ceil(sequences / processes)


def training_memory(shape: Shape, rank: int, tokens: int, card: Card) -> memory.Plan:
    """How the training job holds the model on a card, for sequences of `tokens`."""
    sizes = memory.Sizes(
        parameters=shape.parameters,
        linear_parameters=shape.linear_parameters,
        adapter_parameters=shape.adapter_parameters(rank),
        layers=shape.layers,
        hidden=shape.hidden,
        intermediate=shape.intermediate,
        vocabulary=shape.vocabulary,
    )
    return memory.most_precise(sizes, card.free_bytes, "cuda", length=tokens, sequences=MOST_SEQUENCES_PER_STEP)


def serving_bytes(shape: Shape, rank: int, tokens: int) -> int:
    """What the endpoint's server needs at least: weights and adapters in 16 bits, and one request of `tokens`."""
    adapters = ADAPTER_PLACES * BYTES_PER_WEIGHT * shape.adapter_parameters(rank)
    return shape.weights_bytes + adapters + shape.key_value_bytes(tokens) + SERVER_BYTES
