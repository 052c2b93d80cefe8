"""How long a run takes and how much memory it needs: computed without torch, as the training job plans it."""

from __future__ import annotations

import dataclasses
import itertools
from decimal import Decimal
from typing import Any

import pytest

from common import cards, estimate
from common.architecture import Shape
from common.cards import CARDS, card_of, cards_in, training_memory
from common.pricing.prices import Price
from stacks.configuration.catalog import BASE_MODELS
from stacks.configuration.checks import GPU_FAMILIES

A10G = CARDS["g5"]
SHAPES = {name: Shape(**dataclasses.asdict(model.shape)) for name, model in BASE_MODELS.items()}
SEVEN, ONE = SHAPES["llama-2-7b"], SHAPES["llama-3.2-1b"]
INSTANCE_CARDS = {"ml.g5.2xlarge": 1, "ml.g5.12xlarge": 4, "ml.g5.48xlarge": 8, "ml.p5.4xlarge": 1, "": 1}


def of_run(shape: Shape = SEVEN, card: Any = A10G, **changes: Any) -> estimate.Estimate:
    """The estimate of a usual run, with changes."""
    return estimate.of_run(shape, card, **{"tokens": 119_000, "sequences": 4, "answers": 690, **changes})


def seconds(found: estimate.Estimate) -> dict[str, int | None]:
    return {phase.name: phase.seconds for phase in (*found.training, *found.endpoint)}


def test_usual_run_is_the_sum_of_what_was_logged() -> None:
    found = of_run()
    assert seconds(found) == {
        "image": 450,
        "weights": 180,
        "load, measure, save": 240,
        "learn": 100,
        "endpoint starts": 570,
        "answers, report, removal": 600,
    }
    assert (found.training_seconds, found.endpoint_seconds) == (970, 1170)
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
def test_phase_follows_size_answers_and_cards(found: estimate.Estimate, phase: str, expected: int | None) -> None:
    assert seconds(found)[phase] == expected
    assert (found.training_seconds is None) == (expected is None)
    assert (found.endpoint_seconds or 0) >= 1170


def test_several_cards_share_learning_and_every_instance_is_paid_for() -> None:
    price = Price("ml.g5.2xlarge", "Training", Decimal("1.515"), "list")
    alone, four = of_run(), of_run(instances=2, cards=2)
    assert (four.training_seconds, of_run(trains=False).training_seconds) == (970 - 75, 0)
    difference = (four.cents(price, price, 16) or 0) - (alone.cents(price, price, 16) or 0)
    assert difference == price.cents(2 * 895) - price.cents(970)


class TestCards:
    def test_every_family_of_the_settings_has_its_card(self) -> None:
        assert set(CARDS) == set(GPU_FAMILIES)
        for card in CARDS.values():
            assert card_of(card.instance_type) == card
        assert card_of("ml.m5.large") is card_of("g5.2xlarge") is None
        assert {name: cards_in(name) for name in INSTANCE_CARDS} == INSTANCE_CARDS

    def test_sequences_of_a_step_are_the_training_jobs_own(self) -> None:
        pytest.importorskip("torch")
        from arguments import automatic_sequences_per_step

        for rows in (0, 1, 511, 512, 1023, 1024, 1535, 1536, 2047, 2048, 9999):
            assert cards.sequences_per_step(rows * 512 + 511, 512) == automatic_sequences_per_step(rows)

    @pytest.mark.parametrize("model_id", BASE_MODELS)
    def test_memory_is_the_training_jobs_own_formula(self, model_id: str) -> None:
        torch = pytest.importorskip("torch")
        from arguments import Arguments
        from model import memory

        one, rank = SHAPES[model_id], 16
        names = ("parameters", "linear_parameters", "layers", "hidden", "intermediate", "vocabulary")
        theirs = memory.Shape(
            adapter_parameters=one.adapter_parameters(rank), **{name: getattr(one, name) for name in names}
        )
        for tokens, quantised, checkpointing in itertools.product((512, 4096), (False, True), (False, True)):
            how: dict[str, Any] = {"quantization": "nf4" if quantised else "none", "checkpointing": checkpointing}
            needed = memory.estimate(theirs, tokens, dtype=torch.bfloat16, **how)
            ours = cards.training_bytes(one, rank, tokens, quantised=quantised, checkpointing=checkpointing)
            assert ours == needed
        # Cards of every size between, too: where four sequences at a time do not fit, two or one may.
        sizes = [dataclasses.replace(A10G, gigabytes=gigabytes) for gigabytes in range(14, 60)]
        for card in (*CARDS.values(), *sizes):
            planned = memory.plan(theirs, Arguments(sequence_length=512, lora_rank=rank), "cuda", card.free_bytes)
            found = training_memory(one, rank, 512, card)
            assert (found.needed_bytes, found.quantised) == (planned.needed_bytes, planned.quantization == "nf4")
            assert found.fits
