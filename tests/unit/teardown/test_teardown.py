"""The tear-down of one run: whatever it finds and whenever it comes, nothing that bills stays, and nothing of others goes."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from common.contracts.tear_down import Seen, TearDownEvent
from common.errors import InvalidInput
from common.names import belongs_to
from common.resources import LONGEST_TRAINING_JOB
from teardown import handler
from tests.doubles.lambda_fakes import MACHINE, NOW, refusal
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.teardown_site import EVENT, SCHEDULE, Site


def test_a_run_that_left_nothing_is_quiet() -> None:
    assert Site().tear_down() == {
        "runName": "captune-abc", "found": [], "quiet": True, "keep": False, "running": False, "seen": {}, "problems": [],
    }  # fmt: skip


def test_a_training_job_is_stopped_and_waited_for() -> None:
    site = Site(jobs={"captune-abc": "InProgress"})
    assert site.tear_down()["found"] == ["training job captune-abc: InProgress"]
    assert site.tear_down()["found"] == ["training job captune-abc: Stopping"]
    assert len(site.sagemaker.called("stop_training_job")) == 1
    site.sagemaker.jobs["captune-abc"] = "Stopped"
    assert site.tear_down()["quiet"]


def test_of_training_jobs_only_what_can_still_run_is_read() -> None:
    site = Site(jobs={"captune-abc": "InProgress"})
    site.tear_down()
    asked = site.sagemaker.called("list_training_jobs")
    assert {one["CreationTimeAfter"] for one in asked} == {NOW - LONGEST_TRAINING_JOB}


def test_an_endpoint_that_is_creating_is_waited_for_because_it_cannot_be_deleted() -> None:
    site = Site(endpoints={"captune-abc": "Creating"})
    assert site.tear_down()["found"] == ["endpoint captune-abc: Creating"]
    assert not site.sagemaker.called("delete_endpoint")
    site.sagemaker.endpoints["captune-abc"] = "InService"
    assert not site.tear_down()["quiet"]
    assert site.sagemaker.called("delete_endpoint") == [{"EndpointName": "captune-abc"}]
    assert site.tear_down()["found"] == ["endpoint captune-abc: Deleting"]
    assert len(site.sagemaker.called("delete_endpoint")) == 1


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
    assert site.changes == []
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
def test_trouble_with_the_job_does_not_keep_the_endpoint_and_another_pass_follows(
    operation: str, trouble: Exception
) -> None:
    site = Site(jobs={"captune-abc": "InProgress"}, endpoints={"captune-abc": "InService"})
    site.sagemaker.troubles[operation] = [trouble]
    outcome = site.tear_down()
    assert [problem.partition(":")[2].strip() for problem in outcome["problems"]] != []
    assert not outcome["quiet"]
    assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}
    assert site.tear_down()["problems"] == []
    assert site.sagemaker.jobs == {"captune-abc": "Stopping"}


def test_each_trouble_is_told_with_what_it_was_met_at() -> None:
    site = Site(endpoints={"captune-abc": "InService"})
    site.sagemaker.troubles = {
        "list_training_jobs": [refusal("ThrottlingException", "slow down")],
        "delete_endpoint": [refusal("AccessDeniedException", "not you")],
    }
    jobs, endpoint = site.tear_down()["problems"]
    assert jobs.startswith("training jobs: ") and "slow down" in jobs
    assert endpoint.startswith("endpoint captune-abc: InService: ") and "not you" in endpoint


@pytest.mark.parametrize("operation", ["list_endpoints", "list_training_jobs"])
def test_configuration_and_model_stay_while_nobody_knows_whether_there_is_an_endpoint_or_a_job(operation: str) -> None:
    site = Site(configurations=["captune-abc"], models=["captune-abc"])
    site.sagemaker.troubles[operation] = [refusal("InternalFailure")]
    outcome = site.tear_down()
    assert (outcome["quiet"], outcome["found"], len(outcome["problems"])) == (False, [], 1)
    assert site.changes == []
    assert site.sagemaker.called("list_models") == []
    assert len(site.tear_down()["found"]) == 2


def test_configuration_and_model_stay_after_an_endpoint_that_could_not_be_deleted() -> None:
    site = Site(endpoints={"captune-abc": "InService"}, configurations=["captune-abc"], models=["captune-abc"])
    site.sagemaker.troubles["delete_endpoint"] = [refusal("InternalFailure")]
    site.tear_down()
    assert site.changes == ["delete_endpoint"]


@pytest.mark.parametrize("operation", ["list_endpoint_configs", "delete_endpoint_config"])
def test_trouble_with_a_configuration_does_not_keep_the_model(operation: str) -> None:
    site = Site(configurations=["captune-abc"], models=["captune-abc"])
    site.sagemaker.troubles[operation] = [refusal("InternalFailure")]
    assert not site.tear_down()["quiet"]
    assert site.sagemaker.models == {}


@pytest.mark.parametrize("message", ["Could not find a way in-progress", "not found"])
def test_a_listing_that_fails_is_trouble_whatever_its_words(message: str) -> None:
    site = Site()
    site.sagemaker.troubles["list_endpoints"] = [refusal("ValidationException", message)]
    assert not site.tear_down()["quiet"]


def test_an_answer_that_cannot_be_read_stops_nothing_else() -> None:
    site = Site(jobs={"captune-abc": "InProgress"}, endpoints={"captune-abc": "InService"})
    site.sagemaker.troubles["list_training_jobs"] = [KeyError("TrainingJobStatus")]
    assert not site.tear_down()["quiet"]
    assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}


class TestWithoutTheLedger:
    @pytest.mark.parametrize(
        "event", [EVENT, {**EVENT, "status": "SUCCEEDED"}, SCHEDULE, {**SCHEDULE, "reason": "sweeper"}]
    )
    def test_removal_goes_on_while_the_ledger_is_silent(self, event: dict[str, Any]) -> None:
        site = Site(
            jobs={"captune-abc": "InProgress"},
            endpoints={"captune-abc": "InService"},
            configurations=["captune-abc"],
            models=["captune-abc"],
        )
        site.silence_the_ledger()
        assert site.tear_down(event)["problems"] == []
        assert (site.sagemaker.jobs, site.sagemaker.endpoints) == (
            {"captune-abc": "Stopping"},
            {"captune-abc": "Deleting"},
        )
        site.sagemaker.jobs["captune-abc"] = "Stopped"
        site.sagemaker.endpoints.clear()
        assert not site.tear_down(event)["quiet"]
        assert (site.sagemaker.configurations, site.sagemaker.models) == ({}, {})
        assert site.tear_down(event)["quiet"]

    @pytest.mark.parametrize("value", [{"BOOL": True}, {"NULL": True}, {"N": "1.5"}, {"M": {}}])
    @pytest.mark.parametrize("name", ["state", "execution_arn", "keep_endpoint_seconds", "reserved_at"])
    def test_a_damaged_item_keeps_nothing(self, name: str, value: Any) -> None:
        site = Site(FakeLedger().with_run("abc", keep_endpoint_seconds=600), endpoints={"captune-abc": "InService"})
        site.ledger.table.rows["RUN#captune-abc"][name] = value
        assert not site.tear_down({**EVENT, "status": "SUCCEEDED"})["keep"]
        assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}

    def test_a_run_that_the_ledger_does_not_know_is_removed_all_the_same(self) -> None:
        site = Site(FakeLedger(), endpoints={"captune-abc": "InService"})
        site.tear_down()
        assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}


class TestOfOthers:
    @pytest.mark.parametrize("tags", [{}, {"project": "theirs"}])
    def test_a_resource_without_the_project_tag_is_left_alone(self, tags: dict[str, str]) -> None:
        names = ["captune-abc"]
        site = Site(
            jobs={"captune-abc": "InProgress"},
            endpoints={"captune-abc": "InService"},
            configurations=names,
            models=names,
        )
        site.sagemaker.tags["captune-abc"] = tags
        assert site.tear_down()["quiet"]
        assert site.changes == []
        assert site.seen == {}

    def test_a_sagemaker_that_does_not_tell_tags_keeps_nothing_from_being_removed(self) -> None:
        site = Site(jobs={"captune-abc": "InProgress"}, endpoints={"captune-abc": "InService"})
        site.sagemaker.troubles["list_tags"] = [refusal("AccessDeniedException"), refusal("AccessDeniedException")]
        site.tear_down()
        assert site.changes == ["stop_training_job", "delete_endpoint"]

    def test_jobs_that_are_over_are_not_asked_for_their_tags(self) -> None:
        site = Site(jobs={"captune-abc": "Completed", "captune-abc-try2": "Failed"})
        assert site.tear_down()["quiet"]
        assert site.sagemaker.called("list_tags") == []


def test_what_a_run_tried_before_it_trained_is_removed_with_it() -> None:
    site = Site(configurations=["captune-abc-try0"], models=["captune-abc-try0", "captune-abcd-try0"])
    site.tear_down()
    assert (site.sagemaker.configurations, list(site.sagemaker.models)) == ({}, ["captune-abcd-try0"])


class TestTheHandler:
    @pytest.fixture
    def site(self, monkeypatch: pytest.MonkeyPatch) -> Site:
        site = Site(endpoints={"captune-abc": "InService"})
        services = {"sagemaker": site.sagemaker, "stepfunctions": site.step_functions, "dynamodb": site.ledger.table}
        monkeypatch.setattr(handler, "hasty_client", services.__getitem__)
        monkeypatch.setenv("LEDGER_TABLE", "ledger")
        monkeypatch.setenv("FINE_TUNING_ARN", MACHINE)
        return site

    def test_it_makes_one_pass(self, site: Site) -> None:
        outcome = handler.handle(EVENT, None)
        assert (outcome["runName"], outcome["found"]) == ("captune-abc", ["endpoint captune-abc: InService"])
        assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}

    @pytest.mark.parametrize(
        "event", [{"executionArn": EVENT["executionArn"]}, {"executionName": "abc"}, {"runName": "captune-abc"}]
    )
    def test_one_fact_is_enough(self, site: Site, event: TearDownEvent) -> None:
        handler.handle(event, None)
        assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}

    def test_an_event_that_names_no_run_is_refused(self, site: Site) -> None:
        with pytest.raises(InvalidInput):
            handler.handle({"reason": "event"}, None)

    def test_what_was_seen_before_is_carried_on(self, site: Site) -> None:
        seen: Seen = {"2": {"createdAt": "2026-11-24T10:00:00+00:00"}}
        assert handler.handle({**EVENT, "seen": seen}, None)["seen"].keys() == {"1", "2"}
