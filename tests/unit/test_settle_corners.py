"""Corners of a settlement: what Step Functions tells, endpoints out of order, and a run outside of its own months."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from lambda_fakes import NOW, SageMaker, StepFunctions, arn
from settle_site import START, Site, job, visit

from settle import history
from settle.billing import bill
from settle.endpoints import stays
from settle.handler import _was_settled_before

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
        item = {"state": "settled", "settled_at": START.isoformat()}
        at_once, later = (history.Execution("FAILED", started_at=START + wait) for wait in (0 * HOUR, HOUR))

        assert (_was_settled_before(item, at_once), _was_settled_before(item, later)) == (False, True)


class TestEndpoints:
    def test_they_are_told_in_the_order_of_their_creation(self) -> None:
        seen = {"1": {"createdAt": NOW.isoformat()}, "2": {"createdAt": START.isoformat()}}

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
        site.books.note_endpoint("captune-abc", 1, START, end, failed=noted_failed)
        first = {"createdAt": START.isoformat(), "goneAt": end, "failed": True}
        second = {"createdAt": (START + timedelta(seconds=100)).isoformat(), "goneAt": end}
        site.settle(seen={"1": first, "2": second})

        # The second attempt began after 100 seconds, when a first one that had failed was over.
        assert (site.books.run("captune-abc") or {})["endpoint_seconds"] == (100 if noted_failed else 200) + 100


def test_the_small_items_of_a_run_that_lived_in_none_of_its_months_are_booked_in_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    item = {**(Site(monkeypatch).books.run("captune-abc") or {}), "months": "2026-09,2026-10", "other_cents": 12}
    billed = bill(SageMaker(jobs={"captune-abc": job(seconds=0)}), "captune-abc", item, None, NOW)

    assert (billed.other_cents, billed.by_month.get("2026-09"), billed.by_month.get("2026-10")) == (6, 6, None)
