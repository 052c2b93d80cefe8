"""A run with several seeds in its plan: what is handed on, what is expected, and what is told of those that do not fit."""

from __future__ import annotations

import pytest

from common.estimate import MEASURE_AGAIN_SECONDS
from common.pricing.durations import MINIMUM_TRAINING_SECONDS
from tests.doubles.preflight_site import Site, titled


def test_the_plan_trains_with_the_first_and_hands_on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Site(monkeypatch).run({"seeds": [7, 8, 9]})
    given = plan["training"]["hyperparameters"]
    assert (plan["seed"], given["seed"], given["more_seeds"]) == (7, "7", "8,9")
    assert "more_seeds" not in Site(monkeypatch).run()["training"]["hyperparameters"]


def test_time_and_dollars_follow_their_number_and_the_reservation_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch)
    one, three = site.run({"seed": 7}), site.run({"seeds": [7, 8, 9]})
    phases = {phase["name"]: phase["seconds"] for phase in three["estimate"]["phases"]}
    assert phases["further seeds"] == 2 * (phases["learn"] + MEASURE_AGAIN_SECONDS)
    more = three["estimate"]["trainingSeconds"] - one["estimate"]["trainingSeconds"]
    assert more == phases["further seeds"]
    dearer = three["estimate"]["expectedCents"] - one["estimate"]["expectedCents"]
    assert abs(dearer - more * 151.5 / 3600) <= 1
    assert three["estimate"]["tokens"] == one["estimate"]["tokens"], "of the first seed, whose are told in the report"
    assert three["budget"]["worstCaseCents"] == one["budget"]["worstCaseCents"]
    assert three["training"]["maxRuntimeSeconds"] == one["training"]["maxRuntimeSeconds"]
    assert three["warnings"] == []


def test_what_does_not_fit_is_told_with_the_number_that_does_and_is_not_expected_to_be_paid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site(monkeypatch)
    # A minute to learn, four to load and measure, and of each further seed three: 600 s hold the first and two more.
    site.data["medicaldataset.txt"] = titled(30, 900, 100)
    site.settings |= {"epochs": 1, "max_training_seconds": MINIMUM_TRAINING_SECONDS}
    (told,) = (plan := site.run({"seeds": [1, 2, 3, 4, 5]}))["warnings"]
    learn = next(phase["seconds"] for phase in plan["estimate"]["phases"] if phase["name"] == "learn")
    fitting = 1 + (600 - 240 - learn) // (learn + MEASURE_AGAIN_SECONDS)
    assert 1 < fitting < 5
    assert told.startswith(
        f"In the 1800 seconds that training may take (max_training_seconds, or what the cap leaves) {fitting} of the 5 seeds are expected"
    )
    assert "Raise max_training_seconds and deploy, or ask fewer seeds or epochs." in told
    asked_that_fit = site.run({"seeds": list(range(fitting))})
    assert plan["estimate"]["expectedCents"] == asked_that_fit["estimate"]["expectedCents"]
    assert asked_that_fit["warnings"] == []


def test_a_first_seed_that_does_not_fit_alone_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch)
    site.data["medicaldataset.txt"] = titled(30, 900, 100)
    site.settings |= {"max_training_seconds": MINIMUM_TRAINING_SECONDS}
    (told,) = site.run({"seeds": [1, 2], "epochs": 50})["warnings"]
    assert "not even the first of the seeds is expected to come to an end" in told
