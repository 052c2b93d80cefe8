"""Corners of a settlement: what Step Functions tells, endpoints out of order, and a run outside of its own months."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from common.contracts.tear_down import Seen
from common.pricing.prices import Price
from settle import claim, history
from settle.billing import Bill, bill
from settle.endpoints import Stay, stays
from settle.handler import _was_settled_before
from settle.tariff import Tariff
from tests.doubles.lambda_fakes import NOW, SageMaker, StepFunctions, arn
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.settle_site import START, Site, job, visit

HOUR = timedelta(hours=1)


def told(**described: Any) -> tuple[history.Execution, StepFunctions]:
    """What is read of an execution that Step Functions describes so."""
    services = StepFunctions({arn("abc"): {"status": "SUCCEEDED", "startDate": START, "stopDate": NOW, **described}})
    services.histories[arn("abc")] = visit("Preflight", 0, 5)
    return history.read(services, arn("abc"), "UNKNOWN"), services


class TestTheHistory:
    def test_the_data_of_states_is_not_fetched_with_it(self) -> None:
        _, services = told()

        assert {call["includeExecutionData"] for call in services.called("get_execution_history")} == {False}

    @pytest.mark.parametrize("output", [None, "", "{", "[]", '"improved"', "7", '{"verdict": 7, "reason": null}'])
    def test_an_output_that_tells_no_verdict_is_none(self, output: str | None) -> None:
        execution, _ = told(**({} if output is None else {"output": output}))

        assert (execution.verdict, execution.reason) == ("", "")

    def test_verdict_and_reason_are_those_of_the_output(self) -> None:
        execution, _ = told(output=json.dumps({"verdict": "improved", "reason": "The loss fell."}))

        assert (execution.verdict, execution.reason) == ("improved", "The loss fell.")

    def test_seconds_are_told_to_the_thousandth(self) -> None:
        services = StepFunctions({arn("abc"): {"status": "FAILED", "startDate": START, "stopDate": NOW}})
        entered, left = visit("Preflight", 0, 1)
        left["timestamp"] += timedelta(microseconds=234567)
        services.histories[arn("abc")] = [entered, left]

        assert history.read(services, arn("abc"), "UNKNOWN").seconds_by_state == {"Preflight": 1.235}

    def test_an_execution_that_began_as_another_was_settled_is_not_the_earlier_one(self) -> None:
        item: Any = {"state": "settled", "settled_at": START.isoformat()}
        at_once, later = (history.Execution("FAILED", started_at=START + wait) for wait in (0 * HOUR, HOUR))

        assert (_was_settled_before(item, at_once), _was_settled_before(item, later)) == (False, True)


class TestEndpoints:
    def test_they_are_told_in_the_order_of_their_creation(self) -> None:
        seen: Seen = {"1": {"createdAt": NOW.isoformat()}, "2": {"createdAt": START.isoformat()}}

        assert [one.attempt for one in stays({"max_endpoint_seconds": 60}, seen, None, NOW, NOW)] == [2, 1]

    def test_one_that_was_requested_after_the_settlement_is_counted_until_now(self) -> None:
        (stay,) = stays({"max_endpoint_seconds": 60_000}, None, NOW + HOUR, NOW, NOW + 2 * HOUR)

        assert (stay.start, stay.end) == (NOW + HOUR, NOW + 2 * HOUR)

    @pytest.mark.parametrize("noted_failed", [True, False])
    def test_an_attempt_has_failed_only_if_nobody_saw_it_work(
        self, noted_failed: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = Site(monkeypatch)
        end = (START + timedelta(seconds=199)).isoformat()
        site.ledger.note_endpoint("captune-abc", 1, START, end, failed=noted_failed)
        first = {"createdAt": START.isoformat(), "goneAt": end, "failed": True}
        second = {"createdAt": (START + timedelta(seconds=100)).isoformat(), "goneAt": end}
        site.settle(seen={"1": first, "2": second})

        # The second attempt began after 100 seconds, when a first one that had failed was over.
        assert (site.ledger.run("captune-abc") or {})["endpoint_seconds"] == (100 if noted_failed else 200) + 100


def test_the_small_items_of_a_run_that_lived_in_none_of_its_months_are_booked_in_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    item: Any = {**(Site(monkeypatch).ledger.run("captune-abc") or {}), "months": "2026-09,2026-10", "other_cents": 12}
    billed = bill(SageMaker(jobs={"captune-abc": job(seconds=0)}), "captune-abc", item, None, NOW)

    assert (billed.other_cents, billed.by_month.get("2026-09"), billed.by_month.get("2026-10")) == (6, 6, None)


class TestWhatIsBilled:
    def test_a_job_of_another_run_that_is_listed_first_hides_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        site = Site(monkeypatch)
        site.sagemaker.jobs = {"captune-abc-d": job(seconds=7200), "captune-abc": job(seconds=600)}

        assert site.settle()["record"]["cost"]["training_seconds"] == 600

    def test_what_sagemaker_says_that_it_billed_goes_before_every_other_time(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = Site(monkeypatch)
        site.sagemaker.jobs["captune-abc"] = {
            **job(seconds=600), "BillableTimeInSeconds": 700, "TrainingTimeInSeconds": 650,
        }  # fmt: skip

        assert site.settle()["record"]["cost"]["training_seconds"] == 700

    def test_a_spot_job_costs_the_seconds_that_were_billed_at_the_price_on_demand_and_not_those_that_it_took(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = Site(monkeypatch)
        site.sagemaker.jobs["captune-abc"] = {
            **job(seconds=4700), "EnableManagedSpotTraining": True, "TrainingTimeInSeconds": 4000, "BillableTimeInSeconds": 1500,
        }  # fmt: skip
        cost = site.settle()["record"]["cost"]

        # 1,500 seconds at $1.515 an hour: 63.125 cents, rounded up.
        assert (cost["training_seconds"], cost["training_cents"]) == (1500, 64)

    def test_a_spot_job_over_a_months_end_is_booked_in_the_later_month_as_far_as_it_can_have_billed_there(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = Site(monkeypatch)
        start, midnight = datetime(2026, 11, 30, 22, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
        item: Any = {**(site.ledger.run("captune-abc") or {}), "months": "2026-11,2026-12", "other_cents": 0}

        def by_month(billed_seconds: int, end: datetime) -> dict[str, int]:
            times = {"TrainingStartTime": start, "TrainingEndTime": end, "BillableTimeInSeconds": billed_seconds}
            spot = {**job(), **times, "EnableManagedSpotTraining": True}
            return bill(SageMaker(jobs={"captune-abc": spot}), "captune-abc", item, None, end).by_month

        # It waited for all that it did not bill; nobody tells when. An hour costs 151.5 cents, rounded up in each month.
        assert by_month(7200, midnight + 2 * HOUR) == {"2026-11": 0, "2026-12": 303}
        assert by_month(7200, midnight + HOUR) == {"2026-11": 152, "2026-12": 152}

    def test_a_job_that_does_not_tell_its_instances_has_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        site = Site(monkeypatch)
        site.sagemaker.jobs["captune-abc"] = {**job(), "ResourceConfig": {"InstanceType": "ml.g5.2xlarge"}}

        assert site.settle()["record"]["cost"]["training_seconds"] == 600

    def test_a_job_that_does_not_tell_its_type_costs_the_dearest_that_was_reserved_and_is_not_held_against_the_run(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = Site(monkeypatch)
        site.sagemaker.jobs["captune-abc"] = {**job(), "ResourceConfig": {"InstanceCount": 1}}
        record = site.settle()["record"]

        assert (record["cost"]["training_cents"], record["unreserved"]) == (26, [])

    def test_an_old_item_has_one_price_of_each_use(self) -> None:
        item: Any = {
            "price_source": "p", "execution_arn": arn("abc"), "hosting_instance_type": "t", "hosting_hourly_usd": "2",
        }  # fmt: skip
        tariff = Tariff.of(item, "Hosting")

        assert tariff == Tariff("Hosting", (Price("t", "Hosting", Decimal(2), "p"),), "us-east-1", 1)

    def test_a_bill_is_all_of_its_parts(self) -> None:
        assert Bill(0, 0, 1, 2, 4, {}).cents == 1 + 2 + 4

    def test_a_bill_speaks_of_nothing_unreserved_until_something_is(self) -> None:
        assert Bill(0, 0, 0, 0, 0, {}).unreserved == ()

    def test_an_endpoint_that_nobody_saw_is_called_so(self) -> None:
        assert (Stay(None, NOW, NOW).name, Stay(2, NOW, NOW).name) == ("an attempt that nobody saw", "attempt 2")


class TestTheAnswer:
    def test_a_run_that_did_cost_nothing_is_counted_once_too(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        site = Site(monkeypatch)
        site.ledger.table.rows = FakeLedger().with_run("abc", other_cents=0).table.rows
        site.sagemaker.jobs.clear()
        site.settle()
        site.settle()

        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["ActualCents"] for line in lines if "_aws" in line] == [0]
        assert [line["cost"]["actual_cents"] for line in lines if line.get("message") == "settled"] == [0, 0]

    def test_the_subject_is_told_without_any_report(self, monkeypatch: pytest.MonkeyPatch) -> None:
        site = Site(monkeypatch)
        site.with_report()

        assert site.settle()["subject"] == "Captune: improved on held-out documents, $0.32 (captune-abc)"

    def test_an_execution_whose_run_does_not_tell_its_name_is_found_by_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Site(monkeypatch)

        assert claim.execution_arn({"executionName": "My.Run"}, "captune-my-run-0123456789", None) == arn("My.Run")

    def test_what_nobody_told_of_an_execution_is_empty(self) -> None:
        one = history.Execution("UNKNOWN")

        assert (one.error, one.cause, one.started_at, one.verdict, one.reason) == ("", "", None, "", "")

    def test_of_a_long_cause_eight_thousand_letters_are_kept(self) -> None:
        execution, _ = told(status="FAILED", error="E", cause="x" * 9000)

        assert len(execution.cause) == 8000

    def test_a_stay_has_no_type_until_somebody_tells_it(self) -> None:
        assert Stay(None, NOW, NOW).instance_type == ""

    def test_what_is_left_holds_a_damaged_item_as_the_whole_cap_of_this_deployment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = Site(monkeypatch)
        site.ledger.table.rows["RUN#captune-lost"] = {"pk": {"S": "RUN#captune-lost"}, "state": {"S": "?"}}

        assert site.settle()["result"]["leftCents"] == 2500 - 95 - 32 - 2500
