"""What a tear-down says of each trouble: at what it was met, in the answer and in the log."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from teardown import handler
from tests.doubles.lambda_fakes import MACHINE, refusal
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.teardown_site import EVENT, SCHEDULE, Site

DENIED = "An error occurred (AccessDeniedException) when calling the Operation operation: not you"
NAMES = ["captune-abc"]


def lines(capsys: pytest.CaptureFixture[str], message: str) -> list[dict[str, Any]]:
    """The lines of the log with this message."""
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in found if line["message"] == message]


class TestTheAnswer:
    @pytest.mark.parametrize(
        ("operation", "resources", "met_at"),
        [
            ("list_training_jobs", {}, "training jobs"),
            ("stop_training_job", {"jobs": {"captune-abc": "InProgress"}}, "training job captune-abc: InProgress"),
            ("list_endpoints", {}, "endpoints"),
            ("delete_endpoint", {"endpoints": {"captune-abc": "InService"}}, "endpoint captune-abc: InService"),
            ("list_endpoint_configs", {}, "endpoint configurations"),
            ("delete_endpoint_config", {"configurations": NAMES}, "endpoint configuration captune-abc"),
            ("list_models", {}, "models"),
            ("delete_model", {"models": NAMES}, "model captune-abc"),
        ],
    )
    def test_a_trouble_is_told_with_what_it_was_met_at(
        self, operation: str, resources: dict[str, Any], met_at: str
    ) -> None:
        site = Site(**resources)
        site.sagemaker.troubles[operation] = [refusal("AccessDeniedException", "not you")]
        assert site.tear_down()["problems"] == [f"{met_at}: {DENIED}"]

    def test_a_silence_is_told_too(self) -> None:
        site = Site(endpoints={"captune-abc": "InService"})
        silence = EndpointConnectionError(endpoint_url="sagemaker")
        site.sagemaker.troubles["delete_endpoint"] = [silence]
        assert site.tear_down()["problems"] == [f"endpoint captune-abc: InService: {silence}"]

    @pytest.mark.parametrize("operation", ["describe_execution", "stop_execution"])
    def test_and_that_of_the_execution(self, operation: str) -> None:
        site = Site(execution="RUNNING")
        site.step_functions.troubles[operation] = [refusal("AccessDeniedException", "not you")]
        assert site.tear_down(SCHEDULE)["problems"] == [f"the execution: {DENIED}"]

    @pytest.mark.parametrize(
        "words",
        [
            'Cannot update in-progress endpoint "arn:aws:sagemaker:us-east-1:1:endpoint/captune-abc".',
            "An update is in progress.",
            "The request was rejected because the endpoint is in status Deleting.",
            'Could not find endpoint "arn:aws:sagemaker:us-east-1:1:endpoint/captune-abc".',
        ],
    )
    def test_a_call_that_comes_too_late_or_too_early_is_no_trouble(self, words: str) -> None:
        site = Site(endpoints={"captune-abc": "InService"})
        site.sagemaker.troubles["delete_endpoint"] = [refusal("ValidationException", words)]
        assert site.tear_down()["problems"] == []

    @pytest.mark.parametrize("words", ["IN-PROGRESS", "This is not allowed.", "progress"])
    def test_any_other_refusal_is(self, words: str) -> None:
        site = Site(endpoints={"captune-abc": "InService"})
        site.sagemaker.troubles["delete_endpoint"] = [refusal("ValidationException", words)]
        assert len(site.tear_down()["problems"]) == 1

    def test_an_execution_that_is_stopped_is_found_by_its_name(self) -> None:
        assert Site(execution="RUNNING").tear_down(SCHEDULE)["found"] == ["execution abc: RUNNING"]

    def test_why_an_execution_was_stopped_stands_in_its_history(self) -> None:
        site = Site(execution="RUNNING")
        site.tear_down(SCHEDULE)
        (stopped,) = site.step_functions.called("stop_execution")
        assert stopped["error"] == "DeadlineReached"
        assert stopped["cause"] == (
            "The tear-down of this run began, at the deadline that its reservation allows or because its spending was stopped."
        )


class TestWhatRuns:
    @pytest.mark.parametrize("variants", [None, [], [{"VariantName": "a"}]])
    def test_an_endpoint_that_does_not_tell_its_instances_has_those_of_its_configuration(
        self, variants: list[dict[str, Any]] | None
    ) -> None:
        site = Site(endpoints={"captune-abc": "Creating"}, configurations=NAMES)
        site.sagemaker.configurations["captune-abc"] = ("ml.g5.2xlarge", 2)
        describe = site.sagemaker.on_describe_endpoint

        def quiet(EndpointName: str) -> dict[str, Any]:
            answer = {k: v for k, v in describe(EndpointName).items() if k != "ProductionVariants"}
            return answer if variants is None else {**answer, "ProductionVariants": variants}

        site.sagemaker.on_describe_endpoint = quiet  # type: ignore[method-assign]
        life = site.tear_down()["seen"]["1"]
        assert (life["instanceType"], life["instanceCount"]) == ("ml.g5.2xlarge", 2)

    def test_a_configuration_that_tells_neither_means_one_of_an_unknown_type(self) -> None:
        site = Site(endpoints={"captune-abc": "Creating"}, configurations=NAMES)
        site.sagemaker.instances_now = 0
        site.sagemaker.on_describe_endpoint_config = lambda EndpointConfigName: {  # type: ignore[method-assign]
            "ProductionVariants": [{"VariantName": "a"}]
        }
        life = site.tear_down()["seen"]["1"]
        assert (life["instanceType"], life["instanceCount"]) == ("", 1)


class TestTheLog:
    def test_an_endpoint_that_could_not_be_described_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        site = Site(endpoints={"captune-abc": "InService"}, configurations=NAMES)
        site.sagemaker.troubles["describe_endpoint"] = [refusal("AccessDeniedException", "not you")]
        site.tear_down()
        assert lines(capsys, "endpoint not described") == [
            {"message": "endpoint not described", "endpoint": "captune-abc", "error": DENIED}
        ]

    def test_lives_that_were_not_written_are_in_the_log(self, capsys: pytest.CaptureFixture[str]) -> None:
        site = Site(endpoints={"captune-abc": "InService"})
        site.silence_the_ledger()
        outcome = site.tear_down()
        (line,) = lines(capsys, "endpoint lives not written")
        assert (line["run"], line["seen"]) == ("captune-abc", outcome["seen"])
        assert "The ledger did not answer" in line["error"]

    def test_why_nothing_is_kept_is_in_the_log(self, capsys: pytest.CaptureFixture[str]) -> None:
        site = Site(FakeLedger().with_run("abc", keep_endpoint_seconds=600), execution="SUCCEEDED")
        site.silence_the_ledger()
        site.tear_down({**EVENT, "status": "SUCCEEDED"})
        (line,) = lines(capsys, "nothing is kept")
        assert line["run"] == "captune-abc"
        assert "The ledger did not answer" in line["error"]

    def test_a_pass_is_in_the_log_with_its_reason_and_all_that_it_answers(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        site = Site(endpoints={"captune-abc": "InService"})
        services = {"sagemaker": site.sagemaker, "stepfunctions": site.step_functions, "dynamodb": site.ledger.table}
        tables = site.ledger.tables_asked("update_item", monkeypatch)
        monkeypatch.setattr(handler, "hasty_client", services.__getitem__)
        monkeypatch.setenv("LEDGER_TABLE", "captune-ledger")
        monkeypatch.setenv("FINE_TUNING_ARN", MACHINE)
        outcome = handler.handle(EVENT, None)
        assert lines(capsys, "removed") == [{"message": "removed", "reason": "event", **outcome}]
        assert set(tables) == {"captune-ledger"}, "the life of the endpoint is in the table that the function was given"
