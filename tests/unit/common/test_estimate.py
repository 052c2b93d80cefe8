"""How long a run takes and how much memory it needs: computed without torch, as the training job plans it."""

import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from common import estimate
from common.architecture import Shape
from common.cards import CARDS, card_of, cards_in, training_memory
from common.memory import USABLE
from common.pricing.prices import Price
from stacks.configuration.catalog import BASE_MODELS
from stacks.configuration.checks import GPU_FAMILIES

A10G = CARDS["g5"]
SEVEN, ONE = BASE_MODELS["llama-2-7b"].shape, BASE_MODELS["llama-3.2-1b"].shape
INSTANCE_CARDS = {"ml.g5.2xlarge": 1, "ml.g5.12xlarge": 4, "ml.g5.48xlarge": 8, "ml.p5.4xlarge": 1, "": 1}


def of_run(shape: Shape = SEVEN, card: Any = A10G, **changes: Any) -> estimate.Estimate:
    return estimate.of_run(shape, card, **{"tokens": 119_000, "sequences": 4, "answers": 690, **changes})


def seconds(found: estimate.Estimate) -> dict[str, int | None]:
    return {phase.name: phase.seconds for phase in (*found.training, *found.endpoint)}


def test_typical_run_is_the_sum_of_what_was_logged() -> None:
    found = of_run()
    assert (found.training_seconds, found.endpoint_seconds) == (970, 1170)
    assert sum(filter(None, seconds(found).values())) == 970 + 1170
    assert all(phase.source for phase in (*found.training, *found.endpoint))


@pytest.mark.parametrize(
    ("found", "phase", "expected"),
    [
        (of_run(ONE), "learn", 18),
        (of_run(ONE), "weights", 33),
        (of_run(answers=1380), "answers, report, removal", 1200),
        # A card takes whole sequences of a step.
        *((of_run(sequences=sequences, cards=4), "learn", 100 // sequences) for sequences in (1, 2, 3, 4)),
        (of_run(card=CARDS["g6e"]), "learn", None),
    ],
)
def test_phase_follows_size_answers_and_gpus(found: estimate.Estimate, phase: str, expected: int | None) -> None:
    assert seconds(found)[phase] == expected
    assert (found.training_seconds is None) == (expected is None)
    assert (found.endpoint_seconds or 0) >= 1170


def test_several_gpus_share_learning_and_every_instance_is_paid_for() -> None:
    price = Price("ml.g5.2xlarge", "Training", Decimal("1.515"), "list")
    alone, four = of_run(), of_run(instances=2, cards=2)
    assert (four.training_seconds, of_run(trains=False).training_seconds) == (970 - 75, 0)
    difference = (four.cents(price, price, 16, 10) or 0) - (alone.cents(price, price, 16, 10) or 0)
    assert difference == price.cents(2 * 895) - price.cents(970)


class TestCards:
    def test_every_family_of_the_settings_has_its_gpu(self) -> None:
        assert set(CARDS) == set(GPU_FAMILIES)
        for card in CARDS.values():
            assert card_of(card.instance_type) == card
        assert card_of("ml.m5.large") is card_of("g5.2xlarge") is None
        assert {name: cards_in(name) for name in INSTANCE_CARDS} == INSTANCE_CARDS

    def test_more_memory_never_means_less_precise(self) -> None:
        """Cards of every size, too: where four sequences at a time do not fit, two or one may."""
        found = [
            training_memory(SEVEN, 16, 512, dataclasses.replace(A10G, gigabytes=gigabytes))
            for gigabytes in range(4, 90)
        ]
        ways = [(one.fits, not one.quantised, not one.checkpointing) for one in found]
        assert ways == sorted(ways)
        assert set(ways) >= {(False, False, False), (True, False, False), (True, True, False), (True, True, True)}
        assert {one.micro_batch for one in found if not one.quantised} >= {2, 4}
        assert all(one.needed_bytes <= USABLE * one.free_bytes for one in found if one.fits)
