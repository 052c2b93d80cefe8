"""The tear-down of one run: whatever it finds and whenever it comes, nothing that bills stays, and nothing of others goes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from lambda_fakes import arn, refusal
from ledger_fakes import Books
from teardown_site import EVENT, SCHEDULE, Site

from common.errors import ServiceUnreachable
from common.names import belongs_to
from teardown import handler
from teardown.removal import nothing_to_remove


def test_a_run_that_left_nothing_is_quiet() -> None:
    assert Site().tear_down() == {"runName": "captune-abc", "found": [], "quiet": True, "keep": False}


def test_a_training_job_is_stopped_and_waited_for() -> None:
    site = Site(jobs={"captune-abc": "InProgress"})
    assert site.tear_down()["found"] == ["training job captune-abc: InProgress"]
    assert site.tear_down()["found"] == ["training job captune-abc: Stopping"]
    assert len(site.sagemaker.called("stop_training_job")) == 1
    site.sagemaker.jobs["captune-abc"] = "Stopped"
    assert site.tear_down()["quiet"]


def test_an_endpoint_that_is_creating_is_waited_for_because_it_cannot_be_deleted() -> None:
    site = Site(endpoints={"captune-abc": "Creating"})
    assert site.tear_down()["found"] == ["endpoint captune-abc: Creating"]
    assert not site.sagemaker.called("delete_endpoint")
    site.sagemaker.endpoints["captune-abc"] = "InService"
    assert not site.tear_down()["quiet"]
    assert site.sagemaker.called("delete_endpoint") == [{"EndpointName": "captune-abc"}]


@pytest.mark.parametrize("status", ["InService", "OutOfService", "Failed", "UpdateRollbackFailed"])
def test_an_endpoint_that_stands_still_is_deleted(status: str) -> None:
    site = Site(endpoints={"captune-abc": status})
    site.tear_down()
    assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}


def test_configuration_and_model_go_when_the_endpoint_is_gone_and_not_before() -> None:
    site = Site(endpoints={"captune-abc": "InService"}, configurations=["captune-abc"], models=["captune-abc"])
    site.tear_down()
    assert site.sagemaker.configurations
    del site.sagemaker.endpoints["captune-abc"]
    assert site.tear_down()["found"] == ["endpoint configuration captune-abc", "model captune-abc"]
    assert not site.sagemaker.configurations
    assert not site.sagemaker.models
    assert site.tear_down()["quiet"]


def test_later_attempts_of_the_run_go_with_it_and_every_page_is_read() -> None:
    names = ["captune-abc", "captune-abc-try2", "captune-abc-try3"]
    site = Site(jobs=dict.fromkeys(names, "InProgress"), endpoints=dict.fromkeys(names, "InService"))
    site.tear_down()
    assert set(site.sagemaker.jobs.values()) == {"Stopping"}
    assert set(site.sagemaker.endpoints.values()) == {"Deleting"}


def test_runs_whose_names_begin_or_end_like_this_one_are_untouched() -> None:
    others = [
        "captune-abcd",
        "captune-abc-2",
        "captune-abc-try2-more",
        "my-captune-abc",
        "captune-abc-trying",
        "captune-abc-try22",
    ]
    site = Site(
        jobs=dict.fromkeys(others, "InProgress"),
        endpoints=dict.fromkeys(others, "InService"),
        configurations=others,
        models=others,
    )
    assert site.tear_down()["quiet"]
    assert not [name for name, _ in site.sagemaker.calls if not name.startswith("list_")]
    assert not any(belongs_to(name, "captune-abc") for name in others)


@pytest.mark.parametrize(
    "message",
    ['Could not find endpoint "arn:aws:sagemaker:us-east-1:1:endpoint/captune-abc".',
     'Cannot update in-progress endpoint "arn:aws:sagemaker:us-east-1:1:endpoint/captune-abc".'],
)  # fmt: skip
def test_a_delete_that_comes_too_late_or_too_early_is_no_error(message: str) -> None:
    site = Site(endpoints={"captune-abc": "InService"})
    site.sagemaker.troubles["delete_endpoint"] = [refusal("ValidationException", message)]
    assert site.tear_down()["found"] == ["endpoint captune-abc: InService"]


def test_a_job_that_ended_before_it_was_stopped_is_no_error() -> None:
    site = Site(jobs={"captune-abc": "InProgress"})
    site.sagemaker.troubles["stop_training_job"] = [
        refusal("ValidationException", "The request was rejected because the training job is in status Completed.")
    ]
    assert not site.tear_down()["quiet"]


@pytest.mark.parametrize("trouble", [refusal("ThrottlingException"), EndpointConnectionError(endpoint_url="sagemaker")])
@pytest.mark.parametrize("operation", ["stop_training_job", "list_training_jobs"])
def test_trouble_with_the_job_does_not_keep_the_endpoint_and_fails_the_pass(operation: str, trouble: Exception) -> None:
    site = Site(jobs={"captune-abc": "InProgress"}, endpoints={"captune-abc": "InService"})
    site.sagemaker.troubles[operation] = [trouble]
    with pytest.raises(type(trouble)):
        site.tear_down()
    assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}
    site.tear_down()
    assert site.sagemaker.jobs == {"captune-abc": "Stopping"}


def test_a_ledger_that_does_not_answer_keeps_no_endpoint() -> None:
    site = Site(endpoints={"captune-abc": "InService"})
    site.books.table.trouble = lambda operation: "throttled" if operation == "UpdateItem" else None
    with pytest.raises((ClientError, ServiceUnreachable)):
        site.tear_down()
    assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}


def test_the_life_of_an_endpoint_is_written_down_once() -> None:
    site = Site(endpoints={"captune-abc": "InService"})
    site.tear_down()
    site.sagemaker.endpoints.clear()
    site.tear_down(after=timedelta(minutes=1))
    site.tear_down(after=timedelta(minutes=2))
    assert site.item["endpoint_created_at"] == "2026-11-24T11:30:00+00:00"
    assert site.item["endpoint_gone_at"] == "2026-11-24T12:01:00+00:00"


def test_the_schedule_stops_an_execution_that_still_runs() -> None:
    site = Site(execution="RUNNING")
    site.tear_down(SCHEDULE)
    stopped = site.step_functions.called("stop_execution")
    assert [(one["executionArn"], one["error"]) for one in stopped] == [(arn("abc"), "DeadlineReached")]


def test_an_execution_that_ended_or_is_forgotten_is_not_stopped() -> None:
    ended, forgotten = Site(execution="SUCCEEDED"), Site()
    forgotten.step_functions.executions.clear()
    for site in (ended, forgotten):
        assert site.tear_down(SCHEDULE)["quiet"]
        assert not site.step_functions.called("stop_execution")


def test_an_execution_that_may_not_be_described_keeps_nothing_from_being_removed() -> None:
    site = Site(endpoints={"captune-abc": "InService"})
    site.step_functions.troubles["describe_execution"] = [refusal("AccessDeniedException")]
    with pytest.raises(ClientError):
        site.tear_down(SCHEDULE)
    assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}


def test_an_execution_that_was_refused_the_name_of_a_run_removes_nothing_of_it() -> None:
    site = Site(jobs={"captune-abc": "InProgress"}, endpoints={"captune-abc": "InService"})
    other = {**EVENT, "executionArn": arn("_abc"), "executionName": "_abc"}
    for reason in ("event", "schedule", "sweeper"):
        assert site.tear_down({**other, "reason": reason}) == nothing_to_remove()
    assert site.sagemaker.calls == []


def test_the_schedule_of_a_run_cannot_be_named_by_what_was_no_run() -> None:
    assert "--" in nothing_to_remove()["runName"]
    assert not belongs_to(nothing_to_remove()["runName"], "captune-abc")


def test_a_run_that_the_ledger_does_not_know_is_removed_all_the_same() -> None:
    site = Site(Books(), endpoints={"captune-abc": "InService"})
    site.tear_down()
    assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}


def test_the_name_alone_is_enough_to_start_a_tear_down_by_hand() -> None:
    site = Site(execution="RUNNING", jobs={"captune-abc": "InProgress"})
    site.tear_down({"executionName": "abc"})
    assert site.sagemaker.jobs == {"captune-abc": "Stopping"}
    assert site.step_functions.executions[arn("abc")]["status"] == "ABORTED"


def test_the_handler_makes_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(endpoints={"captune-abc": "InService"})
    services = {"sagemaker": site.sagemaker, "stepfunctions": site.step_functions, "dynamodb": site.books.table}
    monkeypatch.setattr(handler, "client", services.__getitem__)
    monkeypatch.setenv("LEDGER_TABLE", "ledger")
    assert handler.handle(EVENT, None)["found"] == ["endpoint captune-abc: InService"]
    assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}


def test_the_name_of_the_endpoint_that_billed_is_noted_because_it_tells_the_instance_type() -> None:
    site = Site(endpoints={"captune-abc-try2": "InService"})
    site.tear_down()
    assert site.item["endpoint_name"] == "captune-abc-try2"


def test_an_endpoint_that_failed_tells_nothing_about_what_was_billed() -> None:
    site = Site(endpoints={"captune-abc": "Failed"})
    site.tear_down()
    assert "endpoint_name" not in site.item
    assert "endpoint_created_at" in site.item


def test_what_a_run_tried_before_it_trained_is_removed_with_it() -> None:
    site = Site(configurations=["captune-abc-try0"], models=["captune-abc-try0", "captune-abcd-try0"])
    site.tear_down()
    assert (site.sagemaker.configurations, site.sagemaker.models) == ({}, {"captune-abcd-try0": None})
