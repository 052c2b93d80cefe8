"""What a plan reserves: at least what its job and endpoint can cost, added up here from the fields that AWS gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from common.architecture import Shape
from common.errors import BudgetExceeded
from common.pricing.costs import CHECKPOINT_BYTES_PER_RANK, for_runs
from common.pricing.durations import MINIMUM_TRAINING_SECONDS, TRAINING_MARGIN_SECONDS, WEIGHTS_DOWNLOAD_SECONDS
from preflight.model import Model
from stacks.configuration.catalog import BASE_MODELS
from tests.doubles.preflight_site import ADAPTER, SETTINGS, Site

# Seconds: for a job to pull its image and download its weights outside its longest time, for a stopped job to save and
# upload, and until a tear-down begins.
STARTING, STOPPING, NOTICING = 720 + 180, 420, 300
SPOT_WAIT = 3600
KINDS: dict[str, dict[str, Any]] = {
    "usual": {},
    "smoke": {"smoke": True},
    "kept": {"keepEndpointMinutes": 5},
    "spot": {"spot": True},
}
LLAMA_2_7B = Shape(**SETTINGS["base_model"]["shape"])
THIRTEEN, EIGHT, ONE = (BASE_MODELS[name].shape for name in ("llama-2-13b", "llama-3.1-8b", "llama-3.2-1b"))


def of_shape(shape: Shape) -> Model:
    return Model("any", shape.parameters, shape, 4096, False, shape.weights_bytes)


def most_cents(plan: dict[str, Any], keep_minutes: int) -> Decimal:
    """The most that the plan's job and endpoint can cost in cents, at the plan's own prices."""
    training, hosting, budget = plan["training"], plan["hosting"], plan["budget"]
    clock = training["maxWaitSeconds"] if training["spot"] else STARTING + training["maxRuntimeSeconds"]
    trains = (clock + STOPPING) * training["instanceCount"]
    serves = hosting["deadlineSeconds"] + hosting["downloadSeconds"] + hosting["startSeconds"] + NOTICING
    serves = (serves + keep_minutes * 60) * hosting["instanceCount"]
    hours = trains * Decimal(budget["trainingHourlyUsd"]) + serves * Decimal(budget["hostingHourlyUsd"])
    answer: Decimal = hours * 100 / 3600
    return answer


@pytest.mark.parametrize("cap_cents", [450, 500, 1000, 2500])
@pytest.mark.parametrize("instances", [1, 3])
@pytest.mark.parametrize("given", KINDS.values(), ids=KINDS)
def test_reservation_covers_the_longest_run(site: Site, given: dict[str, Any], instances: int, cap_cents: int) -> None:
    site.settings["training_instance_count"] = instances
    site.quotas.applied |= {"L-2D6DEB3C": instances, "L-CAEE7DB7": instances}
    site.cap_cents = cap_cents * instances + 150 * ("spot" in given)
    plan = site.run(given)
    assert plan["training"]["instanceCount"] == instances
    assert plan["training"]["spot"] is ("spot" in given)
    reserved = plan["budget"]["worstCaseCents"]
    assert most_cents(plan, given.get("keepEndpointMinutes", 0)) <= reserved <= site.cap_cents


@pytest.mark.parametrize("given", KINDS.values(), ids=KINDS)
def test_ledger_gets_the_times_that_the_plan_has(site: Site, given: dict[str, Any]) -> None:
    plan = site.run(given)
    training, hosting, details = plan["training"], plan["hosting"], plan["budget"]["ledgerDetails"]
    clock = training["maxWaitSeconds"] if training["spot"] else STARTING + training["maxRuntimeSeconds"]
    assert details["max_training_seconds"] == clock + STOPPING
    starting = hosting["downloadSeconds"] + hosting["startSeconds"] + NOTICING
    assert details["max_endpoint_seconds"] == hosting["deadlineSeconds"] + starting + details["keep_endpoint_seconds"]
    assert details["endpoint_deadline_seconds"] == hosting["deadlineSeconds"]
    assert details["training_instances"] == training["instanceCount"]


class TestSpot:
    @pytest.mark.parametrize("cap_cents", [800, 2500])
    @pytest.mark.parametrize("smoke", [False, True])
    def test_job_waits_an_hour_beyond_its_training(self, site: Site, smoke: bool, cap_cents: int) -> None:
        site.cap_cents = cap_cents
        training = site.run({"spot": True, "smoke": smoke})["training"]
        assert 1800 <= training["maxRuntimeSeconds"] <= 7200
        assert training["maxWaitSeconds"] == training["maxRuntimeSeconds"] + SPOT_WAIT

    def test_it_reserves_the_price_on_demand_and_more_checkpoints(self, site: Site) -> None:
        usual, spot = site.run(), site.run({"spot": True})
        assert usual["budget"]["trainingHourlyUsd"] == spot["budget"]["trainingHourlyUsd"]
        # 2,700 seconds more at $1.515 an hour, and a checkpoint in six minutes in place of one in ten.
        assert spot["budget"]["worstCaseCents"] - usual["budget"]["worstCaseCents"] == 114 + 15
        assert spot["tearDownAt"] == usual["tearDownAt"]

    def test_it_reserves_a_checkpoint_for_every_interruption_that_fits(self, site: Site) -> None:
        cents = {}
        for minutes in (1, 6, 10, 60):
            site.settings["checkpoint_minutes"] = minutes
            cents[minutes] = site.run({"spot": True})["budget"]["worstCaseCents"]
        assert cents[1] > cents[6] == cents[10] == cents[60]

    def test_its_quota_alone_counts(self, site: Site) -> None:
        site.quotas.applied["L-2D6DEB3C"] = 0.0
        assert site.run({"spot": True})["training"]["spot"]


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

    def test_longer_download_is_reserved_beside_the_training(self, plan_of: Callable[..., dict[str, Any]]) -> None:
        small, large = plan_of(LLAMA_2_7B), plan_of(THIRTEEN)
        longer = of_shape(THIRTEEN).longer_download_seconds
        assert large["training"]["maxRuntimeSeconds"] == small["training"]["maxRuntimeSeconds"] == 7200
        budgets = [plan["training"]["hyperparameters"]["time_budget_seconds"] for plan in (small, large)]
        assert budgets == [str(7200 - TRAINING_MARGIN_SECONDS), str(7200 - TRAINING_MARGIN_SECONDS - longer)]
        reserved = [plan["budget"]["ledgerDetails"]["max_training_seconds"] for plan in (small, large)]
        assert reserved[1] - reserved[0] == longer
        assert large["budget"]["worstCaseCents"] > small["budget"]["worstCaseCents"]

    @pytest.mark.parametrize("shape", [EIGHT, ONE])
    def test_no_model_reserves_less_than_llama_2_7b(self, plan_of: Callable[..., dict[str, Any]], shape: Shape) -> None:
        assert plan_of(shape)["budget"]["worstCaseCents"] >= plan_of(LLAMA_2_7B)["budget"]["worstCaseCents"]

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
        site.quotas.applied["L-T"] = 0.0
        site.add_adapter()
        served = [plan_of(shape, **ADAPTER) for shape in (LLAMA_2_7B, THIRTEEN)]
        assert [plan["budget"]["ledgerDetails"]["max_training_seconds"] for plan in served] == [0, 0]
