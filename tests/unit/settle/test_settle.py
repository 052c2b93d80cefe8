"""Settlement: what a run did cost, counted once, and the rest of its reservation released."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from common.clock import from_iso
from common.errors import ServiceUnreachable
from common.names import run_name
from settle.billing import StillRunning
from tests.doubles.lambda_fakes import arn, refusal
from tests.doubles.settle_site import START, Site, job, visit

# What a month costs beside its runs, under a cap of 25 dollars.
STANDING = 95


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def test_a_success_costs_what_was_billed_and_the_rest_is_released(site: Site) -> None:
    site.with_report()
    outcome = site.settle()
    # 600 seconds at $1.515 an hour are 25.25 cents, rounded up; 6 cents for everything else.
    assert outcome["result"] == {
        "run": "captune-abc", "status": "SUCCEEDED", "verdict": "improved", "actualCents": 32, "leftCents": 2468 - STANDING,
    }  # fmt: skip
    assert site.ledger.committed_cents("2026-11") == 32


def test_a_second_settlement_changes_no_cent_and_says_the_same(site: Site) -> None:
    site.with_report()
    del (
        site.sagemaker.jobs["captune-abc"]["BillableTimeInSeconds"],
        site.sagemaker.jobs["captune-abc"]["TrainingEndTime"],
    )
    first = site.settle()
    committed = site.ledger.committed_cents("2026-11")
    site.now += timedelta(hours=3)
    again = site.settle()
    assert again["result"] == first["result"]
    assert again["message"] == first["message"]
    assert site.ledger.committed_cents("2026-11") == committed


def test_a_second_settlement_books_what_came_later(site: Site) -> None:
    site.with_report()
    site.settle()
    site.sagemaker.jobs["captune-abc"] = job(seconds=7200)
    assert site.settle()["result"]["actualCents"] == 309
    assert site.ledger.committed_cents("2026-11") == 309


def test_the_cost_is_published_as_a_metric_once(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.settle()
    site.settle()
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert [(one["ActualCents"], one["CommittedCents"], one["CapCents"]) for one in metrics] == [
        (32, 32 + STANDING, 2500)
    ]


def test_a_run_that_was_refused_before_it_reserved_did_cost_nothing(site: Site) -> None:
    site.ledger.table.rows.clear()
    site.fails("EulaNotAccepted", "Read the licence.")
    outcome = site.settle(status="FAILED")
    assert outcome["result"] == {
        "run": "captune-abc", "status": "FAILED", "verdict": "not shown", "actualCents": 0, "leftCents": 2500 - STANDING,
    }  # fmt: skip
    assert outcome["record"]["error"] == "EulaNotAccepted"
    assert outcome["record"]["cost"]["actual_cents"] == 0


def test_a_name_of_any_form_is_answered_too(site: Site) -> None:
    outcome = site.settle(executionArn=arn("run-try2"), executionName="run-try2", status="FAILED")
    assert (outcome["result"]["run"], outcome["result"]["status"]) == (run_name("run-try2"), "FAILED")


def test_an_endpoint_that_nobody_saw_is_counted_from_its_request(site: Site) -> None:
    site.step_functions.histories[arn("abc")] += visit("CreateEndpoint", 1000, 1001)
    assert site.settle()["result"]["actualCents"] > 32
    item = site.ledger.run("captune-abc") or {}
    assert item["endpoint_seconds"] == 2600
    assert item["endpoint_cents"] == 110


def test_an_endpoint_that_was_seen_is_counted_by_what_was_seen(site: Site) -> None:
    site.step_functions.histories[arn("abc")] += visit("CreateEndpoint", 1000, 1001)
    times = {
        "endpoint_created_at": START + timedelta(seconds=1010),
        "endpoint_gone_at": START + timedelta(seconds=1209),
    }
    site.ledger.note("captune-abc", {key: value.isoformat() for key, value in times.items()})
    site.settle()
    assert (site.ledger.run("captune-abc") or {})["endpoint_seconds"] == 200


def test_a_run_whose_history_is_forgotten_is_settled_by_what_sagemaker_knows(site: Site) -> None:
    site.step_functions.executions.clear()
    outcome = site.settle(status="UNKNOWN", reason="sweeper")
    assert (outcome["result"]["status"], outcome["result"]["actualCents"]) == ("UNKNOWN", 32)
    assert outcome["record"]["secondsByState"] == {}


@pytest.mark.parametrize("told", ["SUCCEEDED", "TIMED_OUT", "ABORTED", None])
def test_a_running_execution_is_never_settled(site: Site, told: str | None) -> None:
    # Whatever a caller says: what the execution creates afterwards would never be booked.
    site.step_functions.executions[arn("abc")]["status"] = "RUNNING"
    with pytest.raises(StillRunning, match=r"abc is still RUNNING"):
        site.settle(status=told)
    assert (site.ledger.run("captune-abc") or {})["state"] == "reserved"
    assert site.ledger.committed_cents("2026-11") == 600


def test_a_step_functions_that_does_not_answer_settles_nothing(site: Site) -> None:
    for operation in ("describe_execution", "get_execution_history"):
        site.step_functions.troubles[operation] = [refusal("ThrottlingException")]
        with pytest.raises(ServiceUnreachable, match=r"^Asking Step Functions how the execution ended"):
            site.settle()
    assert (site.ledger.run("captune-abc") or {})["state"] == "reserved"


@pytest.mark.parametrize("operation", ["list_training_jobs", "describe_training_job"])
def test_a_sagemaker_that_does_not_answer_settles_nothing(site: Site, operation: str) -> None:
    site.sagemaker.troubles[operation] = [refusal("ThrottlingException")]
    with pytest.raises(ServiceUnreachable, match=r"^Asking SageMaker what the run billed"):
        site.settle()
    assert (site.ledger.run("captune-abc") or {})["state"] == "reserved"


def test_jobs_are_sought_from_a_day_before_the_reservation_on(site: Site) -> None:
    site.settle()
    reserved_at = from_iso((site.ledger.run("captune-abc") or {})["reserved_at"])
    asked = site.sagemaker.called("list_training_jobs")
    assert {one["CreationTimeAfter"] for one in asked} == {reserved_at - timedelta(days=1)}


def test_a_run_that_still_bills_is_not_settled(site: Site) -> None:
    site.sagemaker.jobs["captune-abc"] = job("Stopping")
    with pytest.raises(StillRunning, match="captune-abc is Stopping; its seconds are not final"):
        site.settle()
    assert (site.ledger.run("captune-abc") or {})["state"] == "reserved"


def test_a_tear_down_that_was_started_by_hand_finds_its_execution(site: Site) -> None:
    site.with_report()
    assert site.settle(executionArn=None, status=None, reason=None)["result"]["actualCents"] == 32
    site.ledger.table.rows.clear()
    assert site.settle(executionArn=None, status=None, reason=None)["result"]["status"] == "SUCCEEDED"
