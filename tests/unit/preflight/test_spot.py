"""Preflight of a run on spot instances: its plan, what it sets aside, its quota, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import InvalidInput, QuotaTooLow, SpotWithoutCheckpoints
from common.pricing.durations import SPOT_WAIT_SECONDS, TRAINING_STOP_ALLOWANCE_SECONDS
from tests.doubles.preflight_site import Site
from tests.doubles.service_quotas import ServiceQuotas

ON_DEMAND, SPOT, ENDPOINT = "L-2D6DEB3C", "L-CAEE7DB7", "L-9614C779"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(monkeypatch)
    made.quotas = ServiceQuotas({ON_DEMAND: 1.0, SPOT: 1.0, ENDPOINT: 1.0})
    return made


class TestWhoWantsSpot:
    @pytest.mark.parametrize(
        ("setting", "given", "spot"),
        [
            (False, {}, False),
            (True, {}, True),
            (False, {"spot": True}, True),
            (True, {"spot": False}, False),
        ],
    )
    def test_the_input_counts_before_the_setting(
        self, site: Site, setting: bool, given: dict[str, Any], spot: bool
    ) -> None:
        site.settings["spot"] = setting
        assert site.run(given)["training"]["spot"] is spot

    def test_a_run_that_trains_nothing_has_none(self, site: Site) -> None:
        uri = "s3://bucket/runs/captune-old/training/captune-old/output/model/"
        said = site.refusal(InvalidInput, {"adapterUri": uri, "spot": True})
        assert "`spot` says how to train, and `adapterUri` that nothing is trained: give one of them" in said

    @pytest.mark.parametrize("value", ["true", 1, None])
    def test_what_is_neither_true_nor_false_is_refused(self, site: Site, value: Any) -> None:
        assert "`spot` must be true or false" in site.refusal(InvalidInput, {"spot": value})


class TestThePlan:
    def test_lets_the_job_wait_an_hour_beyond_its_training(self, site: Site) -> None:
        training = site.run({"spot": True})["training"]
        assert (training["maxRuntimeSeconds"], training["maxWaitSeconds"]) == (7200, 7200 + 3600)
        smoke = site.run({"spot": True, "smoke": True})["training"]
        assert smoke["maxWaitSeconds"] == smoke["maxRuntimeSeconds"] + 3600

    def test_sets_aside_at_the_price_on_demand_all_that_the_clock_allows(self, site: Site) -> None:
        usual, spot = site.run()["budget"], site.run({"spot": True})["budget"]
        seconds = [budget["ledgerDetails"]["max_training_seconds"] for budget in (usual, spot)]

        assert seconds == [7200 + 900 + 420, 7200 + SPOT_WAIT_SECONDS + TRAINING_STOP_ALLOWANCE_SECONDS]
        assert usual["trainingHourlyUsd"] == spot["trainingHourlyUsd"]
        # 2,700 seconds more at $1.515 an hour, rounded up as a whole, and a checkpoint in six minutes in place of one in ten.
        assert spot["worstCaseCents"] - usual["worstCaseCents"] == 114 + 15

    def test_sets_aside_a_checkpoint_for_every_interruption_that_the_clock_has_room_for(self, site: Site) -> None:
        cents = {}
        for minutes in (1, 6, 10, 60):
            site.settings["checkpoint_minutes"] = minutes
            cents[minutes] = site.run({"spot": True})["budget"]["worstCaseCents"]
        assert cents[1] > cents[6] == cents[10] == cents[60]

    def test_ends_no_later_than_one_on_demand_for_three_attempts_may_wait_longer(self, site: Site) -> None:
        assert site.run({"spot": True})["tearDownAt"] == site.run()["tearDownAt"]

    def test_gets_less_time_where_less_is_left_and_waits_as_long(self, site: Site) -> None:
        site.cap_cents = 800
        training = site.run({"spot": True})["training"]
        assert 1800 <= training["maxRuntimeSeconds"] < 7200
        assert training["maxWaitSeconds"] == training["maxRuntimeSeconds"] + SPOT_WAIT_SECONDS


class TestTheQuota:
    def test_is_the_one_of_spot_and_no_other(self, site: Site) -> None:
        site.quotas = ServiceQuotas({ON_DEMAND: 0.0, SPOT: 1.0, ENDPOINT: 1.0})
        assert site.run({"spot": True})["training"]["spot"] is True

        site.quotas = ServiceQuotas({ON_DEMAND: 1.0, SPOT: 0.0, ENDPOINT: 1.0})
        assert site.run()["training"]["spot"] is False
        said = site.refusal(QuotaTooLow, {"spot": True})
        assert 'the quota "ml.g5.2xlarge for spot training job usage" (code L-CAEE7DB7) is 0 and 1 is needed' in said


class TestWithoutCheckpoints:
    def test_it_is_refused_by_name_for_an_interrupted_job_would_begin_anew(self, site: Site) -> None:
        site.settings["checkpoint_minutes"] = 0
        said = site.refusal(SpotWithoutCheckpoints, {"spot": True})
        assert "Set checkpoint_minutes in cdk.json to 10 and deploy" in said

    def test_a_run_on_demand_may_do_without(self, site: Site) -> None:
        site.settings["checkpoint_minutes"] = 0
        plan = site.run()
        assert plan["training"]["hyperparameters"]["checkpoint_minutes"] == "0"
        assert plan["budget"]["worstCaseCents"] < 639
