"""keepEndpointMinutes: an endpoint stays after a success as long as it was asked to, and not a pass longer."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.doubles.lambda_fakes import arn
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.teardown_site import EVENT, SCHEDULE, Site


def kept(minutes: int = 30) -> FakeLedger:
    return FakeLedger().with_run("abc", keep_endpoint_seconds=minutes * 60)


SUCCESS = {**EVENT, "status": "SUCCEEDED"}


def test_an_endpoint_that_was_asked_to_stay_stays_after_a_success() -> None:
    site = Site(kept(), execution="SUCCEEDED", endpoints={"captune-abc": "InService"})
    outcome = site.tear_down(SUCCESS)
    assert (outcome["keep"], outcome["keepUntil"], outcome["quiet"]) == (True, "2026-11-24T12:30:00", False)
    assert site.sagemaker.endpoints == {"captune-abc": "InService"}


def test_a_second_event_does_not_lengthen_the_stay() -> None:
    site = Site(kept(), execution="SUCCEEDED", endpoints={"captune-abc": "InService"})
    site.tear_down(SUCCESS)
    assert site.tear_down(SUCCESS, after=timedelta(minutes=10))["keepUntil"] == "2026-11-24T12:30:00"
    assert not site.tear_down(SUCCESS, after=timedelta(minutes=31))["keep"]


@pytest.mark.parametrize(
    "event", [EVENT, SCHEDULE, {**SUCCESS, "reason": "schedule"}, {**SUCCESS, "reason": "sweeper"}]
)
def test_nothing_stays_after_a_failure_or_when_the_schedule_or_the_sweeper_comes(event: dict[str, str]) -> None:
    site = Site(
        kept(), execution=event["status"].replace("UNKNOWN", "SUCCEEDED"), endpoints={"captune-abc": "InService"}
    )
    assert not site.tear_down(event)["keep"]
    assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}


def test_nothing_stays_that_was_not_asked_for_or_is_settled() -> None:
    settled = kept().settled("captune-abc")
    assert not Site(execution="SUCCEEDED").tear_down(SUCCESS)["keep"]
    assert not Site(settled, execution="SUCCEEDED").tear_down(SUCCESS)["keep"]
    assert not Site(FakeLedger(), execution="SUCCEEDED").tear_down(SUCCESS)["keep"]


@pytest.mark.parametrize("operation", ["GetItem", "UpdateItem"])
def test_nothing_stays_whose_end_the_ledger_does_not_hold(operation: str) -> None:
    site = Site(kept(), execution="SUCCEEDED", endpoints={"captune-abc": "InService"})
    site.ledger.table.trouble = lambda called: "throttled" if called == operation else None
    outcome = site.tear_down(SUCCESS)
    assert (outcome["keep"], outcome["problems"]) == (False, [])
    assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}


def test_nothing_stays_of_an_execution_that_another_reservation_speaks_of() -> None:
    site = Site(kept(), execution="SUCCEEDED", endpoints={"captune-abc": "InService"})
    site.step_functions.executions[arn("other")] = {"status": "SUCCEEDED"}
    assert not site.tear_down({**SUCCESS, "executionArn": arn("other")})["keep"]


@pytest.mark.parametrize(
    ("told", "described", "stays"), [("SUCCEEDED", "FAILED", False), ("FAILED", "SUCCEEDED", True)]
)
def test_a_success_is_what_step_functions_says(told: str, described: str, stays: bool) -> None:
    site = Site(kept(), execution=described, endpoints={"captune-abc": "InService"})
    assert site.tear_down({**SUCCESS, "status": told})["keep"] is stays


def test_a_success_that_step_functions_has_forgotten_is_the_one_that_was_told() -> None:
    site = Site(kept(), endpoints={"captune-abc": "InService"})
    site.step_functions.executions.clear()
    assert site.tear_down(SUCCESS)["keep"]
    assert not site.tear_down({**SUCCESS, "status": "FAILED"})["keep"]


def test_what_stays_is_not_quiet_and_nothing_of_it_was_touched() -> None:
    site = Site(kept(), execution="SUCCEEDED", endpoints={"captune-abc": "InService"})
    assert site.tear_down(SUCCESS) == {
        "runName": "captune-abc", "found": [], "quiet": False, "keep": True, "keepUntil": "2026-11-24T12:30:00",
        "running": False, "seen": {}, "problems": [],
    }  # fmt: skip
    assert site.sagemaker.calls == []


def test_nothing_stays_in_the_second_in_which_its_time_is_over() -> None:
    site = Site(kept(), execution="SUCCEEDED", endpoints={"captune-abc": "InService"})
    site.tear_down(SUCCESS)
    assert site.tear_down(SUCCESS, after=timedelta(minutes=29, seconds=59))["keep"]
    assert not site.tear_down(SUCCESS, after=timedelta(minutes=30))["keep"]
    assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}


def test_nothing_stays_of_a_run_whose_item_does_not_tell_of_it() -> None:
    ledger = kept()
    del ledger.table.rows["RUN#captune-abc"]["keep_endpoint_seconds"]
    assert not Site(ledger, execution="SUCCEEDED").tear_down(SUCCESS)["keep"]
