"""What is written for people when a run is settled: the report's status and cost, or a note of the failure, and the e-mail."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from common.names import run_name
from verification.experiments.reports import schema
from tests.doubles.lambda_fakes import NOW, arn
from tests.doubles.settle_site import Site, visit


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def test_the_report_gets_its_status_cost_and_times(site: Site) -> None:
    site.with_report()
    site.end()
    document = site.report()
    assert (document["status"], document["verdict"], document["error"]) == ("SUCCEEDED", "improved", None)
    assert document["seconds_by_state"] == {"Preflight": 5.0, "DescribeTraining": 1.0}
    cost = document["cost"]
    assert (cost["reserved_cents"], cost["actual_cents"], cost["training_cents"], cost["endpoint_cents"]) == (
        600,
        32,
        26,
        0,
    )
    assert (cost["other_cents"], cost["remaining_cents"], cost["cap_cents"]) == (6, 2468 - 95, 2500)
    assert {key for _, key in site.s3.objects} >= {
        f"runs/captune-abc/report/report.{ending}" for ending in ("html", "pdf")
    }


def test_the_message_tells_verdict_cost_and_where_the_report_lies(site: Site) -> None:
    site.with_report()
    outcome = site.end()
    assert outcome["subject"] == "Captune: improved on held-out documents, $0.32 (captune-abc)"
    assert outcome["message"] == (
        "Run captune-abc ended as SUCCEEDED.\nVerdict: improved. The loss fell.\n\n"
        "Cost: $0.32 of $6.00 reserved (training $0.26, endpoint $0.00, everything else $0.06).\n"
        "Left of the cap of $25.00 this month: $23.73.\nEverything of this run that bills has been removed.\n\n"
        "Report: s3://bucket/runs/captune-abc/report/report.html\n"
        "Fetch it: aws s3 cp --recursive s3://bucket/runs/captune-abc/report/ report/"
    )


@pytest.mark.parametrize(
    ("verdict", "title", "subject", "sentence"),
    [
        ("improved", "Improved on held-out records of the same corpus", "improved on held-out records", "Verdict: improved on held-out records of the same corpus. The loss"),
        ("not shown", "Nothing can be shown: only 5 held-out documents", "nothing can be shown", "Verdict: nothing can be shown: only 5 held-out documents. The loss"),
        ("worse outside", "Worse on text by others", "worse on text by others", "Verdict: worse on text by others. The loss"),
    ],
)  # fmt: skip
def test_an_email_says_what_the_report_says_first(
    site: Site, verdict: str, title: str, subject: str, sentence: str
) -> None:
    site.with_report(verdict, headline=title, heldout={"documents_count": 0})
    outcome = site.end()
    assert outcome["subject"] == f"Captune: {subject}, $0.32 (captune-abc)"
    assert sentence in outcome["message"]
    assert "No outside text was given, so nothing is known about text of the field" in outcome["message"]


def test_a_failure_without_a_report_gets_one_with_its_reason(site: Site) -> None:
    site.fails("TrainingFailed", "Training job captune-abc ended as Failed: disk full.")
    site.step_functions.histories[arn("abc")] += visit("WaitForTraining", 10, None)
    outcome = site.end(status="FAILED")
    document = site.report()
    assert (document["status"], document["error"], document["verdict"]) == ("FAILED", "TrainingFailed", "not shown")
    assert document["cause"] == "Training job captune-abc ended as Failed: disk full."
    assert document["seconds_by_state"]["WaitForTraining"] == 990.0
    assert "TrainingFailed: Training job captune-abc ended as Failed: disk full." in outcome["message"]
    assert outcome["subject"] == "Captune: failed, $0.32 (captune-abc)"


def test_a_failure_after_the_report_keeps_its_figures_and_says_how_it_ended(site: Site) -> None:
    site.with_report()
    site.fails("", "", status="ABORTED")
    outcome = site.end(status="ABORTED")
    assert (site.report()["status"], site.report()["verdict"]) == ("ABORTED", "improved")
    assert outcome["subject"] == "Captune: aborted, $0.32 (captune-abc)"


def test_a_failure_knows_from_the_plan_what_was_planned(site: Site) -> None:
    site.fails("EndpointFailed", "No capacity.")
    plan: dict[str, Any] = {
        "runName": "captune-abc", "executionArn": arn("abc"), "domain": "medical", "region": "us-east-1", "startedAt": "2026-11-24T11:00:00+00:00",
        "baseModel": {"name": "Llama 2 7B", "parameters": 1, "weightsUri": "s3://w/"}, "training": {"instanceType": "t", "maxRuntimeSeconds": 1},
        "hosting": {"instanceType": "h"}, "report": {"uri": "s3://bucket/r/"}, "corpus": {"words": 5}, "warnings": [], "input": {"epochs": 1},
        "budget": {"trainingHourlyUsd": "1.5", "hostingHourlyUsd": "1.5", "priceSource": "p", "months": ["2026-11"], "clamped": False},
    }  # fmt: skip
    site.s3.objects["bucket", "runs/captune-abc/plan.json"] = json.dumps(plan).encode()
    site.end(status="FAILED")
    assert (site.report()["domain"], site.report()["configuration"]["input"]) == ("medical", {"epochs": 1})


def test_an_execution_that_was_refused_the_name_of_a_run_leaves_that_run_alone(site: Site) -> None:
    site.with_report()
    before = dict(site.s3.objects)
    other = arn("_abc")
    site.step_functions.executions[other] = {
        "status": "FAILED",
        "error": "RunNameTaken",
        "cause": "Taken.",
        "stopDate": NOW,
    }
    outcome = site.end(executionArn=other, executionName="_abc", status="FAILED")
    assert outcome["result"]["actualCents"] == 0
    assert (site.ledger.run("captune-abc") or {})["state"] == "reserved"
    assert {key: site.s3.objects[key] for key in before} == before
    assert site.report(run_name("_abc"))["error"] == "RunNameTaken"
    assert f"runs/{run_name('_abc')}/report/report.html" in outcome["message"]


def test_time_in_a_state_that_was_entered_often_adds_up(site: Site) -> None:
    site.step_functions.histories[arn("abc")] = [
        event for n in range(50) for event in visit("WaitForTraining", n * 30, n * 30 + 29)
    ]
    site.end()
    assert site.report()["seconds_by_state"] == {"WaitForTraining": 50 * 29.0}
    assert {call["includeExecutionData"] for call in site.step_functions.called("get_execution_history")} == {False}


def test_what_an_earlier_execution_of_the_name_left_is_not_taken_over(site: Site) -> None:
    site.with_report()
    path = ("bucket", "runs/captune-abc/report/summary.json")
    site.s3.objects[path] = site.s3.objects[path].replace(
        b":execution:captune-fine-tuning:abc", b":execution:older:abc"
    )
    site.fails("WeightsNotFound", "No weights.")
    site.end(status="FAILED")
    assert (site.report()["verdict"], site.report()["error"]) == ("not shown", "WeightsNotFound")


@pytest.mark.parametrize("name", ["x" * 80, "é" * 80, "___"])
def test_a_subject_is_one_that_sns_takes(site: Site, name: str) -> None:
    subject = site.end(executionArn=arn(name), executionName=name, status="TIMED_OUT")["subject"]
    assert len(subject) < 100
    assert subject.isascii()
    assert subject.startswith("Captune: timed out, $0.00 (")


def test_a_cap_that_was_lowered_below_what_is_spent_is_told_as_it_is(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAP_CENTS", "10")
    assert "Left of the cap of $0.10 this month: -$0.67." in site.end()["message"]


def test_an_execution_that_step_functions_has_forgotten_gets_a_report_of_the_form(site: Site) -> None:
    site.step_functions.executions.clear()
    site.end(status=None)
    document = site.report()
    assert (document["status"], document["error"]) == ("UNKNOWN", "UNKNOWN")
    jsonschema.validate(document, json.loads(schema.TARGET.read_text("utf-8")))
