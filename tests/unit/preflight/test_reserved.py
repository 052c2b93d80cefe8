"""What a plan lets start is what it reserves: read from the fields that the state machine reads, and added up apart."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.doubles.preflight_site import Site

# Of SageMaker: how long a job may pull its image and download its weights outside its longest time, how long one that is told
# to stop may still save and upload, and how long until a tear-down is noticed.
STARTING, STOPPING, NOTICING = 720 + 180, 420, 300


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


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


@pytest.mark.parametrize("cap_cents", [550, 1000, 2500])
@pytest.mark.parametrize("instances", [1, 3])
def test_a_spot_job_is_paid_for_as_long_as_its_clock_runs(site: Site, cap_cents: int, instances: int) -> None:
    site.settings["training_instance_count"], site.cap_cents = instances, cap_cents * instances
    site.quotas.applied["L-CAEE7DB7"] = 3.0
    plan = site.run({"spot": True})
    assert plan["training"]["spot"] is True
    assert most_cents(plan, 0) <= plan["budget"]["worstCaseCents"] <= cap_cents * instances


@pytest.mark.parametrize("cap_cents", [400, 450, 1000, 2500])
@pytest.mark.parametrize("asked", [{}, {"smoke": True}, {"keepEndpointMinutes": 5}], ids=["usual", "smoke", "kept"])
def test_the_reservation_covers_the_longest_job_and_endpoint_that_the_plan_lets_start(
    site: Site, asked: dict[str, Any], cap_cents: int
) -> None:
    site.cap_cents = cap_cents
    plan = site.run(asked)
    reserved = plan["budget"]["worstCaseCents"]
    assert most_cents(plan, asked.get("keepEndpointMinutes", 0)) <= reserved <= cap_cents


@pytest.mark.parametrize("asked", [{}, {"smoke": True}, {"keepEndpointMinutes": 5}], ids=["usual", "smoke", "kept"])
def test_the_ledger_is_told_the_times_that_the_plan_starts_with(site: Site, asked: dict[str, Any]) -> None:
    plan = site.run(asked)
    training, hosting, details = plan["training"], plan["hosting"], plan["budget"]["ledgerDetails"]
    assert details["max_training_seconds"] == STARTING + training["maxRuntimeSeconds"] + STOPPING
    starting = hosting["downloadSeconds"] + hosting["startSeconds"] + NOTICING
    assert details["max_endpoint_seconds"] == hosting["deadlineSeconds"] + starting + details["keep_endpoint_seconds"]
    assert details["endpoint_deadline_seconds"] == hosting["deadlineSeconds"]
    assert details["training_instances"] == training["instanceCount"]


@pytest.mark.parametrize("cap_cents", [700, 1000, 2500])
def test_several_instances_are_all_paid_for(site: Site, cap_cents: int) -> None:
    alone = site.run()["budget"]["worstCaseCents"]
    site.settings["training_instance_count"], site.cap_cents = 3, cap_cents
    site.quotas.applied["L-2D6DEB3C"] = 3.0
    plan = site.run()
    assert plan["training"]["instanceCount"] == 3
    assert most_cents(plan, 0) <= plan["budget"]["worstCaseCents"] <= cap_cents
    assert plan["budget"]["clamped"] == (cap_cents < 2500)
    assert plan["budget"]["clamped"] or plan["budget"]["worstCaseCents"] > 2 * alone
