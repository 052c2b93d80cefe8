"""The sweeper and the kill switch: what was forgotten is found, and what runs is left alone, or ended when the alarm says so."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError
from lambda_fakes import MACHINE, NOW, TEAR_DOWN, SageMaker, StepFunctions, arn, refusal
from ledger_fakes import Books

from sweeper import handler
from sweeper.leftovers import Sweep

LONG_AGO = NOW - timedelta(hours=1)


class Site:
    """Everything of the project at one moment."""

    def __init__(self, books: Books | None = None, executions: dict[str, Any] | None = None, **resources: Any) -> None:
        self.books = books or Books()
        self.sagemaker = SageMaker(**resources)
        self.step_functions = StepFunctions({arn(name): kept for name, kept in (executions or {}).items()})

    def sweep(self, now: Any = NOW) -> Sweep:
        return Sweep(self.sagemaker, self.step_functions, self.books, MACHINE, TEAR_DOWN, now)

    @property
    def inputs(self) -> list[dict[str, str]]:
        return [json.loads(started["input"]) for started in self.step_functions.started]


def ended(moment: Any = LONG_AGO, status: str = "FAILED") -> dict[str, Any]:
    return {"status": status, "stopDate": moment}


@pytest.mark.parametrize(
    "resources",
    [{"endpoints": {"captune-lost": "InService"}}, {"jobs": {"captune-lost-try2": "InProgress"}},
     {"configurations": ["captune-lost"]}, {"models": ["captune-lost"]}],
)  # fmt: skip
def test_what_exists_without_a_reservation_is_torn_down(resources: dict[str, Any]) -> None:
    site = Site(**resources)
    assert site.sweep().remove_leftovers() == ["captune-lost"]
    assert site.inputs == [
        {"executionArn": arn("lost"), "executionName": "lost", "status": "UNKNOWN", "reason": "sweeper"}
    ]
    assert site.step_functions.started[0]["machine"] == TEAR_DOWN


def test_resources_of_others_and_jobs_that_ended_are_left_alone() -> None:
    site = Site(jobs={"captune-old": "Completed"}, endpoints={"my-captune-x": "InService"})
    assert site.sweep().remove_leftovers() == []


def test_a_run_whose_event_was_lost_is_torn_down_under_its_own_name() -> None:
    site = Site(Books().with_run("a_b", run="captune-a-b"), {"a_b": ended()}, endpoints={"captune-a-b": "InService"})
    assert site.sweep().remove_leftovers() == ["captune-a-b"]
    assert (site.inputs[0]["executionName"], site.inputs[0]["executionArn"]) == ("a_b", arn("a_b"))


def test_a_reservation_whose_execution_is_forgotten_is_settled() -> None:
    assert Site(Books().with_run("abc")).sweep().remove_leftovers() == ["captune-abc"]


def test_a_run_that_has_just_ended_is_left_to_its_event() -> None:
    site = Site(Books().with_run("abc"), {"abc": ended(NOW - timedelta(minutes=14))})
    assert site.sweep().remove_leftovers() == []
    assert site.sweep(NOW + timedelta(minutes=2)).remove_leftovers() == ["captune-abc"]


def test_a_run_that_is_running_is_left_alone_however_old() -> None:
    site = Site(Books().with_run("abc"), {"abc": {"status": "RUNNING"}}, endpoints={"captune-abc": "InService"})
    assert site.sweep(NOW + timedelta(days=1)).remove_leftovers() == []


def test_an_endpoint_that_was_asked_to_stay_stays_until_its_time_is_over() -> None:
    books = Books().with_run("abc")
    books.note("captune-abc", {"keep_until": (NOW + timedelta(minutes=30)).isoformat()})
    site = Site(books, {"abc": ended(status="SUCCEEDED")}, endpoints={"captune-abc": "InService"})
    assert site.sweep().remove_leftovers() == []
    assert site.sweep(NOW + timedelta(minutes=44)).remove_leftovers() == []
    assert site.sweep(NOW + timedelta(minutes=46)).remove_leftovers() == ["captune-abc"]


def test_a_settled_run_that_left_something_is_torn_down_once_its_own_tear_down_is_past() -> None:
    books = Books().with_run("a_b", run="captune-a-b").settled("captune-a-b", NOW)
    site = Site(books, endpoints={"captune-a-b": "InService"})
    assert site.sweep(NOW + timedelta(minutes=10)).remove_leftovers() == []
    assert site.sweep(NOW + timedelta(minutes=16)).remove_leftovers() == ["captune-a-b"]
    assert site.inputs[0]["executionArn"] == arn("a_b")


@pytest.mark.parametrize(
    "operation", ["list_training_jobs", "list_endpoints", "list_endpoint_configs", "list_models", "Scan"]
)
def test_a_run_that_begins_while_the_sweeper_looks_is_not_taken_for_a_leftover(operation: str) -> None:
    site = Site(executions={"new": {"status": "RUNNING"}})

    def begin() -> None:
        site.books.table.pause = lambda operation: None
        if not site.sagemaker.jobs:
            site.books.with_run("new")
            site.sagemaker.jobs["captune-new"] = "InProgress"
            site.sagemaker.endpoints["captune-new"] = "Creating"

    def begin_then(listing: Any, **request: Any) -> Any:
        begin()
        return listing(**request)

    if operation == "Scan":
        site.books.table.pause = lambda operation: begin()
    else:
        listing = getattr(site.sagemaker, f"on_{operation}")
        setattr(site.sagemaker, f"on_{operation}", partial(begin_then, listing))
    assert site.sweep().remove_leftovers() == []
    assert site.sagemaker.jobs, "the run has begun"


def test_two_sweeps_in_a_quarter_of_an_hour_start_one_tear_down() -> None:
    site = Site(endpoints={"captune-lost": "Creating"})
    assert site.sweep().remove_leftovers() == ["captune-lost"]
    assert site.sweep(NOW + timedelta(minutes=5)).remove_leftovers() == []
    assert site.sweep(NOW + timedelta(minutes=30)).remove_leftovers() == ["captune-lost"]


def test_a_run_that_cannot_be_judged_keeps_no_other_from_it() -> None:
    site = Site(Books().with_run("a").with_run("b"), {"a": ended(), "b": ended()})
    site.step_functions.troubles["describe_execution"] = [refusal("ThrottlingException")]
    sweep = site.sweep()
    assert sweep.remove_leftovers() == ["captune-b"]
    assert [type(problem) for problem in sweep.problems] == [ClientError]


def test_the_longest_run_name_still_makes_a_name_of_a_tear_down() -> None:
    name = "x" * 50
    assert Site(Books().with_run(name)).sweep().remove_leftovers() == [f"captune-{name}"]


def test_the_kill_switch_ends_every_running_execution_and_tears_every_run_down() -> None:
    books = Books().with_run("a").with_run("b").with_run("done").settled("captune-done")
    executions = {"a": {"status": "RUNNING"}, "b": {"status": "RUNNING"}, "done": ended()}
    site = Site(books, executions, endpoints={"captune-lost": "InService"})
    assert site.sweep().end_everything() == ["captune-a", "captune-b", "captune-lost"]
    assert {arn(n): site.step_functions.executions[arn(n)].get("error") for n in executions} == {
        arn("a"): "BudgetAlarm", arn("b"): "BudgetAlarm", arn("done"): None,
    }  # fmt: skip
    assert {one["reason"] for one in site.inputs} == {"sweeper"}


def test_the_kill_switch_ends_what_was_asked_to_stay() -> None:
    books = Books().with_run("abc")
    books.note("captune-abc", {"keep_until": (NOW + timedelta(minutes=30)).isoformat()})
    site = Site(books, {"abc": ended(status="SUCCEEDED")}, endpoints={"captune-abc": "InService"})
    assert site.sweep().end_everything() == ["captune-abc"]


def test_an_execution_that_cannot_be_stopped_keeps_no_other_from_it() -> None:
    site = Site(Books().with_run("a"), {"a": {"status": "RUNNING"}, "b": {"status": "RUNNING"}})
    site.step_functions.troubles["stop_execution"] = [refusal("ThrottlingException")]
    sweep = site.sweep()
    assert sweep.end_everything() == ["captune-a"]
    assert site.step_functions.executions[arn("b")]["status"] == "ABORTED"
    assert sweep.problems


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(Books().with_run("abc"), {"abc": {"status": "RUNNING"}})
    services = {"sagemaker": site.sagemaker, "stepfunctions": site.step_functions, "dynamodb": site.books.table}
    monkeypatch.setattr(handler, "client", services.__getitem__)
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
