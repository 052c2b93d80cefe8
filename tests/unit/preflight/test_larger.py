"""Models that are larger than the one that the allowances were made for: more is set aside for them, never less."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from common.architecture import Shape
from common.errors import BudgetExceeded
from common.pricing.costs import CHECKPOINT_BYTES_PER_RANK, WorstCase, for_runs
from common.pricing.durations import MINIMUM_TRAINING_SECONDS, TRAINING_MARGIN_SECONDS, WEIGHTS_DOWNLOAD_SECONDS
from preflight.larger import PARAMETERS_PER_RANK, allow, checkpoint_rank, download_seconds
from preflight.money import Allowance
from stacks.configuration.catalog import BASE_MODELS
from tests.doubles.preflight_site import Site
from tests.doubles.run_settings import SETTINGS

LLAMA_2_7B = Shape(**SETTINGS["base_model"]["shape"])
THIRTEEN = Shape(**dataclasses.asdict(BASE_MODELS["llama-2-13b"].shape))
EIGHT = Shape(**dataclasses.asdict(BASE_MODELS["llama-3.1-8b"].shape))
ONE = Shape(**dataclasses.asdict(BASE_MODELS["llama-3.2-1b"].shape))


@pytest.fixture
def plan_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Plans a run of a model of this shape, with so much of the cap."""

    def plan(shape: Shape, cap_cents: int = 2500, **run_input: Any) -> dict[str, Any]:
        site = Site(monkeypatch)
        site.cap_cents = cap_cents
        site.settings["base_model"] = {**SETTINGS["base_model"], "shape": dataclasses.asdict(shape)}
        # A card that holds thirteen billion parameters in 16 bits.
        site.settings["training_instance_types"] = site.settings["hosting_instance_types"] = ["ml.g6e.2xlarge"]
        site.quotas.names = {"L-T": "ml.g6e.2xlarge for training job usage", "L-E": "ml.g6e.2xlarge for endpoint usage"}
        site.quotas.applied = {"L-T": 1.0, "L-E": 1.0}
        planned: dict[str, Any] = site.run(run_input)
        return planned

    return plan


def test_the_allowances_hold_llama_2_7b_and_whatever_is_no_larger() -> None:
    assert [download_seconds(shape.weights_bytes) for shape in (LLAMA_2_7B, EIGHT, ONE)] == [0, 0, 0]
    assert LLAMA_2_7B.adapter_parameters(1) == PARAMETERS_PER_RANK
    assert [checkpoint_rank(shape, 16) for shape in (LLAMA_2_7B, ONE)] == [16, 16]


def test_a_larger_download_is_added_and_a_larger_adapter_counts_as_a_higher_rank() -> None:
    assert download_seconds(THIRTEEN.weights_bytes) == 261 - WEIGHTS_DOWNLOAD_SECONDS
    assert [checkpoint_rank(shape, 16) for shape in (EIGHT, THIRTEEN)] == [17, 26]
    for shape in (EIGHT, THIRTEEN):  # adapter and both moments of Adam in 32 bits
        assert 12 * shape.adapter_parameters(16) < checkpoint_rank(shape, 16) * CHECKPOINT_BYTES_PER_RANK


def test_the_longer_download_is_paid_for_beside_the_time_that_the_job_may_last(
    plan_of: Callable[..., dict[str, Any]],
) -> None:
    small, large = plan_of(LLAMA_2_7B), plan_of(THIRTEEN)
    longer = download_seconds(THIRTEEN.weights_bytes)
    assert large["training"]["maxRuntimeSeconds"] == small["training"]["maxRuntimeSeconds"] == 7200
    budgets = [plan["training"]["hyperparameters"]["time_budget_seconds"] for plan in (small, large)]
    assert budgets == [str(7200 - TRAINING_MARGIN_SECONDS), str(7200 - TRAINING_MARGIN_SECONDS - longer)]
    reserved = [plan["budget"]["ledgerDetails"]["max_training_seconds"] for plan in (small, large)]
    assert reserved[1] - reserved[0] == longer
    assert large["budget"]["worstCaseCents"] > small["budget"]["worstCaseCents"]
    assert not large["budget"]["clamped"]


@pytest.mark.parametrize("shape", [EIGHT, ONE])
def test_no_model_is_given_a_smaller_reservation_than_llama_2_7b(
    plan_of: Callable[..., dict[str, Any]], shape: Shape
) -> None:
    assert plan_of(shape)["budget"]["worstCaseCents"] >= plan_of(LLAMA_2_7B)["budget"]["worstCaseCents"]


def test_what_is_left_must_pay_for_the_download_and_a_useful_training(plan_of: Callable[..., dict[str, Any]]) -> None:
    whole = plan_of(THIRTEEN, smoke=True)["budget"]["worstCaseCents"]
    refused, planned = 0, []
    for cap_cents in (cents for cents in range(whole, whole + 200) if whole - 9 <= for_runs(cents) <= whole + 1):
        try:
            planned.append(plan_of(THIRTEEN, cap_cents, smoke=True)["training"]["maxRuntimeSeconds"])
        except BudgetExceeded as error:
            refused += "beside the download of 26 GB of weights" in str(error)
    assert refused and planned
    assert set(planned) == {MINIMUM_TRAINING_SECONDS}


def test_a_run_that_trains_nothing_downloads_nothing_more() -> None:
    asked = []

    def reserve(seconds: int) -> Allowance:
        asked.append(seconds)
        nothing = WorstCase(0, 0, 0, 0, 0)
        return Allowance(seconds, 0, 0, nothing, ("2026-11",), datetime(2026, 11, 1, tzinfo=UTC), False)

    assert allow(0, THIRTEEN.weights_bytes, reserve).training_seconds == 0
    assert asked == [0]
