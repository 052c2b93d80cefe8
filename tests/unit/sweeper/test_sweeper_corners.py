"""Corners of a sweep: the very second in which a time is over, what each trouble becomes, and what a tear-down is called."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.doubles.lambda_fakes import NOW, TEAR_DOWN, refusal
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.sweeper_site import Site, ended

SECOND, GRACE = timedelta(seconds=1), timedelta(minutes=15)


def test_a_settled_run_is_left_alone_for_a_quarter_of_an_hour_to_the_second() -> None:
    site = Site(FakeLedger().with_run("abc").settled("captune-abc", NOW), endpoints={"captune-abc": "InService"})
    assert site.sweep(NOW + GRACE).remove_leftovers() == []
    assert site.sweep(NOW + GRACE + SECOND).remove_leftovers() == ["captune-abc"]


def test_a_kept_endpoint_is_left_to_its_schedule_for_less_than_a_quarter_of_an_hour() -> None:
    ledger = FakeLedger().with_run("abc")
    ledger.note("captune-abc", {"keep_until": NOW.isoformat()})
    site = Site(ledger, {"abc": ended(status="SUCCEEDED")}, endpoints={"captune-abc": "InService"})
    assert site.sweep(NOW + GRACE - SECOND).remove_leftovers() == []
    assert site.sweep(NOW + GRACE).remove_leftovers() == ["captune-abc"]


def test_a_tear_down_bears_the_runs_name_and_the_minute_in_which_it_was_begun() -> None:
    site = Site(endpoints={"captune-lost": "InService"})
    site.sweep(NOW + timedelta(minutes=34, seconds=56)).remove_leftovers()
    assert [started["name"] for started in site.step_functions.started] == ["captune-lost-sweep-2611241234"]


def test_where_nothing_is_left_over_no_tear_down_is_looked_for() -> None:
    site = Site()
    site.sweep().remove_leftovers()
    asked = [request["stateMachineArn"] for request in site.step_functions.called("list_executions")]
    assert asked and TEAR_DOWN not in asked


def test_a_run_that_could_not_be_judged_for_any_reason_is_not_torn_down() -> None:
    site = Site(FakeLedger().with_run("a").with_run("b"), {"a": ended(), "b": ended()})
    trouble = RuntimeError("an answer that nobody foresaw")
    site.step_functions.troubles["describe_execution"] = [trouble]
    sweep = site.sweep()
    assert (sweep.remove_leftovers(), sweep.problems) == (["captune-b"], [trouble])


@pytest.mark.parametrize("operation", ["list_endpoints", "list_models"])
def test_what_could_not_be_listed_is_a_problem_of_the_sweep(operation: str) -> None:
    site, trouble = Site(), refusal("ThrottlingException")
    site.sagemaker.troubles[operation] = [trouble]
    sweep = site.sweep()
    assert (sweep.remove_leftovers(), sweep.problems) == ([], [trouble])


def test_a_tear_down_that_could_not_be_started_is_a_problem_of_the_sweep_though_all_was_removed() -> None:
    site, trouble = Site(endpoints={"captune-lost": "InService"}), refusal("ThrottlingException")
    site.step_functions.troubles["start_execution"] = [trouble]
    sweep = site.sweep()
    assert sweep.remove_leftovers() == ["captune-lost"]
    assert sweep.problems == [trouble]
