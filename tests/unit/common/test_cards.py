"""Memory on a card, reckoned without torch: as the training job plans it."""

from __future__ import annotations

import dataclasses

import pytest

from common.architecture import Shape
from common.cards import (
    CARDS,
    card_of,
    cards_in,
    sequences_per_step,
    serving_bytes,
    speed_up,
    training_bytes,
    training_memory,
)
from stacks.configuration.catalog import BASE_MODELS
from stacks.configuration.checks import GPU_FAMILIES

A10G = CARDS["g5"]


def shape(model_id: str) -> Shape:
    return Shape(**dataclasses.asdict(BASE_MODELS[model_id].shape))


def test_every_family_that_the_settings_take_has_its_card() -> None:
    assert set(CARDS) == set(GPU_FAMILIES)
    for card in CARDS.values():
        assert card_of(card.instance_type) == card
    assert card_of("ml.m5.large") is None
    assert card_of("g5.2xlarge") is None


@pytest.mark.parametrize(
    ("instance_type", "cards"),
    [("ml.g5.2xlarge", 1), ("ml.g5.12xlarge", 4), ("ml.g5.48xlarge", 8), ("ml.g5.16xlarge", 1), ("ml.p5.4xlarge", 1),
     ("ml.p4d.24xlarge", 8), ("ml.g7e.12xlarge", 2), ("ml.new1.large", 1), ("", 1)],
)  # fmt: skip
def test_an_instance_type_has_so_many_cards(instance_type: str, cards: int) -> None:
    assert cards_in(instance_type) == cards


def test_a_card_takes_whole_sequences_of_a_step() -> None:
    assert [speed_up(cards, 4) for cards in (1, 2, 3, 4, 8)] == [1, 2, 2, 4, 4]
    assert [speed_up(cards, 3) for cards in (1, 2, 3, 4)] == [1, 1.5, 3, 3]
    assert [speed_up(cards, 1) for cards in (1, 2, 4)] == [1, 1, 1]


@pytest.mark.parametrize("rows", [0, 1, 511, 512, 1023, 1024, 1535, 1536, 2047, 2048, 9999])
def test_a_step_has_as_many_sequences_as_the_training_job_gives_it(rows: int) -> None:
    pytest.importorskip("torch")
    from arguments import automatic_sequences_per_step

    assert sequences_per_step(rows * 512 + 511, 512) == automatic_sequences_per_step(rows)


@pytest.mark.parametrize("model_id", BASE_MODELS)
def test_the_formula_is_the_training_jobs_own(model_id: str) -> None:
    torch = pytest.importorskip("torch")
    from arguments import Arguments
    from model import memory

    one, rank = shape(model_id), 16
    theirs = memory.Shape(
        parameters=one.parameters, linear_parameters=one.linear_parameters, adapter_parameters=one.adapter_parameters(rank),
        layers=one.layers, hidden=one.hidden, intermediate=one.intermediate, vocabulary=one.vocabulary,
    )  # fmt: skip
    for tokens in (512, 4096):
        for quantised in (False, True):
            for checkpointing in (False, True):
                kept = memory.estimate(
                    theirs,
                    tokens,
                    quantization="nf4" if quantised else "none",
                    dtype=torch.bfloat16,
                    checkpointing=checkpointing,
                )
                assert training_bytes(one, rank, tokens, quantised=quantised, checkpointing=checkpointing) == kept
    # Cards of every size between, too: where four sequences at a time do not fit, two or one may.
    sizes = [dataclasses.replace(A10G, gigabytes=gigabytes) for gigabytes in range(14, 60)]
    for card in (*CARDS.values(), *sizes):
        arguments = Arguments(sequence_length=512, lora_rank=rank)
        planned = memory.plan(theirs, arguments, "cuda", card.free_bytes)
        ours = training_memory(one, rank, 512, card)
        assert (ours.needed_bytes, ours.quantised, ours.fits) == (
            planned.needed_bytes,
            planned.quantization == "nf4",
            True,
        )


@pytest.mark.parametrize("model_id", [name for name in BASE_MODELS if name != "llama-2-13b"])
def test_what_has_seven_or_eight_billion_parameters_fits_the_usual_card_in_16_bits(model_id: str) -> None:
    one = shape(model_id)
    assert training_memory(one, 16, 512, A10G).fits and not training_memory(one, 16, 512, A10G).quantised
    assert serving_bytes(one, 64, 4096) <= A10G.served_bytes
