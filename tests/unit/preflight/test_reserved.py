"""What a plan reserves for models of other sizes than Llama 2 7B."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from common.architecture import Shape
from common.errors import BudgetExceeded
from common.pricing.costs import CHECKPOINT_BYTES_PER_RANK, for_runs
from common.pricing.durations import MINIMUM_TRAINING_SECONDS, TRAINING_MARGIN_SECONDS, WEIGHTS_DOWNLOAD_SECONDS
from preflight.model import Model
from stacks.configuration.catalog import BASE_MODELS
from tests.doubles.preflight_site import ADAPTER, SETTINGS, Site

LLAMA_2_7B = Shape(**SETTINGS["base_model"]["shape"])
THIRTEEN, EIGHT, ONE = (BASE_MODELS[name].shape for name in ("llama-2-13b", "llama-3.1-8b", "llama-3.2-1b"))


def of_shape(shape: Shape) -> Model:
    return Model("any", shape.parameters, shape, 4096, False, shape.weights_bytes)


class TestLargerModels:
    @pytest.fixture
    def plan_of(self, site: Site) -> Callable[..., dict[str, Any]]:
        """Plans a run of a model of this shape on a card that holds thirteen billion parameters in 16 bits."""
        kind = "ml.g6e.2xlarge"
        site.settings["training_instance_types"] = site.settings["hosting_instance_types"] = [kind]
        site.quotas.names = {"L-T": f"{kind} for training job usage", "L-E": f"{kind} for endpoint usage"}
        site.quotas.applied = {"L-T": 1.0, "L-E": 1.0}

        def plan(shape: Shape, cap_cents: int = 2500, **given: Any) -> dict[str, Any]:
            site.cap_cents = cap_cents
            site.settings["base_model"] = {**SETTINGS["base_model"], "shape": dataclasses.asdict(shape)}
            planned: dict[str, Any] = site.run(given)
            return planned

        return plan

    @pytest.mark.parametrize(
        ("shape", "seconds", "rank"),
        [(LLAMA_2_7B, 0, 16), (ONE, 0, 16), (EIGHT, 0, 17), (THIRTEEN, 261 - WEIGHTS_DOWNLOAD_SECONDS, 26)],
    )
    def test_larger_download_and_adapter_are_added(self, shape: Shape, seconds: int, rank: int) -> None:
        model = of_shape(shape)
        assert (model.longer_download_seconds, model.checkpoint_rank(16)) == (seconds, rank)
        # The adapter and both moments of Adam in 32 bits.
        assert 12 * shape.adapter_parameters(16) < rank * CHECKPOINT_BYTES_PER_RANK

    def test_longer_download_is_taken_from_the_time_to_learn_in(self, plan_of: Callable[..., dict[str, Any]]) -> None:
        small, large = plan_of(LLAMA_2_7B), plan_of(THIRTEEN)
        longer = of_shape(THIRTEEN).longer_download_seconds
        assert large["training"]["maxRuntimeSeconds"] == small["training"]["maxRuntimeSeconds"] == 7200
        budgets = [plan["training"]["hyperparameters"]["time_budget_seconds"] for plan in (small, large)]
        assert budgets == [str(7200 - TRAINING_MARGIN_SECONDS), str(7200 - TRAINING_MARGIN_SECONDS - longer)]

    def test_cap_has_to_pay_for_download_and_a_useful_training(self, plan_of: Callable[..., dict[str, Any]]) -> None:
        whole = plan_of(THIRTEEN, smoke=True)["budget"]["worstCaseCents"]
        refused, planned = 0, []
        for cap_cents in (cents for cents in range(whole, whole + 200) if whole - 9 <= for_runs(cents) <= whole + 1):
            try:
                planned.append(plan_of(THIRTEEN, cap_cents, smoke=True)["training"]["maxRuntimeSeconds"])
            except BudgetExceeded as error:
                refused += "beside the download of 26 GB of weights" in str(error)
        assert refused and planned
        assert set(planned) == {MINIMUM_TRAINING_SECONDS}

    def test_run_that_trains_nothing_downloads_nothing_more(self, site: Site, plan_of: Callable[..., Any]) -> None:
        site.add_adapter()
        assert plan_of(THIRTEEN, **ADAPTER)["budget"]["ledgerDetails"]["max_training_seconds"] == 0
