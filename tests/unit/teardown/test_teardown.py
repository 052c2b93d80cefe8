"""The tear-down of one run: whatever it finds, nothing that bills stays, and nothing of others goes."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from common.contracts.tear_down import Seen, TearDownEvent
from common.names import belongs_to
from common.resources import LONGEST_TRAINING_JOB
from teardown import handler
from tests.doubles.lambda_fakes import NOW, logged, refusal
from tests.doubles.teardown_site import EVENT, SCHEDULE, Site

NAMES = ["captune-abc"]
EVERYTHING: dict[str, Any] = {
    "jobs": {"captune-abc": "InProgress"},
    "endpoints": {"captune-abc": "InService"},
    "configurations": NAMES,
    "models": NAMES,
}
BOTH, BOTH_LINGERING = ["stop_training_job", "delete_endpoint"], ["delete_endpoint_config", "delete_model"]
LINGERING: dict[str, Any] = {"configurations": NAMES, "models": NAMES}


class TestRemoval:
    def test_a_run_that_left_nothing_is_quiet(self) -> None:
        assert Site().tear_down() == {
            "runName": "captune-abc", "found": [], "quiet": True, "keep": False,
            "running": False, "seen": {}, "problems": [],
        }  # fmt: skip

    def test_a_training_job_is_stopped_once_and_waited_for(self) -> None:
        site = Site(jobs={"captune-abc": "InProgress"})
        assert site.tear_down()["found"] == ["training job captune-abc: InProgress"]
        assert site.tear_down()["found"] == ["training job captune-abc: Stopping"]
        assert len(site.sagemaker.called("stop_training_job")) == 1
        site.sagemaker.jobs["captune-abc"] = "Stopped"
        assert site.tear_down()["quiet"]

    def test_an_endpoint_is_deleted_once_as_soon_as_it_can_be(self) -> None:
        site = Site(endpoints={"captune-abc": "Creating"})
        assert site.tear_down()["found"] == ["endpoint captune-abc: Creating"]
        assert site.changes == []
        site.sagemaker.endpoints["captune-abc"] = "InService"
        assert not site.tear_down()["quiet"]
        assert site.sagemaker.called("delete_endpoint") == [{"EndpointName": "captune-abc"}]
        assert site.tear_down()["found"] == ["endpoint captune-abc: Deleting"]
        assert site.changes == ["delete_endpoint"]

    @pytest.mark.parametrize("status", ["InService", "OutOfService", "Failed", "UpdateRollbackFailed"])
    def test_an_endpoint_that_stands_still_is_deleted(self, status: str) -> None:
        site = Site(endpoints={"captune-abc": status})
        site.tear_down()
        assert site.sagemaker.endpoints == {"captune-abc": "Deleting"}

    def test_configuration_and_model_outlive_the_endpoint(self) -> None:
        site = Site(endpoints={"captune-abc": "InService"}, configurations=NAMES, models=NAMES)
        site.tear_down()
        assert site.sagemaker.configurations
        del site.sagemaker.endpoints["captune-abc"]
        assert site.tear_down()["found"] == ["endpoint configuration captune-abc", "model captune-abc"]
        assert (site.sagemaker.configurations, site.sagemaker.models) == ({}, {})
        assert site.tear_down()["quiet"]

    def test_every_attempt_of_the_run_goes_and_the_trial_too(self) -> None:
        names = ["captune-abc", "captune-abc-try2", "captune-abc-try3"]
        site = Site(jobs=dict.fromkeys(names, "InProgress"), endpoints=dict.fromkeys(names, "InService"))
        site.tear_down()
        assert set(site.sagemaker.jobs.values()) == {"Stopping"}
        assert set(site.sagemaker.endpoints.values()) == {"Deleting"}
        site = Site(configurations=["captune-abc-try0"], models=["captune-abc-try0", "captune-abcd-try0"])
        site.tear_down()
        assert (site.sagemaker.configurations, list(site.sagemaker.models)) == ({}, ["captune-abcd-try0"])

    def test_only_training_jobs_that_can_still_run_are_listed(self) -> None:
        site = Site()
        site.tear_down()
        requests = site.sagemaker.called("list_training_jobs")
        assert {one["CreationTimeAfter"] for one in requests} == {NOW - LONGEST_TRAINING_JOB}


class TestOfOthers:
    @pytest.mark.parametrize(
        "other",
        ["captune-abcd", "captune-abc-2", "captune-abc-try2-more", "my-captune-abc", "captune-abc-trying"],
    )
    def test_runs_with_similar_names_are_untouched(self, other: str) -> None:
        site = Site(jobs={other: "InProgress"}, endpoints={other: "InService"}, configurations=[other], models=[other])
        assert site.tear_down()["quiet"]
        assert site.changes == []
        assert not belongs_to(other, "captune-abc")

    @pytest.mark.parametrize("tags", [{}, {"project": "theirs"}])
    def test_resources_without_the_projects_tag_are_untouched(self, tags: dict[str, str]) -> None:
        site = Site(**EVERYTHING)
        site.sagemaker.tags["captune-abc"] = tags
        assert site.tear_down()["quiet"]
        assert (site.changes, site.seen) == ([], {})


class TestTrouble:
    # What one failing call is reported as, and what is done all the same. Configuration and model stay while in use.
    @pytest.mark.parametrize(
        ("operation", "site", "met_at", "changes"),
        [
            ("list_training_jobs", EVERYTHING, "training jobs", ["delete_endpoint"]),
            ("list_training_jobs", LINGERING, "training jobs", []),
            ("stop_training_job", EVERYTHING, "training job captune-abc: InProgress", BOTH),
            ("list_endpoints", EVERYTHING, "endpoints", ["stop_training_job"]),
            ("list_endpoints", LINGERING, "endpoints", []),
            ("delete_endpoint", EVERYTHING, "endpoint captune-abc: InService", BOTH),
            ("list_endpoint_configs", LINGERING, "endpoint configurations", ["delete_model"]),
            ("delete_endpoint_config", LINGERING, "endpoint configuration captune-abc", BOTH_LINGERING),
            ("list_models", LINGERING, "models", ["delete_endpoint_config"]),
            ("delete_model", LINGERING, "model captune-abc", BOTH_LINGERING),
        ],
    )
    @pytest.mark.parametrize(
        "trouble", [refusal("AccessDeniedException", "not you"), EndpointConnectionError(endpoint_url="x")]
    )
    def test_a_failing_call_is_reported_and_stops_no_other(
        self, operation: str, site: dict[str, Any], met_at: str, changes: list[str], trouble: Exception
    ) -> None:
        account = Site(**site)
        account.sagemaker.troubles[operation] = [trouble]
        outcome = account.tear_down()
        assert (outcome["problems"], outcome["quiet"]) == ([f"{met_at}: {trouble}"], False)
        assert account.changes == changes
        assert account.tear_down()["problems"] == []

    def test_an_answer_that_cannot_be_read_stops_nothing_else(self) -> None:
        site = Site(**EVERYTHING)
        site.sagemaker.troubles["list_training_jobs"] = [KeyError("TrainingJobStatus")]
        assert not site.tear_down()["quiet"]
        assert site.changes == ["delete_endpoint"]

    @pytest.mark.parametrize(
        ("operation", "words", "problems"),
        [
            ("delete_endpoint", 'Cannot update in-progress endpoint "arn:aws:sagemaker:us-east-1:1:endpoint/a".', 0),
            ("delete_endpoint", "An update is in progress.", 0),
            ("delete_endpoint", "The request was rejected because the endpoint is in status Deleting.", 0),
            ("delete_endpoint", 'Could not find endpoint "arn:aws:sagemaker:us-east-1:1:endpoint/captune-abc".', 0),
            ("stop_training_job", "The request was rejected because the training job is in status Completed.", 0),
            ("delete_endpoint", "IN-PROGRESS", 1),
            ("delete_endpoint", "This is not allowed.", 1),
            ("delete_endpoint", "progress", 1),
            # A listing that fails is trouble whatever its words.
            ("list_endpoints", "Could not find a way in-progress", 1),
            ("list_endpoints", "not found", 1),
        ],
    )  # fmt: skip
    def test_a_call_that_comes_too_late_or_too_early_is_no_trouble(
        self, operation: str, words: str, problems: int
    ) -> None:
        site = Site(jobs={"captune-abc": "InProgress"}, endpoints={"captune-abc": "InService"})
        site.sagemaker.troubles[operation] = [refusal("ValidationException", words)]
        outcome = site.tear_down()
        assert (len(outcome["problems"]), outcome["quiet"]) == (problems, False)


class TestWithoutTheLedger:
    @pytest.mark.parametrize(
        "event", [EVENT, {**EVENT, "status": "SUCCEEDED"}, SCHEDULE, {**SCHEDULE, "reason": "sweeper"}]
    )
    def test_removal_needs_no_ledger(self, event: TearDownEvent) -> None:
        site = Site(**EVERYTHING)
        site.ledger.fall_silent()
        assert site.tear_down(event)["problems"] == []
        assert site.changes == ["stop_training_job", "delete_endpoint"]
        site.sagemaker.jobs["captune-abc"] = "Stopped"
        site.sagemaker.endpoints.clear()
        assert not site.tear_down(event)["quiet"]
        assert (site.sagemaker.configurations, site.sagemaker.models) == ({}, {})
        assert site.tear_down(event)["quiet"]


class TestTheHandler:
    @pytest.fixture
    def site(self, monkeypatch: pytest.MonkeyPatch) -> Site:
        site = Site(endpoints={"captune-abc": "InService"})
        site.deploy(monkeypatch, handler, "hasty_client")
        return site

    @pytest.mark.parametrize(
        "event", [EVENT, {"executionArn": EVENT["executionArn"]}, {"executionName": "abc"}, {"runName": "captune-abc"}]
    )
    def test_one_name_of_the_run_is_enough(
        self,
        site: Site,
        event: TearDownEvent,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        tables = site.ledger.tables_asked("update_item", monkeypatch)
        outcome = handler.handle(event, None)
        assert (outcome["runName"], outcome["found"]) == ("captune-abc", ["endpoint captune-abc: InService"])
        assert site.changes == ["delete_endpoint"]
        assert logged(capsys, "removed") == [{"message": "removed", "reason": event.get("reason"), **outcome}]
        assert set(tables) == {"captune-ledger"}

    def test_what_was_seen_before_is_carried_on(self, site: Site) -> None:
        seen: Seen = {"2": {"createdAt": "2026-11-24T10:00:00+00:00"}}
        assert handler.handle({**EVENT, "seen": seen}, None)["seen"].keys() == {"1", "2"}
