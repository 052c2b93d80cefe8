"""A damaged file in the bucket is named and told, and the run has its last report all the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.contracts import run_folder
from common.errors import ReportDamaged, ServiceUnreachable
from finish import last_report
from tests.doubles.lambda_fakes import arn, refusal
from tests.doubles.settle_site import Site

FOLDER = "runs/captune-abc/"
SUMMARY, PLAN = ("bucket", f"{FOLDER}report/summary.json"), ("bucket", f"{FOLDER}plan.json")
IDENTITY = json.dumps({"execution_arn": arn("abc")}).encode()
DAMAGED = {
    "empty": b"",
    "truncated": b'{"verdict": "impro',
    "no text": b"\xff\xfe\x00",
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "of no execution": b"{}",
    "without its keys": IDENTITY,
    "of another form": json.dumps({**json.loads(IDENTITY), "status": "RUNNING", "cost": [], "prompts": 5}).encode(),
    "nested without end": b'{"a":' * 100_000,
}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(monkeypatch)
    made.with_report()
    return made


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_summary_is_named_and_the_cost_is_told(site: Site, content: bytes) -> None:
    site.s3.objects[SUMMARY] = content

    outcome = site.end()

    # The verdict is what the execution itself gave as its output; the report no longer has the figures for it.
    assert outcome["result"]["verdict"] == "improved"
    assert outcome["subject"] == "Captune: improved on held-out documents, $0.32 (captune-abc)"
    assert "ReportDamaged: summary.json is damaged (" in outcome["message"]
    assert "The report is without its figures." in outcome["message"]
    document = site.report()
    assert (document["status"], document["verdict"], document["error"]) == ("SUCCEEDED", "not shown", "ReportDamaged")
    assert "The run itself ended with the verdict: improved." in document["cause"]
    assert document["cost"]["actual_cents"] == 32
    page = site.s3.objects["bucket", f"{FOLDER}report/report.html"].decode()
    assert "summary.json is damaged" in page
    assert "Nothing can be shown: the report was damaged" in page and "No improvement shown" not in page


def test_a_damaged_summary_is_put_aside_for_a_person(site: Site) -> None:
    site.s3.objects[SUMMARY] = DAMAGED["truncated"]
    site.end()
    assert site.s3.objects["bucket", f"{FOLDER}report/{run_folder.DAMAGED_SUMMARY}"] == DAMAGED["truncated"]


def test_a_sound_summary_is_not_put_aside(site: Site) -> None:
    outcome = site.end()
    assert ("bucket", f"{FOLDER}report/{run_folder.DAMAGED_SUMMARY}") not in site.s3.objects
    assert "ReportDamaged" not in outcome["message"]


def test_a_failed_run_with_a_damaged_summary_keeps_its_own_error(site: Site) -> None:
    site.s3.objects[SUMMARY] = DAMAGED["a list"]
    site.fails("EndpointFailed", "No luck.")
    outcome = site.end(status="FAILED")
    assert (site.report()["error"], site.report()["cause"]) == ("EndpointFailed", "No luck.")
    assert "EndpointFailed: No luck." in outcome["message"]
    assert "ReportDamaged: summary.json is damaged (TypeError" in outcome["message"]


@pytest.mark.parametrize("content", [DAMAGED[kind] for kind in DAMAGED if kind != "null"])
def test_a_damaged_plan_is_named_too(site: Site, content: bytes) -> None:
    del site.s3.objects[SUMMARY]
    content = content.replace(b"execution_arn", b"executionArn")
    site.s3.objects[PLAN] = content
    site.fails("WeightsNotFound", "No weights.")

    outcome = site.end(status="FAILED")

    assert site.report()["error"] == "WeightsNotFound"
    if b"executionArn" not in content:  # an object of this execution that lacks the rest is an old plan, see below
        assert "ReportDamaged: plan.json is damaged (" in outcome["message"]


@pytest.mark.parametrize("part", ["budget", "baseModel", "training", "hosting", "corpus", "report"])
def test_a_plan_whose_part_has_another_form_is_named(site: Site, part: str) -> None:
    del site.s3.objects[SUMMARY]
    site.s3.objects[PLAN] = json.dumps({"executionArn": arn("abc"), part: ["odd"]}).encode()
    site.fails("WeightsNotFound", "No weights.")
    assert "ReportDamaged: plan.json is damaged (" in site.end(status="FAILED")["message"]


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"domain": "medical"},
        {"training": {"instanceType": "ml.g5.2xlarge"}, "hosting": {"instanceType": "ml.g5.2xlarge"}, "budget": {}},
    ],
)
def test_a_plan_of_an_earlier_deployment_may_lack_what_came_later(site: Site, plan: dict[str, Any]) -> None:
    del site.s3.objects[SUMMARY]
    site.s3.objects[PLAN] = json.dumps({"executionArn": arn("abc"), **plan}).encode()
    site.fails("WeightsNotFound", "No weights.")
    outcome = site.end(status="FAILED")
    assert "ReportDamaged" not in outcome["message"]
    assert site.report()["domain"] == plan.get("domain")


def test_a_summary_and_a_plan_that_are_both_damaged_are_both_named(site: Site) -> None:
    site.s3.objects[SUMMARY] = site.s3.objects[PLAN] = DAMAGED["truncated"]
    message = site.end()["message"]
    assert "summary.json is damaged (" in message and "plan.json is damaged (" in message


def test_a_report_that_nothing_can_be_drawn_of_is_an_error_by_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any) -> str:
        raise ValueError("no page")

    monkeypatch.setattr(last_report.files.page, "render", breaks)
    with pytest.raises(ReportDamaged, match=r"summary.json is damaged .* the settlement's record is damaged"):
        site.end()


def test_a_bucket_that_does_not_answer_is_no_damage(site: Site) -> None:
    site.s3.troubles["get_object"] = [refusal("SlowDown")]
    with pytest.raises(ServiceUnreachable, match="Finishing the report could not be finished"):
        site.end()


def test_a_message_stays_far_below_what_a_state_may_hand_on(site: Site) -> None:
    site.fails("TrainingFailed", "€" * 32_768)
    settled = site.settle(status="FAILED")
    assert len(json.dumps(settled, ensure_ascii=False).encode()) < 128 * 1024
