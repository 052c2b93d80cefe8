"""The sweeper and the kill switch: what was forgotten is found, and what runs is left alone, or ended when the alarm says so."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.names import run_name
from common.pricing.durations import LONGEST_ENDPOINT_SECONDS
from common.resources import LONGEST_TRAINING_JOB
from sweeper import handler
from tests.doubles.lambda_fakes import MACHINE, NOW, TEAR_DOWN, arn, refusal
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.sweeper_site import Site, ended


@pytest.mark.parametrize(
    "resources",
    [{"endpoints": {"captune-lost": "InService"}}, {"jobs": {"captune-lost-try2": "InProgress"}},
     {"configurations": ["captune-lost"]}, {"models": ["captune-lost"]}],
)  # fmt: skip
def test_what_exists_without_a_reservation_is_torn_down(resources: dict[str, Any]) -> None:
    site = Site(**resources)
    assert site.sweep().remove_leftovers() == ["captune-lost"]
    assert site.inputs == [
        {
            "runName": "captune-lost",
            "executionArn": arn("lost"),
            "executionName": "lost",
            "status": "UNKNOWN",
            "reason": "sweeper",
        }
    ]
    assert site.step_functions.started[0]["machine"] == TEAR_DOWN


def test_resources_of_others_and_jobs_that_ended_are_left_alone() -> None:
    site = Site(jobs={"captune-old": "Completed"}, endpoints={"my-captune-x": "InService"})
    assert site.sweep().remove_leftovers() == []


def test_of_training_jobs_only_what_can_still_run_is_read() -> None:
    site = Site()
    site.sweep().remove_leftovers()
    asked = site.sagemaker.called("list_training_jobs")
    assert {one["CreationTimeAfter"] for one in asked} == {NOW - LONGEST_TRAINING_JOB}


def test_a_run_whose_event_was_lost_is_torn_down_under_its_own_name() -> None:
    run = run_name("a_b")
    site = Site(FakeLedger().with_run("a_b", run=run), {"a_b": ended()}, endpoints={run: "InService"})
    assert site.sweep().remove_leftovers() == [run]
    assert (site.inputs[0]["executionName"], site.inputs[0]["executionArn"]) == ("a_b", arn("a_b"))
    assert site.inputs[0]["runName"] == run


def test_a_reservation_whose_execution_is_forgotten_is_settled() -> None:
    assert Site(FakeLedger().with_run("abc")).sweep().remove_leftovers() == ["captune-abc"]


def test_a_run_that_has_just_ended_is_left_to_its_event() -> None:
    site = Site(FakeLedger().with_run("abc"), {"abc": ended(NOW - timedelta(minutes=14))})
    assert site.sweep().remove_leftovers() == []
    assert site.sweep(NOW + timedelta(minutes=2)).remove_leftovers() == ["captune-abc"]


def test_a_run_that_is_running_is_left_alone_until_nothing_could_run_for_so_long() -> None:
    site = Site(FakeLedger().with_run("abc"), {"abc": {"status": "RUNNING"}}, models=["captune-abc"])
    begin = site.sagemaker.created
    assert site.sweep(begin + timedelta(hours=12)).remove_leftovers() == []
    assert site.sweep(begin + timedelta(hours=12, seconds=1)).remove_leftovers() == ["captune-abc"]
    assert (
        Site(FakeLedger().with_run("abc"), {"abc": {"status": "RUNNING"}})
        .sweep(NOW + timedelta(days=9))
        .remove_leftovers()
        == []
    )


def test_a_run_that_outlives_the_end_of_its_reservation_is_torn_down_though_it_runs() -> None:
    ledger = FakeLedger().with_run("abc", ends_by=NOW.isoformat())
    site = Site(ledger, {"abc": {"status": "RUNNING"}})
    assert site.sweep(NOW).remove_leftovers() == []
    assert site.sweep(NOW + timedelta(seconds=1)).remove_leftovers() == ["captune-abc"]


def test_an_endpoint_that_outlives_its_deadline_is_torn_down_though_its_run_goes_on() -> None:
    ledger = FakeLedger().with_run("abc", endpoint_deadline_seconds=3600)
    site = Site(
        ledger, {"abc": {"status": "RUNNING"}}, endpoints={"captune-abc": "Failed", "captune-abc-try2": "InService"}
    )
    site.sagemaker.created_at["captune-abc"] = NOW - timedelta(minutes=60)
    assert site.sweep(NOW).remove_leftovers() == []
    assert site.sweep(NOW + timedelta(seconds=1)).remove_leftovers() == ["captune-abc"]


def test_a_job_has_no_endpoints_deadline() -> None:
    ledger = FakeLedger().with_run("abc", endpoint_deadline_seconds=60)
    site = Site(ledger, {"abc": {"status": "RUNNING"}}, jobs={"captune-abc": "InProgress"})
    assert site.sweep(NOW).remove_leftovers() == []


def test_without_a_deadline_of_its_own_an_endpoint_has_the_longest_that_any_has() -> None:
    site = Site(FakeLedger().with_run("abc"), {"abc": {"status": "RUNNING"}}, endpoints={"captune-abc": "InService"})
    longest = site.sagemaker.created + timedelta(seconds=LONGEST_ENDPOINT_SECONDS)
    assert site.sweep(longest).remove_leftovers() == []
    assert site.sweep(longest + timedelta(seconds=1)).remove_leftovers() == ["captune-abc"]


def test_an_endpoint_that_was_asked_to_stay_stays_until_its_time_is_over() -> None:
    ledger = FakeLedger().with_run("abc")
    ledger.note("captune-abc", {"keep_until": (NOW + timedelta(minutes=30)).isoformat()})
    site = Site(ledger, {"abc": ended(status="SUCCEEDED")}, endpoints={"captune-abc": "InService"})
    assert site.sweep().remove_leftovers() == []
    assert site.sweep(NOW + timedelta(minutes=44)).remove_leftovers() == []
    assert site.sweep(NOW + timedelta(minutes=46)).remove_leftovers() == ["captune-abc"]


def test_a_settled_run_that_left_something_is_torn_down_once_its_own_tear_down_is_past() -> None:
    ledger = FakeLedger().with_run("a-b").settled("captune-a-b", NOW)
    site = Site(ledger, endpoints={"captune-a-b": "InService"})
    assert site.sweep(NOW + timedelta(minutes=10)).remove_leftovers() == []
    assert site.sweep(NOW + timedelta(minutes=16)).remove_leftovers() == ["captune-a-b"]
    assert site.inputs[0]["executionArn"] == arn("a-b")


@pytest.mark.parametrize(
    "operation", ["list_training_jobs", "list_endpoints", "list_endpoint_configs", "list_models", "Scan"]
)
def test_a_run_that_begins_while_the_sweeper_looks_is_not_taken_for_a_leftover(operation: str) -> None:
    site = Site(executions={"new": {"status": "RUNNING"}})

    def begin() -> None:
        site.ledger.table.pause = lambda operation: None
        if not site.sagemaker.jobs:
            site.ledger.with_run("new")
            site.sagemaker.jobs["captune-new"] = "InProgress"
            site.sagemaker.endpoints["captune-new"] = "Creating"

    def begin_then(listing: Any, **request: Any) -> Any:
        begin()
        return listing(**request)

    if operation == "Scan":
        site.ledger.table.pause = lambda operation: begin()
    else:
        listing = getattr(site.sagemaker, f"on_{operation}")
        setattr(site.sagemaker, f"on_{operation}", partial(begin_then, listing))
    assert site.sweep().remove_leftovers() == []
    assert site.sagemaker.jobs, "the run has begun"


def test_one_tear_down_of_the_sweeper_at_a_time_is_enough_for_a_run_because_it_does_not_give_up() -> None:
    site = Site(endpoints={"captune-lost": "Creating", "captune-lost-2": "Creating"})
    assert site.sweep().remove_leftovers() == ["captune-lost", "captune-lost-2"]
    assert site.sweep(NOW + timedelta(hours=5)).remove_leftovers() == []
    site.step_functions.executions[site.tear_downs[0]]["status"] = "SUCCEEDED"
    assert site.sweep(NOW + timedelta(hours=6)).remove_leftovers() == ["captune-lost"]


def test_a_tear_down_of_a_run_with_a_longer_name_is_another_runs() -> None:
    site = Site(endpoints={"captune-a": "Creating", "captune-a-sweep-b": "Creating"})
    site.step_functions.on_start_execution(TEAR_DOWN, "captune-a-sweep-b-sweep-2611241200", "{}")
    site.step_functions.on_start_execution(TEAR_DOWN, "6a4f1c2e-9d3b-4f57-8a10-0123456789ab", "{}")
    assert site.sweep(NOW + timedelta(hours=1)).remove_leftovers() == ["captune-a"]


def test_two_sweeps_in_a_minute_start_one_tear_down_though_neither_sees_the_others() -> None:
    site = Site(endpoints={"captune-lost": "Creating"})
    assert site.sweep().remove_leftovers() == ["captune-lost"]
    site.step_functions.executions.clear()
    second = site.sweep(NOW + timedelta(seconds=59))
    assert (second.remove_leftovers(), second.problems) == ([], [])
    site.step_functions.executions.clear()
    assert site.sweep(NOW + timedelta(seconds=60)).remove_leftovers() == ["captune-lost"]


def test_a_run_that_cannot_be_judged_keeps_no_other_from_it() -> None:
    site = Site(FakeLedger().with_run("a").with_run("b"), {"a": ended(), "b": ended()})
    site.step_functions.troubles["describe_execution"] = [refusal("ThrottlingException")]
    sweep = site.sweep()
    assert sweep.remove_leftovers() == ["captune-b"]
    assert [type(problem) for problem in sweep.problems] == [ClientError]


def test_the_longest_run_name_still_makes_a_name_of_a_tear_down() -> None:
    name = "x" * 50
    assert Site(FakeLedger().with_run(name)).sweep().remove_leftovers() == [f"captune-{name}"]


def test_the_kill_switch_ends_every_running_execution_and_tears_every_run_down() -> None:
    ledger = FakeLedger().with_run("a").with_run("b").with_run("done").settled("captune-done")
    executions = {"a": {"status": "RUNNING"}, "b": {"status": "RUNNING"}, "done": ended()}
    site = Site(ledger, executions, endpoints={"captune-lost": "InService"})
    assert site.sweep().end_everything() == ["captune-a", "captune-b", "captune-lost"]
    assert {arn(n): site.step_functions.executions[arn(n)].get("error") for n in executions} == {
        arn("a"): "BudgetAlarm", arn("b"): "BudgetAlarm", arn("done"): None,
    }  # fmt: skip
    assert {one["reason"] for one in site.inputs} == {"sweeper"}


def test_the_kill_switch_tears_down_a_run_that_has_just_begun_and_has_nothing_yet() -> None:
    site = Site(executions={"new": {"status": "RUNNING"}})
    assert site.sweep().end_everything() == ["captune-new"]
    assert site.step_functions.executions[arn("new")]["error"] == "BudgetAlarm"


def test_the_kill_switch_ends_what_was_asked_to_stay() -> None:
    ledger = FakeLedger().with_run("abc")
    ledger.note("captune-abc", {"keep_until": (NOW + timedelta(minutes=30)).isoformat()})
    site = Site(ledger, {"abc": ended(status="SUCCEEDED")}, endpoints={"captune-abc": "InService"})
    assert site.sweep().end_everything() == ["captune-abc"]


def test_an_execution_that_cannot_be_stopped_keeps_no_other_from_it() -> None:
    site = Site(FakeLedger().with_run("a"), {"a": {"status": "RUNNING"}, "b": {"status": "RUNNING"}})
    site.step_functions.troubles["stop_execution"] = [refusal("ThrottlingException")]
    sweep = site.sweep()
    assert sweep.end_everything() == ["captune-a", "captune-b"]
    assert site.step_functions.executions[arn("b")]["status"] == "ABORTED"
    assert sweep.problems


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(FakeLedger().with_run("abc"), {"abc": {"status": "RUNNING"}})
    services = {"sagemaker": site.sagemaker, "stepfunctions": site.step_functions, "dynamodb": site.ledger.table}
    monkeypatch.setattr(handler, "hasty_client", services.__getitem__)
    for name, value in {"LEDGER_TABLE": "ledger", "FINE_TUNING_ARN": MACHINE, "TEAR_DOWN_ARN": TEAR_DOWN}.items():
        monkeypatch.setenv(name, value)
    return site


def test_the_half_hourly_rule_sweeps(site: Site) -> None:
    assert handler.handle({"reason": "sweep"}, None) == {"tearDowns": []}
    assert site.step_functions.executions[arn("abc")]["status"] == "RUNNING"


def test_a_notification_of_the_budget_ends_everything(site: Site) -> None:
    notification = {
        "Records": [{"EventSource": "aws:sns", "Sns": {"Message": "AWS Budgets: captune has exceeded 100%"}}]
    }
    assert handler.handle(notification, None) == {"tearDowns": ["captune-abc"]}
    assert site.step_functions.executions[arn("abc")]["error"] == "BudgetAlarm"


def test_trouble_fails_the_function_after_everything_was_tried_so_that_lambda_calls_again(site: Site) -> None:
    site.step_functions.troubles["stop_execution"] = [refusal("ThrottlingException")]
    with pytest.raises(ClientError):
        handler.handle({"Records": [{}]}, None)
    assert len(site.step_functions.started) == 1
