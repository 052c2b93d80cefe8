"""What a run is expected to take: each figure with its source, and nothing guessed."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from common import estimate
from common.architecture import Shape
from common.cards import CARDS
from common.pricing.prices import Price
from stacks.configuration.catalog import BASE_MODELS

SEVEN = Shape(**dataclasses.asdict(BASE_MODELS["llama-2-7b"].shape))
ONE = Shape(**dataclasses.asdict(BASE_MODELS["llama-3.2-1b"].shape))


def seconds(found: estimate.Estimate) -> dict[str, int | None]:
    return {phase.name: phase.seconds for phase in (*found.training, *found.endpoint)}


def test_a_usual_run_is_the_sum_of_what_was_logged() -> None:
    found = estimate.of_run(SEVEN, CARDS["g5"], tokens=119_000, sequences=4, answers=690)
    assert seconds(found) == {
        "image": 450, "weights": 180, "load, measure, save": 240, "learn": 100, "endpoint starts": 570, "answers, report, removal": 600,
    }  # fmt: skip
    assert (found.training_seconds, found.endpoint_seconds) == (970, 1170)
    assert all(phase.source for phase in (*found.training, *found.endpoint))


def test_another_size_is_reckoned_in_proportion_and_says_so() -> None:
    found = {
        phase.name: phase
        for phase in estimate.of_run(ONE, CARDS["g5"], tokens=119_000, sequences=4, answers=1).training
    }
    assert (found["learn"].seconds, found["weights"].seconds) == (18, 33)
    assert found["learn"].source.endswith("in proportion to the parameters")


def test_several_cards_share_the_learning_alone_and_every_instance_is_paid_for() -> None:
    price = Price("ml.g5.2xlarge", "Training", Decimal("1.515"), "list")
    alone, four = (
        estimate.of_run(SEVEN, CARDS["g5"], tokens=119_000, sequences=4, answers=690, instances=instances, cards=cards)
        for instances, cards in ((1, 1), (2, 2))
    )
    assert (seconds(alone)["learn"], seconds(four)["learn"]) == (100, 25)
    assert {phase.name: phase.source for phase in four.training}["learn"].endswith(
        ", on 4 cards, without loss 4 times as fast in steps of 4"
    )
    assert four.training_seconds == 970 - 75
    difference = (four.cents(price, price, 16) or 0) - (alone.cents(price, price, 16) or 0)
    assert difference == price.cents(2 * 895) - price.cents(970)


def test_cards_that_a_step_has_no_sequence_for_make_nothing_faster() -> None:
    taken = {
        sequences: estimate.of_run(SEVEN, CARDS["g5"], tokens=119_000, sequences=sequences, answers=690, cards=4)
        for sequences in (1, 2, 3, 4)
    }
    assert {sequences: seconds(found)["learn"] for sequences, found in taken.items()} == {1: 100, 2: 50, 3: 33, 4: 25}


@pytest.mark.parametrize("card", [CARDS["g6e"], None])
def test_a_card_of_unknown_speed_leaves_time_and_cost_unknown(card: Any) -> None:
    found = estimate.of_run(SEVEN, card, tokens=1000, sequences=4, answers=690)
    assert seconds(found)["learn"] is None and found.training_seconds is None
    assert "no speed is known" in {phase.name: phase.source for phase in found.training}["learn"]
    assert found.endpoint_seconds == 1170


def test_more_answers_take_longer_in_proportion() -> None:
    assert (
        seconds(estimate.of_run(SEVEN, None, tokens=0, sequences=4, answers=1380))["answers, report, removal"] == 1200
    )


def test_a_run_that_trains_nothing_has_no_training() -> None:
    found = estimate.of_run(SEVEN, CARDS["g5"], tokens=1000, sequences=4, answers=690, trains=False)
    assert (found.tokens, found.training, found.training_seconds) == (0, (), 0)


def test_further_seeds_learn_as_long_each_and_are_measured() -> None:
    one, three = (
        estimate.of_run(SEVEN, CARDS["g5"], tokens=119_000, sequences=4, answers=690, seeds=seeds) for seeds in (1, 3)
    )
    assert (three.training_seconds or 0) - (one.training_seconds or 0) == 2 * (100 + 120)
    assert seconds(three)["further seeds"] == 440 and "further seeds" not in seconds(one)
    assert three.tokens == one.tokens


@pytest.mark.parametrize(
    ("budget", "fitting"), [(0, 0), (339, 0), (340, 1), (559, 1), (560, 2), (779, 2), (780, 3), (10_000, 44)]
)
def test_as_many_seeds_fit_as_come_to_their_end(budget: int, fitting: int) -> None:
    for seeds in (1, 5):
        run = estimate.of_run(SEVEN, CARDS["g5"], tokens=119_000, sequences=4, answers=690, seeds=seeds)
        assert estimate.seeds_within(run, budget) == fitting


def test_of_a_card_of_unknown_speed_nobody_knows_how_many_seeds_fit() -> None:
    run = estimate.of_run(SEVEN, CARDS["g6e"], tokens=1000, sequences=4, answers=690, seeds=2)
    assert (run.training_seconds, estimate.seeds_within(run, 10_000)) == (None, None)
    assert seconds(run)["further seeds"] is None
